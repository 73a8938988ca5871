// Later ways of rings: no index array, buffer rings of the kernel's, time-outs that repeat, cancelling by operation
// and by several criteria, registering through a registered ring.
#include "ring.h"

#define PIPE_OP 62
#define SETUP_NO_SQARRAY (1u << 16)
#define PBUF_RING_MMAP 1
#define REGISTER_PBUF_STATUS 26
#define OFF_PBUF_RING 0x80000000ULL
#define TIMEOUT_MULTISHOT (1u << 6)
#define CANCEL_USERDATA (1u << 4)
#define CANCEL_OP (1u << 5)
#define USE_REGISTERED_RING (1u << 31)
static struct ring r;

static void without_array(void) {
    struct ring n = ring_make(4, SETUP_NO_SQARRAY, 0);
    FACT(n.params.sq_off.array);
    for (int i = 0; i < 6; i++) {
        unsigned index = *n.sq_tail & *n.sq_mask;
        memset(&n.sqes[index], 0, sizeof n.sqes[index]);
        n.sqes[index].opcode = IORING_OP_NOP, n.sqes[index].fd = -1, n.sqes[index].user_data = (uint64_t)i + 10;
        __atomic_store_n(n.sq_tail, *n.sq_tail + 1, __ATOMIC_RELEASE);
        MUST(ring_enter(n.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0));
        show_results(&n, "without an array", 1);
    }
    ring_free(&n);
}

static void mapped_buffers(void) {
    static char pool[4][8];
    int ends[2];
    MUST(pipe(ends));
    struct io_uring_buf_reg registration = {.ring_entries = 4, .bgid = 5, .pad = PBUF_RING_MMAP};
    TRY(ring_register(r.fd, IORING_REGISTER_PBUF_RING, &registration, 1));
    TRY(ring_register(r.fd, IORING_REGISTER_PBUF_RING, &registration, 1));
    FACT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, (off_t)(OFF_PBUF_RING | 6 << 16)) == MAP_FAILED);
    struct io_uring_buf_ring *ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r.fd, (off_t)(OFF_PBUF_RING | 5 << 16));
    if (ring == MAP_FAILED) { puts("not mapped"); exit(1); }
    struct io_uring_buf *entries = (struct io_uring_buf *)ring;
    for (int i = 0; i < 4; i++) entries[i].addr = (uintptr_t)pool[i], entries[i].len = 8, entries[i].bid = (uint16_t)(30 + i);
    __atomic_store_n(&ring->tail, 4, __ATOMIC_RELEASE);
    for (int i = 0; i < 5; i++) {
        MUST(write(ends[1], "mapped", (size_t)i % 4 + 3));
        struct io_uring_sqe *sqe = next_entry(&r, IORING_OP_READ, ends[0], NULL, 8, (uint64_t)-1, 1);
        sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = 5;
        run(&r, "chosen");
        struct { uint32_t group, head, reserved[8]; } status = {.group = 5};
        TRY(ring_register(r.fd, REGISTER_PBUF_STATUS, &status, 1));
        FACT(status.head);
    }
    printf("%.3s %.4s %.5s %.6s\n", pool[0], pool[1], pool[2], pool[3]);
    struct { uint32_t group, head, reserved[8]; } status = {.group = 9};
    TRY(ring_register(r.fd, REGISTER_PBUF_STATUS, &status, 1));
    status.group = 5, status.reserved[3] = 1;
    TRY(ring_register(r.fd, REGISTER_PBUF_STATUS, &status, 1));
    registration.pad = 0;
    TRY(ring_register(r.fd, IORING_UNREGISTER_PBUF_RING, &registration, 1));
    FACT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, (off_t)(OFF_PBUF_RING | 5 << 16)) == MAP_FAILED);
    ring->tail = 7;
    close(ends[0]), close(ends[1]);
}

