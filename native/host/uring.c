#include "uring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct uring {
    struct io_uring ring;
    /* Completions of others that uring_start met on its way; uring_take returns them first. */
    struct uring_completion *aside;
    unsigned aside_first, aside_count, aside_limit;
    unsigned entered;
    /* Time limits of queued operations, each at the place of its entry in the submission queue. */
    struct __kernel_timespec *limits;
    /* Buffers that receiving operations choose from: their ring, then their memory, in one mapping. */
    struct io_uring_buf_ring *buffers;
    char *memory;
    unsigned buffer_count, buffer_size;
    size_t mapping_size;
    /* Buffers that somebody still reads from: the mapping outlives the ring until they are back. */
    unsigned lent;
    int closed;
};

static int open_ring(struct uring *ring, unsigned entries, unsigned completions, unsigned poll)
{
    /* Newest first: without interrupts between processors, then whatever the kernel knows. */
    static const unsigned flags[] = {
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SINGLE_ISSUER,
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    int result = -EINVAL;
    for (unsigned i = 0; i < sizeof flags / sizeof *flags && result == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = (poll ? IORING_SETUP_SQPOLL : flags[i]) | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
            .cq_entries = completions,
            .sq_thread_idle = poll,
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

struct uring *uring_open(unsigned entries, unsigned completions, unsigned poll, int *error)
{
    struct uring *ring = calloc(1, sizeof *ring);
    if (!ring) {
        *error = ENOMEM;
        return NULL;
    }
    int result = open_ring(ring, entries, completions, poll);
    if (result < 0) {
        free(ring);
        *error = -result;
        return NULL;
    }
    ring->aside_limit = *ring->ring.cq.kring_entries;
    ring->aside = calloc(ring->aside_limit, sizeof *ring->aside);
    ring->limits = calloc(*ring->ring.sq.kring_entries, sizeof *ring->limits);
    if (ring->aside && ring->limits) {
        /* A tenth less for each entry into the kernel; a thread has room for 16, and others do without. */
        io_uring_register_ring_fd(&ring->ring);
        return ring;
    }
    uring_close(ring);
    *error = ENOMEM;
    return NULL;
}

static void release(struct uring *ring)
{
    if (ring->buffers)
        munmap(ring->buffers, ring->mapping_size);
    free(ring);
}

void uring_close(struct uring *ring)
{
    io_uring_queue_exit(&ring->ring);
    free(ring->limits);
    free(ring->aside);
    ring->closed = 1;
    if (!ring->lent)
        release(ring);
}

int uring_event(const struct uring *ring)
{
    return ring->ring.ring_fd;
}

static int polled(const struct uring *ring)
{
    return (ring->ring.flags & IORING_SETUP_SQPOLL) != 0;
}

/* Make room for so many entries: what is queued is handed over where there is none. */
static int make_room(struct uring *ring, unsigned entries)
{
    if (io_uring_sq_space_left(&ring->ring) >= entries)
        return 0;
    int result = uring_submit(ring);
    if (result >= 0 && polled(ring)) {
        ring->entered++;
        io_uring_sqring_wait(&ring->ring);
    }
    return io_uring_sq_space_left(&ring->ring) >= entries ? 0 : result < 0 ? result : -EBUSY;
}

int uring_queue(struct uring *ring, int opcode, int fd, uint64_t address, uint32_t length, uint64_t offset,
                uint32_t flags, uint16_t priority, int how, uint64_t number, int64_t timeout)
{
    int result = make_room(ring, timeout ? 2 : 1);
    if (result < 0)
        return result;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
    io_uring_prep_rw(opcode, sqe, fd, (void *)(uintptr_t)address, length, offset);
    sqe->rw_flags = (int)flags; /* one place in the union of all flags: poll, fsync, open, cancel */
    sqe->user_data = number;
    sqe->ioprio = priority;
    sqe->flags = (how & URING_SELECT ? IOSQE_BUFFER_SELECT : 0) | (how & URING_ELSEWHERE ? IOSQE_ASYNC : 0) |
                 (timeout ? IOSQE_IO_LINK : 0);
    if (timeout) {
        struct io_uring_sqe *limit = io_uring_get_sqe(&ring->ring);
        struct __kernel_timespec *span = &ring->limits[limit - ring->ring.sq.sqes];
        *span = (struct __kernel_timespec){timeout / 1000000000, timeout % 1000000000};
        io_uring_prep_link_timeout(limit, span, 0);
        limit->user_data = URING_NOBODY;
    }
    return 0;
}

int uring_send(struct uring *ring, int fd, const char *data, uint32_t size, uint32_t flags, uint64_t number)
{
    return uring_queue(ring, IORING_OP_SEND, fd, (uintptr_t)data, size, 0, flags, 0, 0, number, 0);
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

char *uring_lend(struct uring *ring, unsigned id)
{
    /* At least one stays: a ring without buffers would be asked to receive again and again. */
    if (ring->lent + (ring->buffer_count + 3) / 4 >= ring->buffer_count)
        return NULL;
    ring->lent++;
    return uring_buffer(ring, id);
}

void uring_take_back(struct uring *ring, unsigned id)
{
    ring->lent--;
    if (!ring->closed)
        uring_return(ring, id);
    else if (!ring->lent)
        release(ring);
}

int uring_submit(struct uring *ring)
{
    if (polled(ring) && __atomic_load_n(ring->ring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_NEED_WAKEUP)
        ring->entered++;
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
                uint32_t flags, int how, uint64_t number, int32_t *result)
{
    int error = uring_queue(ring, opcode, fd, address, length, offset, flags, 0, how, number, 0);
    if (error < 0)
        return URING_FULL;
    error = uring_submit(ring);
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
    /* Where a thread takes them they are handed over as soon as it can see them. */
    return polled(ring) ? ring->ring.sq.sqe_tail - ring->ring.sq.sqe_head : io_uring_sq_ready(&ring->ring);
}
