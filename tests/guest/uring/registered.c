// Registered files and buffers, direct descriptors, personalities, restrictions, the probe, overflow, SQPOLL.
#include "ring.h"

int main(void) {
    begin();
    struct ring r = ring_make(8, 0, 0);
    fresh_directory();
    char buffer[4096] = "registered", other[64] = "";
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0644)), ends[2];
    MUST(pipe(ends));

    // Files.
    int files[4] = {fd, -1, ends[0], ends[1]}, bad[2] = {fd, 99}, itself[1] = {r.fd};
    TRY(ring_register(r.fd, IORING_REGISTER_FILES, bad, 2));
    TRY(ring_register(r.fd, IORING_REGISTER_FILES, itself, 1));
    TRY(ring_register(r.fd, IORING_REGISTER_FILES, files, 4));
    TRY(ring_register(r.fd, IORING_REGISTER_FILES, files, 4));
    next_entry(&r, IORING_OP_WRITE, 0, "by index", 8, 0, 1)->flags = IOSQE_FIXED_FILE;
    next_entry(&r, IORING_OP_WRITE, 3, "pipe", 4, 0, 2)->flags = IOSQE_FIXED_FILE;
    next_entry(&r, IORING_OP_READ, 2, other, 4, 0, 3)->flags = IOSQE_FIXED_FILE;
    next_entry(&r, IORING_OP_READ, 1, other, 4, 0, 4)->flags = IOSQE_FIXED_FILE;
    next_entry(&r, IORING_OP_READ, 9, other, 4, 0, 5)->flags = IOSQE_FIXED_FILE;
    run(&r, "by index");
    show("file");
    close(ends[0]);
    close(ends[1]);
    next_entry(&r, IORING_OP_WRITE, 3, "kept", 4, 0, 2)->flags = IOSQE_FIXED_FILE;
    run(&r, "kept open");
    int fresh[3] = {-1, fd, IORING_REGISTER_FILES_SKIP};
    struct io_uring_files_update update = {.offset = 1, .fds = (uintptr_t)fresh};
    TRY(ring_register(r.fd, IORING_REGISTER_FILES_UPDATE, &update, 3));
    update.offset = 2;
    TRY(ring_register(r.fd, IORING_REGISTER_FILES_UPDATE, &update, 3));
    next_entry(&r, IORING_OP_READ, 2, other, 8, 0, 1)->flags = IOSQE_FIXED_FILE;
    run(&r, "updated");
    puts(other);

    // Files opened straight into a slot.
    struct io_uring_sqe *sqe = next_entry(&r, IORING_OP_OPENAT, AT_FDCWD, "file", 0, 0, 1);
    sqe->open_flags = O_RDONLY, sqe->file_index = 2;
    run(&r, "opened into a slot");
    next_entry(&r, IORING_OP_READ, 1, other, 8, 0, 1)->flags = IOSQE_FIXED_FILE;
    run(&r, "read from it");
    sqe = next_entry(&r, IORING_OP_OPENAT, AT_FDCWD, "file", 0, 0, 1);
    sqe->open_flags = O_RDONLY, sqe->file_index = 100;
    run(&r, "no such slot");
    next_entry(&r, IORING_OP_CLOSE, 0, NULL, 0, 0, 1)->file_index = 2;
    next_entry(&r, IORING_OP_CLOSE, 0, NULL, 0, 0, 2)->file_index = 2;
    run(&r, "close a slot");
    sqe = next_entry(&r, IORING_OP_OPENAT, AT_FDCWD, "file", 0, 0, 1);
    sqe->open_flags = O_RDONLY, sqe->file_index = IORING_FILE_INDEX_ALLOC;
    run(&r, "any slot");
    int again[1] = {fd};
    next_entry(&r, IORING_OP_FILES_UPDATE, -1, again, 1, 0, 1);
    run(&r, "update by a request");
    TRY(ring_register(r.fd, IORING_UNREGISTER_FILES, NULL, 0));
    TRY(ring_register(r.fd, IORING_UNREGISTER_FILES, NULL, 0));

    // Buffers.
    struct iovec buffers[2] = {{buffer, sizeof buffer}, {other, sizeof other}};
    TRY(ring_register(r.fd, IORING_REGISTER_BUFFERS, buffers, 2));
    TRY(ring_register(r.fd, IORING_REGISTER_BUFFERS, buffers, 2));
    next_entry(&r, IORING_OP_WRITE_FIXED, fd, buffer, 10, 0, 1)->buf_index = 0;
    run(&r, "write from a buffer");
    next_entry(&r, IORING_OP_READ_FIXED, fd, other + 2, 10, 0, 1)->buf_index = 1;
    run(&r, "read into a buffer");
    puts(other + 2);
    next_entry(&r, IORING_OP_READ_FIXED, fd, other, 10, 0, 1)->buf_index = 0;
    run(&r, "not within it");
    next_entry(&r, IORING_OP_READ_FIXED, fd, other, 10, 0, 1)->buf_index = 5;
    run(&r, "no such buffer");
    TRY(ring_register(r.fd, IORING_UNREGISTER_BUFFERS, NULL, 0));

    // The probe.
    struct { struct io_uring_probe head; struct io_uring_probe_op ops[64]; } probe = {0};
    TRY(ring_register(r.fd, IORING_REGISTER_PROBE, &probe, 64));
    FACT(probe.head.last_op >= IORING_OP_SENDMSG_ZC);
    FACT(probe.head.ops[IORING_OP_SEND].flags & IO_URING_OP_SUPPORTED);
    TRY(ring_register(r.fd, IORING_REGISTER_PROBE, &probe, 64));

    // Who acts.
    int who = ring_register(r.fd, IORING_REGISTER_PERSONALITY, NULL, 0);
    FACT(who > 0);
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 1)->personality = (uint16_t)who;
    run(&r, "as somebody");
    TRY(ring_register(r.fd, IORING_UNREGISTER_PERSONALITY, NULL, (unsigned)who));
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 1)->personality = (uint16_t)who;
    run(&r, "as nobody");

    // The ring by a number of its own.
    struct io_uring_rsrc_update self = {.offset = -1U, .data = (uint64_t)r.fd};
    TRY(ring_register(r.fd, IORING_REGISTER_RING_FDS, &self, 1));
    FACT(self.offset);
    TRY(ring_enter((int)self.offset, 0, 0, IORING_ENTER_REGISTERED_RING, NULL, 0));
    TRY(ring_enter(5, 0, 0, IORING_ENTER_REGISTERED_RING, NULL, 0));
    TRY(ring_enter(99, 0, 0, IORING_ENTER_REGISTERED_RING, NULL, 0));
    self.data = 0;
    TRY(ring_register(r.fd, IORING_UNREGISTER_RING_FDS, &self, 1));

    // Another ring is told.
    struct ring second = ring_make(4, 0, 0);
    next_entry(&r, IORING_OP_MSG_RING, second.fd, NULL, 42, 77, 1);
    run(&r, "tell");
    show_results(&second, "told", 1);

    // Restrictions.
    struct ring bound_ring = ring_make(4, IORING_SETUP_R_DISABLED, 0);
    struct io_uring_restriction restrictions[2] = {
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP},
        {.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_PROBE},
    };
    TRY(ring_register(bound_ring.fd, IORING_REGISTER_RESTRICTIONS, restrictions, 2));
    TRY(ring_register(bound_ring.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
    next_entry(&bound_ring, IORING_OP_NOP, -1, NULL, 0, 0, 1);
    run(&bound_ring, "allowed");
    next_entry(&bound_ring, IORING_OP_READ, fd, other, 1, 0, 1);
    run(&bound_ring, "not allowed");
    TRY(ring_register(bound_ring.fd, IORING_REGISTER_FILES, files, 1));

    // More completions than there is room for: none is lost.
    struct ring small = ring_make(4, 0, 4);
    for (int i = 0; i < 12; i++) {
        next_entry(&small, IORING_OP_NOP, -1, NULL, 0, 0, (uint64_t)i);
        submit(&small, 0);
    }
    FACT(ready(&small));
    FACT(*small.sq_flags & IORING_SQ_CQ_OVERFLOW);
    for (int i = 0; i < 12; i++) {
        if (ready(&small) == 0) ring_enter(small.fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
        print_result("in order", take(&small));
    }
    FACT(*small.sq_flags & IORING_SQ_CQ_OVERFLOW);

    // A ring that is polled: it is woken when it sleeps.
    struct ring polled = ring_make(4, IORING_SETUP_SQPOLL, 0);
    next_entry(&polled, IORING_OP_WRITE, fd, "polled", 6, 0, 1);
    __atomic_store_n(polled.sq_tail, *polled.sq_tail + 1, __ATOMIC_SEQ_CST);
    polled.queued = 0;
    if (__atomic_load_n(polled.sq_flags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP)
        MUST(ring_enter(polled.fd, 1, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0));
    show_results(&polled, "polled", 1);
    show("file");

    // Transfers without interrupts need files that have them.
    struct ring io_poll = ring_make(4, IORING_SETUP_IOPOLL, 0);
    next_entry(&io_poll, IORING_OP_READ, ends[0], other, 4, 0, 1);
    submit(&io_poll, 0);
    return 0;
}
