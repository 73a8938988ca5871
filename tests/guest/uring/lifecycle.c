// Requests end with the thread that made them, at execve, and not with a fork; rings full of nonsense hurt nobody else.
#include "ring.h"

static struct ring r;
static int ends[2];
static char buffer[64];

static void *submitter(void *argument) {
    (void)argument;
    next_entry(&r, IORING_OP_READ, ends[0], buffer, 4, 0, 1);
    FACT(submit(&r, 0));
    return NULL;
}

static void *waiter(void *argument) {
    (void)argument;
    show_results(&r, "another thread waits", 1);
    return NULL;
}

int main(int argc, char **argv) {
    begin();
    if (argc > 1) {  // after the execve below
        int fd = atoi(argv[1]), pipe_end = atoi(argv[2]), here = atoi(argv[3]);
        TRY(ring_enter(fd, 0, 0, 0, NULL, 0));
        MUST(write(here, "x", 1));
        struct pollfd filled = {pipe_end, POLLIN, 0};
        FACT(poll(&filled, 1, -1));
        FACT(read(pipe_end, buffer, 4));
        return 0;
    }
    r = ring_make(8, 0, 0);
    MUST(pipe(ends));

    pthread_t thread;
    MUST(-pthread_create(&thread, NULL, submitter, NULL));
    pthread_join(thread, NULL);
    MUST(write(ends[1], "data", 4));  // Linux looks at the request of a thread that has ended when its time comes
    show_results(&r, "its thread has ended", 1);
    FACT(read(ends[0], buffer, 4));

    next_entry(&r, IORING_OP_READ, ends[0], buffer, 4, 0, 2);
    FACT(submit(&r, 0));
    MUST(-pthread_create(&thread, NULL, waiter, NULL));
    pause_ms(10);
    MUST(write(ends[1], "data", 4));
    pthread_join(thread, NULL);

    // A child shares the ring; its end doesn't touch what the parent asked for.
    next_entry(&r, IORING_OP_READ, ends[0], buffer, 4, 0, 3);
    FACT(submit(&r, 0));
    pid_t child = MUST(fork());
    if (child == 0) {
        next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 4);
        _exit(submit(&r, 0));
    }
    reap("child", child);
    show_results(&r, "the child's", 1);
    FACT(ready(&r));
    MUST(write(ends[1], "mine", 4));
    show_results(&r, "the parent's", 1);
    printf("%.4s\n", buffer);

    // The child's own requests end with it, and leave the data alone.
    child = MUST(fork());
    if (child == 0) {
        next_entry(&r, IORING_OP_READ, ends[0], buffer, 4, 0, 5);
        _exit(submit(&r, 0));
    }
    reap("child", child);
    MUST(write(ends[1], "data", 4));
    show_results(&r, "ended with it", 1);
    FACT(read(ends[0], buffer, 4));

    // execve: what was in flight has ended before the new program runs.
    int running[2];
    MUST(pipe(running));
    child = MUST(fork());
    if (child == 0) {
        struct ring own = ring_make(4, 0, 0);
        next_entry(&own, IORING_OP_READ, ends[0], buffer, 4, 0, 6);
        submit(&own, 0);
        char fd[16], end[16], here[16];
        MUST(fcntl(own.fd, F_SETFD, 0));
        snprintf(fd, sizeof fd, "%d", own.fd);
        snprintf(end, sizeof end, "%d", ends[0]);
        snprintf(here, sizeof here, "%d", running[1]);
        execl(self(), "lifecycle", fd, end, here, NULL);
        _exit(99);
    }
    close(running[1]);  // so that the read ends also if nothing is executed
    MUST(read(running[0], buffer, 1));
    MUST(write(ends[1], "left", 4));
    reap("executed", child);

    // Nonsense in the rings.
    child = MUST(fork());
    if (child == 0) {
        struct ring own = ring_make(4, 0, 0);
        for (unsigned i = 0; i < 64; i++) {
            *own.sq_tail = i * 0x12345679u;
            *own.cq_head = i * 0x87654321u;
            *own.sq_mask = ~0u, *own.cq_mask = ~0u;
            own.array[i & 3] = i * 0x1111111u;
            memset(own.sqes, (int)(i * 37), 4 * sizeof own.sqes[0]);
            if (i % 2) ring_enter(own.fd, 1000, 0, IORING_ENTER_GETEVENTS, NULL, 0);
            else ring_enter(own.fd, 1000, 0, 0, NULL, 0);
        }
        _exit(0);
    }
    reap("nonsense", child);
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 7);
    run(&r, "all is well");
    return 0;
}
