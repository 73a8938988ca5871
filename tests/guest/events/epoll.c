// epoll: level, edge, one-shot; what it refuses.
#include "../claim.h"

#include <sys/epoll.h>
static int epoll_fd;
static void ready(const char *what) {
    struct epoll_event events[4];
    int count = epoll_wait(epoll_fd, events, 4, 0);
    printf("%s: %d", what, count);
    for (int i = 0; i < count; i++) printf(" %#x/%d", events[i].events, events[i].data.fd);
    puts("");
}
int main(void) {
    begin();
    epoll_fd = MUST(epoll_create1(EPOLL_CLOEXEC));
    int ends[2], other[2];
    MUST(pipe2(ends, O_NONBLOCK));
    MUST(pipe2(other, O_NONBLOCK));
    struct epoll_event event = {EPOLLIN, {.fd = 1}};
    char text[8];
    TRY(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ends[0], &event));
    TRY(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ends[0], &event));
    ready("empty");
    write(ends[1], "ab", 2);
    ready("level");
    ready("level again");
    event.events = EPOLLIN | EPOLLET;
    TRY(epoll_ctl(epoll_fd, EPOLL_CTL_MOD, ends[0], &event));
    ready("edge");
    ready("edge again");
    write(ends[1], "c", 1);
    ready("edge after more");
    read(ends[0], text, 8);
    event.events = EPOLLIN | EPOLLONESHOT;
    TRY(epoll_ctl(epoll_fd, EPOLL_CTL_MOD, ends[0], &event));
    write(ends[1], "d", 1);
    ready("one-shot");
    write(ends[1], "e", 1);
    ready("one-shot again");
    TRY(epoll_ctl(epoll_fd, EPOLL_CTL_MOD, ends[0], &event));
    ready("armed again");
    event = (struct epoll_event){EPOLLOUT, {.fd = 2}};
    TRY(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, other[1], &event));
    ready("writable");
    close(other[0]);
    ready("reader gone");
    close(other[1]);
    ready("closed");
    TRY(epoll_ctl(epoll_fd, EPOLL_CTL_DEL, ends[0], NULL));
    TRY(epoll_ctl(epoll_fd, EPOLL_CTL_DEL, ends[0], NULL));
    TRY(epoll_ctl(epoll_fd, EPOLL_CTL_MOD, ends[0], &event));
    TRY(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, epoll_fd, &event));
    TRY(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 99, &event));
    TRY(epoll_ctl(ends[0], EPOLL_CTL_ADD, ends[1], &event));
    TRY(epoll_wait(epoll_fd, &event, 0, 0));
    TRY(epoll_wait(ends[0], &event, 1, 0));
    TRY(epoll_create(0));
    int regular = MUST(open(self(), O_RDONLY));
    TRY(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, regular, &event));
    return 0;
}
