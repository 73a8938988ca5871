// A few lines of io_uring by its raw system calls, as no C library has them.
// Completions are printed sorted by their user_data: Linux promises no order among independent requests.
#ifndef RING_H
#define RING_H

#include "../claim.h"
#include <linux/io_uring.h>
#include <sys/eventfd.h>

struct ring {
    int fd;
    unsigned *sq_head, *sq_tail, *sq_mask, *sq_flags, *sq_dropped, *array;
    unsigned *cq_head, *cq_tail, *cq_mask, *cq_overflow;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    struct io_uring_params params;
    unsigned queued;
    char *rings;
    size_t rings_size;
};

static inline int ring_setup(unsigned entries, struct io_uring_params *params) {
    return (int)syscall(__NR_io_uring_setup, entries, params);
}

static inline int ring_enter(int fd, unsigned submit, unsigned wait, unsigned flags, void *argument, size_t size) {
    return (int)syscall(__NR_io_uring_enter, fd, submit, wait, flags, argument, size);
}

static inline int ring_register(int fd, unsigned opcode, void *argument, unsigned count) {
    return (int)syscall(__NR_io_uring_register, fd, opcode, argument, count);
}

// Makes a ring with the flags given; ends with 98 where the host has no io_uring for us.
static inline struct ring ring_make(unsigned entries, unsigned flags, unsigned cq_entries) {
    struct ring r = {0};
    r.params.flags = flags | (cq_entries ? IORING_SETUP_CQSIZE : 0);
    r.params.cq_entries = cq_entries;
    r.fd = ring_setup(entries, &r.params);
    if (r.fd < 0) { printf("no io_uring: %s\n", errno_name(errno)); exit(98); }
    struct io_sqring_offsets *sq = &r.params.sq_off;
    struct io_cqring_offsets *cq = &r.params.cq_off;
    size_t sq_size = sq->array + r.params.sq_entries * sizeof(unsigned);
    size_t cq_size = cq->cqes + r.params.cq_entries * sizeof(struct io_uring_cqe);
    size_t size = sq_size > cq_size ? sq_size : cq_size;
    char *rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r.fd, IORING_OFF_SQ_RING);
    if (rings == MAP_FAILED) { printf("ring: %s\n", errno_name(errno)); exit(99); }
    r.sqes = mmap(NULL, r.params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_POPULATE, r.fd, IORING_OFF_SQES);
    if (r.sqes == MAP_FAILED) { printf("sqes: %s\n", errno_name(errno)); exit(99); }
    r.rings = rings, r.rings_size = size;
    r.sq_head = (unsigned *)(rings + sq->head), r.sq_tail = (unsigned *)(rings + sq->tail);
    r.sq_mask = (unsigned *)(rings + sq->ring_mask), r.sq_flags = (unsigned *)(rings + sq->flags);
    r.sq_dropped = (unsigned *)(rings + sq->dropped), r.array = (unsigned *)(rings + sq->array);
    r.cq_head = (unsigned *)(rings + cq->head), r.cq_tail = (unsigned *)(rings + cq->tail);
    r.cq_mask = (unsigned *)(rings + cq->ring_mask), r.cq_overflow = (unsigned *)(rings + cq->overflow);
    r.cqes = (struct io_uring_cqe *)(rings + cq->cqes);
    return r;
}

// Ends with 98 where the host's io_uring is older than an operation.
static inline void need_operation(struct ring *r, int op) {
    struct { struct io_uring_probe head; struct io_uring_probe_op ops[64]; } probe = {0};
    MUST(ring_register(r->fd, IORING_REGISTER_PROBE, &probe, 64));
    if (probe.head.last_op < op) { printf("no operation %d\n", op); exit(98); }
}

// Gives the ring back. A mapping would keep it alive.
static inline void ring_free(struct ring *r) {
    munmap(r->sqes, r->params.sq_entries * sizeof(struct io_uring_sqe));
    munmap(r->rings, r->rings_size);
    close(r->fd);
}

// The next entry, cleared, with what almost all need.
static inline struct io_uring_sqe *next_entry(struct ring *r, int op, int fd, const void *addr, unsigned length,
                                              uint64_t offset, uint64_t user_data) {
    unsigned index = (*r->sq_tail + r->queued++) & *r->sq_mask;
    struct io_uring_sqe *sqe = &r->sqes[index];
    memset(sqe, 0, sizeof *sqe);
    r->array[index] = index;
    sqe->opcode = (uint8_t)op, sqe->fd = fd, sqe->addr = (uintptr_t)addr, sqe->len = length, sqe->off = offset;
    sqe->user_data = user_data;
    return sqe;
}

// Submits what was queued and waits for as many completions; what io_uring_enter returned.
static inline int submit(struct ring *r, unsigned wait) {
    unsigned count = r->queued;
    __atomic_store_n(r->sq_tail, *r->sq_tail + count, __ATOMIC_RELEASE);
    r->queued = 0;
    return ring_enter(r->fd, count, wait, wait ? IORING_ENTER_GETEVENTS : 0, NULL, 0);
}

static inline unsigned ready(struct ring *r) { return __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE) - *r->cq_head; }

static inline struct io_uring_cqe take(struct ring *r) {
    while (ready(r) == 0) MUST(ring_enter(r->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0));
    struct io_uring_cqe cqe = r->cqes[*r->cq_head & *r->cq_mask];
    __atomic_store_n(r->cq_head, *r->cq_head + 1, __ATOMIC_RELEASE);
    return cqe;
}

static inline void print_result(const char *what, struct io_uring_cqe cqe) {
    // The kernel may tell that a socket has more: a hint, and no promise.
    unsigned flags = cqe.flags & ~IORING_CQE_F_SOCK_NONEMPTY;
    printf("%s: %llu: ", what, (unsigned long long)cqe.user_data);
    if (cqe.res < 0) printf("%s", errno_name(-cqe.res));
    else printf("%d", cqe.res);
    if (flags) printf(" flags 0x%x", flags);
    puts("");
}

static inline int compare_completions(const void *a, const void *b) {
    const struct io_uring_cqe *left = a, *right = b;
    return left->user_data < right->user_data ? -1 : left->user_data > right->user_data;
}

// Waits for some completions and prints them by user_data.
static inline void show_results(struct ring *r, const char *what, unsigned count) {
    struct io_uring_cqe found[64];
    for (unsigned i = 0; i < count; i++) found[i] = take(r);
    qsort(found, count, sizeof found[0], compare_completions);
    for (unsigned i = 0; i < count; i++) print_result(what, found[i]);
}

// Submits what was queued and prints as many completions.
static inline void run(struct ring *r, const char *what) {
    unsigned count = r->queued;
    int taken = submit(r, count);
    if (taken != (int)count) printf("%s: submitted %d of %u %s\n", what, taken, count, taken < 0 ? errno_name(errno) : "");
    show_results(r, what, count);
}

#endif
