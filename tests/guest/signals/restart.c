// Which calls SA_RESTART restarts, and which end with EINTR all the same.
#include "../claim.h"

#include <sys/epoll.h>
static int ends[2], pair[2], epoll_fd;
static char byte;
static long do_read(void) { return read(ends[0], &byte, 1); }
static long do_recv(void) { return recv(pair[0], &byte, 1, 0); }
static long do_wait(void) { return wait(NULL) > 0 ? 1 : -1; }
static long do_sleep(void) { struct timespec time = {0, 400000000}; return nanosleep(&time, NULL); }
static long do_poll(void) { struct pollfd item = {ends[0], POLLIN, 0}; return poll(&item, 1, 400); }
static long do_epoll(void) { struct epoll_event event; return epoll_wait(epoll_fd, &event, 1, 400); }
static long do_select(void) { struct timeval time = {0, 400000}; return select(0, NULL, NULL, NULL, &time); }
static long do_pause(void) { return pause(); }
static long do_sigtimedwait(void) {
    struct timespec time = {0, 400000000};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigtimedwait(&set, NULL, &time);
}
static long do_flock(void) {
    struct flock lock = {.l_type = F_WRLCK};
    int fd = open("lock", O_RDWR);
    long result = fcntl(fd, F_SETLKW, &lock);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}
static void try(const char *name, long (*call)(void), int flags) {
    handle(SIGALRM, count_signal, flags);
    put("lock", "");
    int gate[2];
    MUST(pipe(gate));
    pid_t child = MUST(fork());
    if (child == 0) {
        struct flock lock = {.l_type = F_WRLCK};
        int fd = open("lock", O_RDWR);
        fcntl(fd, F_SETLK, &lock);
        write(gate[1], "x", 1);
        pause_ms(150);
        write(ends[1], "x", 1);
        write(pair[1], "x", 1);
        _exit(0);
    }
    char signal_byte;
    read(gate[0], &signal_byte, 1);
    caught = 0;
    struct itimerval timer = {{0, 0}, {0, 50000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    errno = 0;
    long result = call();
    printf("%s, %s: %ld %s, handlers %d\n", name, flags ? "SA_RESTART" : "no flag", result,
           result < 0 ? errno_name(errno) : "", (int)caught);
    waitpid(child, NULL, 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    while (read(ends[0], &byte, 1) > 0) {}
    while (read(pair[0], &byte, 1) > 0) {}
    fcntl(ends[0], F_SETFL, 0);
    fcntl(pair[0], F_SETFL, 0);
    close(gate[0]);
    close(gate[1]);
}
int main(void) {
    begin();
    fresh_directory();
    MUST(pipe(ends));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    epoll_fd = MUST(epoll_create1(0));
    for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
        try("read", do_read, flags);
        try("recv", do_recv, flags);
        try("wait", do_wait, flags);
        try("fcntl F_SETLKW", do_flock, flags);
        try("nanosleep", do_sleep, flags);
        try("poll", do_poll, flags);
        try("epoll_wait", do_epoll, flags);
        try("select", do_select, flags);
        try("pause", do_pause, flags);
        try("sigtimedwait", do_sigtimedwait, flags);
    }
    return 0;
}
