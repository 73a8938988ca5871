// select(2), pselect(2), ppoll(2) with their time-outs and masks.
#include "../claim.h"

static void *write_later(void *fd) {
    pause_ms(20);
    write(*(int *)fd, "x", 1);
    return NULL;
}
int main(void) {
    begin();
    int ends[2];
    MUST(pipe(ends));
    fd_set readable, writable;
    struct timeval time = {0, 20000};
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(ends[0], &readable);
    FD_SET(ends[1], &writable);
    TRY(select(ends[1] + 1, &readable, &writable, NULL, &time));
    printf("%d %d\n", FD_ISSET(ends[0], &readable) != 0, FD_ISSET(ends[1], &writable) != 0);
    FD_SET(ends[0], &readable);
    time = (struct timeval){0, 20000};
    TRY(select(ends[0] + 1, &readable, NULL, NULL, &time));
    FACT(time.tv_sec + time.tv_usec);
    pthread_t thread;
    pthread_create(&thread, NULL, write_later, &ends[1]);
    FD_SET(ends[0], &readable);
    TRY(select(ends[0] + 1, &readable, NULL, NULL, NULL));
    pthread_join(thread, NULL);
    FD_SET(90, &readable);
    TRY(select(91, &readable, NULL, NULL, NULL));
    TRY(select(-1, NULL, NULL, NULL, NULL));
    // A set is as many words as its bits take, and not a byte more.
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(mprotect(edge + 4096, 4096, PROT_NONE));
    long *last = (long *)(edge + 4096 - sizeof(long));
    *last = 1L << ends[0];
    struct timeval zero = {0, 0};
    TRY(select(64, (fd_set *)last, NULL, NULL, &zero));
    FACT(*last == 1L << ends[0]);
    TRY(select(64, (fd_set *)((char *)last + 4), NULL, NULL, &zero));
    TRY(select(64, NULL, NULL, (fd_set *)8, &zero));
    TRY(select(0, (fd_set *)8, NULL, NULL, &zero));
    MUST(mprotect(edge, 4096, PROT_READ));
    TRY(select(64, (fd_set *)last, NULL, NULL, &zero));
    handle(SIGUSR1, count_signal, 0);
    sigset_t set, none;
    sigemptyset(&none);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    struct timespec second = {1, 0};
    TRY(pselect(0, NULL, NULL, NULL, &second, &none));
    FACT(caught);
    raise(SIGUSR1);
    TRY(ppoll(NULL, 0, &second, &none));
    FACT(caught);
    struct pollfd items[3] = {{ends[0], POLLIN, 0}, {77, POLLIN, 0}, {-5, POLLIN, 0}};
    TRY(poll(items, 3, 0));
    printf("%d %d %d\n", items[0].revents, items[1].revents, items[2].revents);
    TRY(poll(NULL, 0, 10));
    return 0;
}
