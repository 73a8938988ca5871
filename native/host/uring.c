#include "uring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

struct uring {
    struct io_uring ring;
    int event;
    /* Completions of others that uring_start met on its way; uring_take returns them first. */
    struct uring_completion *aside;
    unsigned aside_first, aside_count, aside_limit;
    unsigned entered;
    /* Buffers that receiving operations choose from: their ring, then their memory, in one mapping. */
    struct io_uring_buf_ring *buffers;
    char *memory;
    unsigned buffer_count, buffer_size;
    size_t mapping_size;
};

static int open_ring(struct uring *ring, unsigned entries, unsigned completions)
{
    /* Newest first: without interrupts between processors, then whatever the kernel knows. */
    static const unsigned flags[] = {
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SINGLE_ISSUER,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    int result = -EINVAL;
    for (unsigned i = 0; i < sizeof flags / sizeof *flags && result == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = flags[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
            .cq_entries = completions,
        };
        result = io_uring_queue_init_params(entries, &ring->ring, &params);
        if (result == 0 && !(params.features & IORING_FEAT_NODROP)) {
            /* Without it a full completion queue loses completions, and their buffers with them. */
            io_uring_queue_exit(&ring->ring);
            return -ENOSYS;
        }
    }
    return result;
}

struct uring *uring_open(unsigned entries, unsigned completions, int *error)
{
    struct uring *ring = calloc(1, sizeof *ring);
    if (!ring) {
        *error = ENOMEM;
        return NULL;
    }
    ring->event = -1;
    int result = open_ring(ring, entries, completions);
    if (result < 0) {
        free(ring);
        *error = -result;
        return NULL;
    }
    ring->aside_limit = *ring->ring.cq.kring_entries;
    ring->aside = calloc(ring->aside_limit, sizeof *ring->aside);
    ring->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (ring->aside && ring->event >= 0) {
        result = io_uring_register_eventfd(&ring->ring, ring->event);
        if (result == 0)
            return ring;
    } else {
        result = ring->aside ? -errno : -ENOMEM;
    }
    uring_close(ring);
    *error = -result;
    return NULL;
}

void uring_close(struct uring *ring)
{
    io_uring_queue_exit(&ring->ring);
    if (ring->buffers)
        munmap(ring->buffers, ring->mapping_size);
    if (ring->event >= 0)
        close(ring->event);
    free(ring->aside);
    free(ring);
}

int uring_event(const struct uring *ring)
{
    return ring->event;
}

int uring_queue(struct uring *ring, int opcode, int fd, uint64_t address, uint32_t length, uint64_t offset,
                uint32_t flags, uint64_t number)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
    if (!sqe) {
        int result = uring_submit(ring);
        if (result < 0)
            return result;
        sqe = io_uring_get_sqe(&ring->ring);
        if (!sqe)
            return -EBUSY;
    }
    io_uring_prep_rw(opcode, sqe, fd, (void *)(uintptr_t)address, length, offset);
    sqe->rw_flags = (int)flags; /* one place in the union of all flags: poll, fsync, open, cancel */
    sqe->user_data = number;
    return 0;
}

int uring_queue_socket(struct uring *ring, int opcode, int fd, uint64_t address, uint32_t length, uint64_t offset,
                       uint32_t flags, uint16_t priority, int select, uint64_t number)
{
    int result = uring_queue(ring, opcode, fd, address, length, offset, flags, number);
    if (result < 0)
        return result;
    /* The entry that was queued last: nothing is submitted between the two. */
    struct io_uring_sqe *sqe = &ring->ring.sq.sqes[(ring->ring.sq.sqe_tail - 1) & *ring->ring.sq.kring_mask];
    sqe->ioprio = priority;
    if (select)
        sqe->flags |= IOSQE_BUFFER_SELECT;
    return 0;
}