static void repeating(void) {
    struct { long long seconds, nanoseconds; } span = {0, 2000000};
    struct io_uring_sqe *sqe = next_entry(&r, IORING_OP_TIMEOUT, -1, &span, 1, 3, 1);
    sqe->timeout_flags = TIMEOUT_MULTISHOT;
    FACT(submit(&r, 0));
    for (int i = 0; i < 3; i++) show_results(&r, "again", 1);
    sqe = next_entry(&r, IORING_OP_TIMEOUT, -1, &span, 1, 0, 2);
    sqe->timeout_flags = TIMEOUT_MULTISHOT;
    FACT(submit(&r, 0));
    for (int i = 0; i < 5; i++) show_results(&r, "without end", 1);
    next_entry(&r, IORING_OP_TIMEOUT_REMOVE, -1, (void *)2, 0, 0, 3);
    FACT(submit(&r, 0));
    struct io_uring_cqe cqe;
    do cqe = take(&r); while (cqe.flags & IORING_CQE_F_MORE);
    struct io_uring_cqe other = take(&r);
    print_result("removed", cqe.user_data == 2 ? cqe : other);
    print_result("removed", cqe.user_data == 2 ? other : cqe);
    sqe = next_entry(&r, IORING_OP_TIMEOUT, -1, &span, 1, 0, 2);
    sqe->timeout_flags = TIMEOUT_MULTISHOT | IORING_TIMEOUT_ABS;
    run(&r, "absolute");
}

static void wait_for(int fd, uint64_t user_data, int op) {
    static char buffer[8];
    if (op == IORING_OP_POLL_ADD) next_entry(&r, op, fd, NULL, 0, 0, user_data)->poll32_events = POLLIN;
    else next_entry(&r, op, fd, buffer, 8, (uint64_t)-1, user_data);
    MUST(submit(&r, 0));
}

static void cancel(const char *what, unsigned flags, int fd, uint64_t user_data, unsigned op, unsigned count) {
    struct io_uring_sqe *sqe = next_entry(&r, IORING_OP_ASYNC_CANCEL, fd, (void *)user_data, op, 0, 99);
    sqe->cancel_flags = flags;
    MUST(submit(&r, 0));
    show_results(&r, what, count + 1);
}

static void cancelling(void) {
    int one[2], two[2];
    MUST(pipe(one)), MUST(pipe(two));
    for (int round = 0; round < 4; round++) {
        wait_for(one[0], 1, IORING_OP_READ);
        wait_for(one[0], 2, IORING_OP_POLL_ADD);
        wait_for(two[0], 1, IORING_OP_POLL_ADD);
        wait_for(two[0], 3, IORING_OP_READ);
        if (round == 0) cancel("by operation", CANCEL_OP | IORING_ASYNC_CANCEL_ALL, -1, 0, IORING_OP_POLL_ADD, 2);
        if (round == 1) cancel("by file and number", IORING_ASYNC_CANCEL_FD | CANCEL_USERDATA | IORING_ASYNC_CANCEL_ALL, one[0], 1, 0, 1);
        if (round == 2) cancel("by file and operation", IORING_ASYNC_CANCEL_FD | CANCEL_OP, two[0], 0, IORING_OP_READ, 1);
        if (round == 3) cancel("by number", CANCEL_USERDATA | IORING_ASYNC_CANCEL_ALL, -1, 1, 0, 2);
        cancel("the rest", IORING_ASYNC_CANCEL_ANY, -1, 0, 0, round == 0 || round == 3 ? 2 : 3);
    }
    cancel("nothing", CANCEL_OP | CANCEL_USERDATA, -1, 1, IORING_OP_READ, 0);
    cancel("any operation", CANCEL_OP | IORING_ASYNC_CANCEL_ANY, -1, 0, IORING_OP_READ, 0);
    close(one[0]), close(one[1]), close(two[0]), close(two[1]);
}

static void registered_ring(void) {
    struct { uint32_t offset, reserved; uint64_t data; } update = {.offset = (uint32_t)-1, .data = (uint64_t)r.fd};
    TRY(ring_register(r.fd, IORING_REGISTER_RING_FDS, &update, 1));
    FACT(update.offset);
    int file = MUST(open("/dev/null", O_RDWR));
    TRY(ring_register((int)update.offset, IORING_REGISTER_FILES | USE_REGISTERED_RING, &file, 1));
    TRY(ring_register((int)update.offset, IORING_UNREGISTER_FILES | USE_REGISTERED_RING, NULL, 0));
    TRY(ring_register(5, IORING_UNREGISTER_FILES | USE_REGISTERED_RING, NULL, 0));
    TRY(ring_register(500, IORING_UNREGISTER_FILES | USE_REGISTERED_RING, NULL, 0));
    FACT(!!(r.params.features & 1u << 13));
    update.data = 0;
    TRY(ring_register(r.fd, IORING_UNREGISTER_RING_FDS, &update, 1));
}

int main(void) {
    begin();
    r = ring_make(16, 0, 0);
    need_operation(&r, PIPE_OP);
    without_array();
    mapped_buffers();
    repeating();
    cancelling();
    registered_ring();
    return 0;
}
