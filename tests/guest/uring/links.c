// Links, hard links, drains, linked time-outs and completions that are skipped.
#include "ring.h"

static int ends[2];
static struct ring r;

static void flagged(int op, int fd, const void *addr, unsigned length, uint64_t user_data, unsigned flags) {
    next_entry(&r, op, fd, addr, length, 0, user_data)->flags = (uint8_t)flags;
}

int main(void) {
    begin();
    r = ring_make(32, 0, 0);
    fresh_directory();
    MUST(pipe(ends));
    char buffer[64] = "";
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0644));

    flagged(IORING_OP_WRITE, fd, "abc", 3, 1, IOSQE_IO_LINK);
    flagged(IORING_OP_FSYNC, fd, NULL, 0, 2, IOSQE_IO_LINK);
    flagged(IORING_OP_READ, fd, buffer, 3, 3, 0);
    flagged(IORING_OP_NOP, -1, NULL, 0, 4, 0);
    run(&r, "a chain and another");
    puts(buffer);

    flagged(IORING_OP_READ, 99, buffer, 3, 1, IOSQE_IO_LINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 2, IOSQE_IO_LINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 3, 0);
    flagged(IORING_OP_NOP, -1, NULL, 0, 4, 0);
    run(&r, "a chain that breaks");

    flagged(IORING_OP_READ, 99, buffer, 3, 1, IOSQE_IO_HARDLINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 2, IOSQE_IO_LINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 3, 0);
    run(&r, "a hard link");

    flagged(IORING_OP_READ, fd, buffer, 60, 1, IOSQE_IO_LINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 2, 0);
    run(&r, "a short read breaks it");

    flagged(IORING_OP_NOP, -1, NULL, 0, 1, IOSQE_IO_LINK);
    flagged(200, -1, NULL, 0, 2, IOSQE_IO_LINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 3, 0);
    run(&r, "a wrong one within");

    flagged(IORING_OP_NOP, -1, NULL, 0, 1, IOSQE_IO_LINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 2, IOSQE_IO_LINK);
    printf("a chain that the batch ends: %d\n", submit(&r, 2));
    show_results(&r, "cut", 2);

    // A pipe: what is linked waits for it.
    flagged(IORING_OP_READ, ends[0], buffer, 4, 1, IOSQE_IO_LINK);
    flagged(IORING_OP_WRITE, fd, "linked", 6, 2, 0);
    FACT(submit(&r, 0));
    FACT(ready(&r));
    FACT(lseek(fd, 0, SEEK_END));
    MUST(write(ends[1], "data", 4));
    show_results(&r, "after the pipe", 2);
    FACT(lseek(fd, 0, SEEK_END));

    // Drain: not before all that came before.
    flagged(IORING_OP_READ, ends[0], buffer, 4, 1, 0);
    flagged(IORING_OP_NOP, -1, NULL, 0, 2, IOSQE_IO_DRAIN);
    flagged(IORING_OP_NOP, -1, NULL, 0, 3, 0);
    FACT(submit(&r, 0));
    pause_ms(20);
    FACT(ready(&r));
    MUST(write(ends[1], "data", 4));
    show_results(&r, "drained", 3);

    flagged(IORING_OP_READ, ends[0], buffer, 4, 1, IOSQE_IO_DRAIN);
    flagged(IORING_OP_NOP, -1, NULL, 0, 2, 0);
    FACT(submit(&r, 0));
    flagged(IORING_OP_NOP, -1, NULL, 0, 3, 0);
    FACT(submit(&r, 0));
    pause_ms(20);
    FACT(ready(&r));
    MUST(write(ends[1], "data", 4));
    show_results(&r, "nothing overtakes it", 3);
    flagged(IORING_OP_READ, ends[0], buffer, 4, 1, 0);
    flagged(IORING_OP_NOP, -1, NULL, 0, 2, IOSQE_IO_LINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 3, IOSQE_IO_DRAIN);
    flagged(IORING_OP_NOP, -1, NULL, 0, 4, 0);
    FACT(submit(&r, 0));
    pause_ms(20);
    FACT(ready(&r));
    MUST(write(ends[1], "data", 4));
    show_results(&r, "in the middle of a chain", 4);

    // A linked time-out: it stops what it guards, or is cancelled by its end.
    struct __kernel_timespec brief = {0, 10000000}, lengthy = {10, 0};
    flagged(IORING_OP_READ, ends[0], buffer, 4, 1, IOSQE_IO_LINK);
    flagged(IORING_OP_LINK_TIMEOUT, -1, &brief, 1, 2, 0);
    run(&r, "timed out");
    flagged(IORING_OP_READ, ends[0], buffer, 4, 1, IOSQE_IO_LINK);
    flagged(IORING_OP_LINK_TIMEOUT, -1, &brief, 1, 2, IOSQE_IO_LINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 3, 0);
    run(&r, "timed out, and more linked");
    MUST(write(ends[1], "data", 4));
    flagged(IORING_OP_READ, ends[0], buffer, 4, 1, IOSQE_IO_LINK);
    flagged(IORING_OP_LINK_TIMEOUT, -1, &lengthy, 1, 2, IOSQE_IO_LINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 3, 0);
    run(&r, "in time");
    flagged(IORING_OP_LINK_TIMEOUT, -1, &brief, 1, 2, 0);
    run(&r, "nothing to guard");

    // Skipped completions.
    flagged(IORING_OP_NOP, -1, NULL, 0, 1, IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 2, 0);
    FACT(submit(&r, 1));
    show_results(&r, "skipped", 1);
    flagged(IORING_OP_READ, 99, buffer, 3, 1, IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 2, IOSQE_IO_LINK);
    flagged(IORING_OP_NOP, -1, NULL, 0, 3, 0);
    flagged(IORING_OP_NOP, -1, NULL, 0, 4, 0);
    FACT(submit(&r, 2));
    show_results(&r, "a failure is told, its chain is not", 2);
    FACT(ready(&r));
    flagged(IORING_OP_NOP, -1, NULL, 0, 2, IOSQE_IO_DRAIN);
    run(&r, "no drain after skips");
    return 0;
}