int uring_provide(struct uring *ring, unsigned count, unsigned size)
{
    size_t head = (count * sizeof(struct io_uring_buf) + 4095) & ~(size_t)4095;
    size_t total = head + (size_t)count * size;
    void *mapping = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return -errno;
    struct io_uring_buf_reg registration = {.ring_addr = (uintptr_t)mapping, .ring_entries = count};
    int result = io_uring_register_buf_ring(&ring->ring, &registration, 0);
    if (result < 0) {
        munmap(mapping, total);
        return result;
    }
    ring->buffers = mapping;
    ring->memory = (char *)mapping + head;
    ring->buffer_count = count;
    ring->buffer_size = size;
    ring->mapping_size = total;
    for (unsigned id = 0; id < count; id++)
        uring_return(ring, id);
    return 0;
}

char *uring_buffer(const struct uring *ring, unsigned id)
{
    return id < ring->buffer_count ? ring->memory + (size_t)id * ring->buffer_size : NULL;
}

void uring_return(struct uring *ring, unsigned id)
{
    io_uring_buf_ring_add(ring->buffers, uring_buffer(ring, id), ring->buffer_size, (unsigned short)id,
                          io_uring_buf_ring_mask(ring->buffer_count), 0);
    io_uring_buf_ring_advance(ring->buffers, 1);
}

int uring_submit(struct uring *ring)
{
    int result;
    do {
        result = io_uring_submit(&ring->ring);
    } while (result == -EINTR);
    return result;
}

/* The next completion. The kernel may hold some back until it is entered: liburing does that, and here it is counted. */
static int peek(struct uring *ring, struct io_uring_cqe **cqe)
{
    if (io_uring_cq_ready(&ring->ring) == 0) {
        unsigned flags = __atomic_load_n(ring->ring.sq.kflags, __ATOMIC_RELAXED);
        if (!(flags & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)))
            return -EAGAIN;
        ring->entered++;
    }
    return io_uring_peek_cqe(&ring->ring, cqe);
}

/* Move every completion out of the queue; true when that of `number` was among them. */
static int sift(struct uring *ring, uint64_t number, int32_t *result)
{
    struct io_uring_cqe *cqe;
    int found = 0;
    while (ring->aside_count < ring->aside_limit && peek(ring, &cqe) == 0) {
        if (cqe->user_data == number) {
            *result = cqe->res;
            found = 1;
        } else {
            ring->aside[(ring->aside_first + ring->aside_count++) % ring->aside_limit] =
                (struct uring_completion){cqe->user_data, cqe->res, cqe->flags};
        }
        io_uring_cqe_seen(&ring->ring, cqe);
    }
    return found;
}

int uring_start(struct uring *ring, int opcode, int fd, uint64_t address, uint32_t length, uint64_t offset,
                uint32_t flags, uint64_t number, int32_t *result)
{
    int error = uring_queue(ring, opcode, fd, address, length, offset, flags, number);
    if (error < 0)
        return error;
    /* What completes within the call is taken here, so the eventfd would only cost a turn of the event
     * loop. The barrier pairs with the kernel's between posting a completion and reading this flag: one
     * that comes from elsewhere meanwhile is either signalled or seen by sift. */
    io_uring_cq_eventfd_toggle(&ring->ring, false);
    error = uring_submit(ring);
    io_uring_cq_eventfd_toggle(&ring->ring, true);
    __sync_synchronize();
    int done = sift(ring, number, result) ? URING_DONE : 0;
    if (ring->aside_count)
        done |= URING_OTHERS;
    /* A submission that failed leaves the operation queued: it is then neither done nor lost. */
    return error < 0 && !done ? error : done;
}

unsigned uring_take(struct uring *ring, struct uring_completion *completions, unsigned limit)
{
    unsigned count = 0;
    int32_t unused;
    sift(ring, UINT64_MAX, &unused); /* no operation bears this number */
    while (count < limit && ring->aside_count) {
        completions[count++] = ring->aside[ring->aside_first];
        ring->aside_first = (ring->aside_first + 1) % ring->aside_limit;
        ring->aside_count--;
    }
    return count;
}

unsigned uring_entered(struct uring *ring)
{
    unsigned entered = ring->entered;
    ring->entered = 0;
    return entered;
}

unsigned uring_queued(const struct uring *ring)
{
    return io_uring_sq_ready(&ring->ring);
}
