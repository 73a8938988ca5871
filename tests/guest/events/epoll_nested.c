// An epoll in an epoll; one that waits is woken by another thread.
#include "../claim.h"

#include <sys/epoll.h>
static int outer, inner, ends[2];
static void *write_later(void *unused) {
    pause_ms(20);
    write(ends[1], "x", 1);
    return unused;
}
int main(void) {
    begin();
    outer = MUST(epoll_create1(0));
    inner = MUST(epoll_create1(0));
    MUST(pipe(ends));
    struct epoll_event event = {EPOLLIN, {.u32 = 5}}, got = {0};
    TRY(epoll_ctl(inner, EPOLL_CTL_ADD, ends[0], &event));
    event.data.u32 = 6;
    TRY(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event));
    TRY(epoll_ctl(inner, EPOLL_CTL_ADD, outer, &event));
    TRY(epoll_wait(outer, &got, 1, 0));
    pthread_t thread;
    pthread_create(&thread, NULL, write_later, NULL);
    TRY(epoll_wait(outer, &got, 1, 5000));
    FACT(got.data.u32);
    struct pollfd item = {inner, POLLIN, 0};
    TRY(poll(&item, 1, 0));
    TRY(epoll_wait(inner, &got, 1, 0));
    FACT(got.data.u32);
    pthread_join(thread, NULL);
    return 0;
}
