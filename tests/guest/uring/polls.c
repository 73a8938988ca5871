// POLL_ADD in its forms, cancellation, and what a close does.
#include "ring.h"

int main(void) {
    begin();
    struct ring r = ring_make(16, 0, 0);
    int ends[2];
    MUST(pipe(ends));
    char buffer[16];

    next_entry(&r, IORING_OP_POLL_ADD, ends[1], NULL, 0, 0, 1)->poll32_events = POLLOUT;
    run(&r, "ready at once");
    next_entry(&r, IORING_OP_POLL_ADD, ends[0], NULL, 0, 0, 1)->poll32_events = POLLIN;
    FACT(submit(&r, 0));
    FACT(ready(&r));
    MUST(write(ends[1], "x", 1));
    show_results(&r, "ready later", 1);
    MUST(read(ends[0], buffer, 1));
    next_entry(&r, IORING_OP_POLL_ADD, 99, NULL, 0, 0, 1)->poll32_events = POLLIN;
    run(&r, "bad descriptor");

    // Multishot: a completion each time.
    next_entry(&r, IORING_OP_POLL_ADD, ends[0], NULL, IORING_POLL_ADD_MULTI, 0, 2)->poll32_events = POLLIN;
    FACT(submit(&r, 0));
    for (int i = 0; i < 3; i++) {
        MUST(write(ends[1], "x", 1));
        show_results(&r, "again", 1);
        MUST(read(ends[0], buffer, 1));
    }
    next_entry(&r, IORING_OP_POLL_REMOVE, -1, (void *)9, 0, 0, 3);
    run(&r, "remove another");
    next_entry(&r, IORING_OP_POLL_REMOVE, -1, (void *)2, 0, 0, 3);
    FACT(submit(&r, 2));
    show_results(&r, "removed", 2);

    // Update: other events, another name.
    next_entry(&r, IORING_OP_POLL_ADD, ends[0], NULL, 0, 0, 4)->poll32_events = POLLPRI;
    FACT(submit(&r, 0));
    next_entry(&r, IORING_OP_POLL_REMOVE, -1, (void *)4, IORING_POLL_UPDATE_EVENTS | IORING_POLL_UPDATE_USER_DATA, 5, 6)
        ->poll32_events = POLLIN;
    run(&r, "updated");
    MUST(write(ends[1], "x", 1));
    show_results(&r, "under its new name", 1);
    MUST(read(ends[0], buffer, 1));

    // Cancelling reads: by user_data, by descriptor, all of them.
    next_entry(&r, IORING_OP_READ, ends[0], buffer, 1, 0, 1);
    FACT(submit(&r, 0));
    next_entry(&r, IORING_OP_ASYNC_CANCEL, -1, (void *)8, 0, 0, 2);
    run(&r, "cancel nothing");
    next_entry(&r, IORING_OP_ASYNC_CANCEL, -1, (void *)1, 0, 0, 2);
    FACT(submit(&r, 2));
    show_results(&r, "cancel", 2);
    for (int i = 1; i <= 3; i++) next_entry(&r, IORING_OP_READ, ends[0], buffer, 1, 0, (uint64_t)i);
    FACT(submit(&r, 0));
    next_entry(&r, IORING_OP_ASYNC_CANCEL, ends[0], NULL, 0, 0, 4)->cancel_flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
    FACT(submit(&r, 4));
    show_results(&r, "cancel by descriptor", 4);
    struct __kernel_timespec lengthy = {10, 0};
    next_entry(&r, IORING_OP_READ, ends[0], buffer, 1, 0, 1);
    next_entry(&r, IORING_OP_TIMEOUT, -1, &lengthy, 1, 0, 2);
    FACT(submit(&r, 0));
    next_entry(&r, IORING_OP_ASYNC_CANCEL, -1, NULL, 0, 0, 4)->cancel_flags = IORING_ASYNC_CANCEL_ANY;
    FACT(submit(&r, 3));
    show_results(&r, "cancel any", 3);

    // Cancellation within one batch, and its completion without waiting.
    next_entry(&r, IORING_OP_READ, ends[0], buffer, 1, 0, 1);
    next_entry(&r, IORING_OP_ASYNC_CANCEL, -1, (void *)1, 0, 0, 2);
    FACT(submit(&r, 0));
    FACT(ready(&r));
    show_results(&r, "in one batch", 2);

    // The descriptor's close doesn't end what is under way; the other end's does.
    int twin = MUST(dup(ends[0]));
    close(ends[0]);
    next_entry(&r, IORING_OP_READ, twin, buffer, 1, 0, 1);
    FACT(submit(&r, 0));
    close(twin);
    MUST(write(ends[1], "y", 1));
    show_results(&r, "read on", 1);
    FACT(buffer[0]);
    signal(SIGPIPE, SIG_IGN);
    TRY(write(ends[1], "z", 1));

    // A non-blocking pipe: the request waits all the same.
    MUST(pipe2(ends, O_NONBLOCK));
    next_entry(&r, IORING_OP_READ, ends[0], buffer, 4, 0, 1);
    FACT(submit(&r, 0));
    FACT(ready(&r));
    MUST(write(ends[1], "wxyz", 4));
    show_results(&r, "non-blocking", 1);
    next_entry(&r, IORING_OP_READ, ends[0], buffer, 4, 0, 1)->rw_flags = RWF_NOWAIT;
    run(&r, "nowait");

    // What is in flight ends with the ring.
    next_entry(&r, IORING_OP_READ, ends[0], buffer, 4, 0, 1);
    FACT(submit(&r, 0));
    ring_free(&r);
    pause_ms(20);
    MUST(write(ends[1], "left", 4));
    FACT(read(ends[0], buffer, 4));
    return 0;
}
