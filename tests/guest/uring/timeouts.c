// Time-outs: by time, by count, absolute, removed, updated; and waiting with a limit.
#include "ring.h"
#include <sys/epoll.h>

int main(void) {
    begin();
    struct ring r = ring_make(16, 0, 0);
    struct __kernel_timespec brief = {0, 20000000}, lengthy = {10, 0}, wrong = {-1, 0};

    long long start = now_ms();
    next_entry(&r, IORING_OP_TIMEOUT, -1, &brief, 1, 0, 1);
    run(&r, "by time");
    FACT(now_ms() - start >= 20);
    next_entry(&r, IORING_OP_TIMEOUT, -1, &brief, 1, 0, 1)->timeout_flags = IORING_TIMEOUT_ETIME_SUCCESS;
    r.sqes[(*r.sq_tail) & *r.sq_mask].flags = IOSQE_IO_LINK;
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 2);
    run(&r, "the chain goes on");
    next_entry(&r, IORING_OP_TIMEOUT, -1, &wrong, 1, 0, 1);
    run(&r, "negative");
    next_entry(&r, IORING_OP_TIMEOUT, -1, &brief, 2, 0, 1);
    run(&r, "two of them");
    next_entry(&r, IORING_OP_TIMEOUT, -1, (void *)16, 1, 0, 1);
    run(&r, "bad address");

    next_entry(&r, IORING_OP_TIMEOUT, -1, &lengthy, 1, 2, 1);
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 2);
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 3);
    run(&r, "by count");

    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct __kernel_timespec past = {now.tv_sec - 1, now.tv_nsec};
    next_entry(&r, IORING_OP_TIMEOUT, -1, &past, 1, 0, 1)->timeout_flags = IORING_TIMEOUT_ABS;
    run(&r, "absolute, past");
    clock_gettime(CLOCK_REALTIME, &now);
    past.tv_sec = now.tv_sec - 1;
    next_entry(&r, IORING_OP_TIMEOUT, -1, &past, 1, 0, 1)->timeout_flags = IORING_TIMEOUT_ABS | IORING_TIMEOUT_REALTIME;
    run(&r, "absolute, real time");

    next_entry(&r, IORING_OP_TIMEOUT, -1, &lengthy, 1, 0, 1);
    FACT(submit(&r, 0));
    next_entry(&r, IORING_OP_TIMEOUT_REMOVE, -1, (void *)7, 0, 0, 2);
    run(&r, "remove another");
    next_entry(&r, IORING_OP_TIMEOUT_REMOVE, -1, (void *)1, 0, 0, 2);
    FACT(submit(&r, 2));
    show_results(&r, "removed", 2);

    next_entry(&r, IORING_OP_TIMEOUT, -1, &lengthy, 1, 0, 1);
    FACT(submit(&r, 0));
    next_entry(&r, IORING_OP_TIMEOUT_REMOVE, -1, (void *)1, 0, (uintptr_t)&brief, 2)->timeout_flags = IORING_TIMEOUT_UPDATE;
    FACT(submit(&r, 2));
    show_results(&r, "updated", 2);

    // Waiting with a limit.
    struct io_uring_getevents_arg limit = {.ts = (uintptr_t)&brief};
    TRY(ring_enter(r.fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &limit, sizeof limit));
    TRY(ring_enter(r.fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &limit, 8));
    TRY(ring_enter(r.fd, 0, 0, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &limit, sizeof limit));

    // A signal ends the wait, and the mask given with it lets it through.
    handle(SIGALRM, count_signal, 0);
    struct itimerval soon = {.it_value = {0, 20000}};
    sigset_t none, blocked;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGALRM);
    MUST(sigprocmask(SIG_BLOCK, &blocked, NULL));
    MUST(setitimer(ITIMER_REAL, &soon, NULL));
    TRY(ring_enter(r.fd, 0, 1, IORING_ENTER_GETEVENTS, &none, 8));
    FACT(caught);
    sigset_t after;
    MUST(sigprocmask(SIG_BLOCK, NULL, &after));
    FACT(sigismember(&after, SIGALRM));
    MUST(setitimer(ITIMER_REAL, &soon, NULL));
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 1);
    __atomic_store_n(r.sq_tail, *r.sq_tail + 1, __ATOMIC_RELEASE);
    r.queued = 0;
    TRY(ring_enter(r.fd, 1, 2, IORING_ENTER_GETEVENTS, &none, 8));
    FACT(caught);
    show_results(&r, "and what was submitted", 1);
    bound();

    // The ring itself can be polled and watched.
    struct pollfd watch = {r.fd, POLLIN | POLLOUT, 0};
    FACT(poll(&watch, 1, 0));
    FACT(watch.revents);
    int epoll = MUST(epoll_create1(0));
    struct epoll_event event = {EPOLLIN, {.u32 = 5}}, found;
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, r.fd, &event));
    FACT(epoll_wait(epoll, &found, 1, 0));
    next_entry(&r, IORING_OP_TIMEOUT, -1, &brief, 1, 0, 1);
    FACT(submit(&r, 0));
    int count;
    do count = epoll_wait(epoll, &found, 1, 5000);
    while (count == -1 && errno == EINTR);  // Linux interrupts it to complete the request
    FACT(count);
    show_results(&r, "watched", 1);
    FACT(epoll_wait(epoll, &found, 1, 0));

    // An eventfd is told of completions.
    int counter = MUST(eventfd(0, EFD_NONBLOCK));
    TRY(ring_register(r.fd, IORING_REGISTER_EVENTFD, &counter, 1));
    TRY(ring_register(r.fd, IORING_REGISTER_EVENTFD, &counter, 1));
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 1);
    run(&r, "told");
    uint64_t value = 0;
    TRY(read(counter, &value, 8));
    FACT(value > 0);
    TRY(ring_register(r.fd, IORING_UNREGISTER_EVENTFD, NULL, 0));
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 1);
    run(&r, "not told");
    TRY(read(counter, &value, 8));
    return 0;
}
