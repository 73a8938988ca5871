// What io_uring_setup(2) takes and refuses, what the rings look like, and the errors of the other two calls.
#include "ring.h"

static void try_setup(unsigned entries, unsigned flags, unsigned cq_entries) {
    struct io_uring_params params = {.flags = flags, .cq_entries = cq_entries};
    int fd = ring_setup(entries, &params);
    printf("setup(%u, 0x%x, %u): ", entries, flags, cq_entries);
    if (fd < 0) { puts(errno_name(errno)); return; }
    printf("sq %u cq %u cloexec %d\n", params.sq_entries, params.cq_entries, fcntl(fd, F_GETFD));
    close(fd);
}

int main(void) {
    begin();
    close(ring_make(1, 0, 0).fd);
    try_setup(0, 0, 0);
    try_setup(1, 0, 0);
    try_setup(5, 0, 0);
    try_setup(32768, 0, 0);
    try_setup(32769, 0, 0);
    try_setup(40000, IORING_SETUP_CLAMP, 0);
    try_setup(8, IORING_SETUP_CQSIZE, 0);
    try_setup(8, IORING_SETUP_CQSIZE, 4);
    try_setup(8, IORING_SETUP_CQSIZE, 50);
    try_setup(8, IORING_SETUP_CQSIZE, 65537);
    try_setup(8, IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, 100000);
    try_setup(8, IORING_SETUP_SQ_AFF, 0);
    try_setup(8, IORING_SETUP_SQPOLL | IORING_SETUP_COOP_TASKRUN, 0);
    try_setup(8, 1u << 31, 0);
    TRY(ring_setup(8, NULL));
    struct io_uring_params params = {.flags = IORING_SETUP_ATTACH_WQ, .wq_fd = 99};
    TRY(ring_setup(8, &params));

    struct ring r = ring_make(8, 0, 0);
    unsigned needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
        IORING_FEAT_RW_CUR_POS | IORING_FEAT_CUR_PERSONALITY | IORING_FEAT_FAST_POLL | IORING_FEAT_POLL_32BITS |
        IORING_FEAT_SQPOLL_NONFIXED | IORING_FEAT_EXT_ARG | IORING_FEAT_NATIVE_WORKERS | IORING_FEAT_RSRC_TAGS |
        IORING_FEAT_CQE_SKIP;
    FACT((r.params.features & needed) == needed);
    FACT(*r.sq_mask);
    FACT(*r.cq_mask);
    FACT(*r.sq_flags);
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, r.fd, IORING_OFF_CQ_RING));

    int plain = MUST(open("/dev/null", O_RDWR));
    TRY(ring_enter(-1, 0, 0, 0, NULL, 0));
    TRY(ring_enter(plain, 0, 0, 0, NULL, 0));
    TRY(ring_enter(r.fd, 0, 0, 1u << 30, NULL, 0));
    TRY(ring_enter(r.fd, 0, 0, 0, NULL, 0));
    TRY(ring_enter(r.fd, 5, 0, 0, NULL, 0));
    TRY(ring_register(r.fd, 250, NULL, 0));
    TRY(ring_register(plain, IORING_REGISTER_FILES, NULL, 0));
    TRY(ring_register(r.fd, IORING_UNREGISTER_FILES, NULL, 0));
    TRY(ring_register(r.fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
    TRY(ring_register(r.fd, IORING_UNREGISTER_EVENTFD, NULL, 0));
    TRY(ring_register(r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0));

    char link[64] = "", path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", r.fd);
    MUST(readlink(path, link, sizeof link - 1));
    puts(link);
    char byte;
    TRY(read(r.fd, &byte, 1));
    TRY(write(r.fd, &byte, 1));

    // An entry that the array doesn't name is dropped.
    r.array[*r.sq_tail & *r.sq_mask] = 1000;
    __atomic_store_n(r.sq_tail, *r.sq_tail + 1, __ATOMIC_RELEASE);
    ring_enter(r.fd, 1, 0, 0, NULL, 0);
    FACT(*r.sq_dropped);
    FACT(ready(&r));

    // Entries beyond the mask, and operations that nobody knows.
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 1);
    next_entry(&r, 200, -1, NULL, 0, 0, 2);
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 3);
    printf("a wrong one ends the batch: %d\n", submit(&r, 0));
    show_results(&r, "first", 2);
    printf("the rest: %d\n", ring_enter(r.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0));
    show_results(&r, "rest", 1);
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 1)->flags = 128;
    run(&r, "unknown flag");

    // A ring that is not enabled yet.
    struct ring disabled = ring_make(4, IORING_SETUP_R_DISABLED, 0);
    TRY(ring_enter(disabled.fd, 0, 0, 0, NULL, 0));
    TRY(ring_register(disabled.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
    TRY(ring_enter(disabled.fd, 0, 0, 0, NULL, 0));
    return 0;
}
