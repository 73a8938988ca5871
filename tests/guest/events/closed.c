// A descriptor that another thread closes, or exchanges, while poll(2) or select(2) waits for it: the file is waited for
// and stays open, the descriptor is looked at again once there is something to tell.
#include "../asleep.h"

static int one[2], other[2];
static char told[64];

static void *by_poll(void *argument) {
    struct pollfd fds[2] = {{one[0], POLLIN, 0}, {other[0], POLLIN, 0}};
    (void)argument;
    about_to_wait();
    int count = poll(fds, 2, 5000);
    snprintf(told, sizeof told, "poll: %d, %x %x", count, fds[0].revents, fds[1].revents);
    return NULL;
}

static void *by_select(void *argument) {
    fd_set readable, exceptional;
    struct timeval time = {5, 0};
    (void)argument;
    FD_ZERO(&readable);
    FD_ZERO(&exceptional);
    FD_SET(one[0], &readable);
    FD_SET(other[0], &readable);
    FD_SET(one[0], &exceptional);
    about_to_wait();
    int count = select(64, &readable, NULL, &exceptional, &time);
    snprintf(told, sizeof told, "select: %d, %d %d %d", count, !!FD_ISSET(one[0], &readable),
             !!FD_ISSET(other[0], &readable), !!FD_ISSET(one[0], &exceptional));
    return NULL;
}

static void close_and_write_to_other(void) {
    close(one[0]);
    TRY(write(other[1], "x", 1));
}

static void close_and_write_to_it(void) {
    close(one[0]);
    TRY(write(one[1], "x", 1)); // nobody holds the reading end but the waiting call
}

static void exchange_and_write_to_other(void) {
    int fresh[2];
    MUST(pipe(fresh));
    MUST(write(fresh[1], "z", 1));
    MUST(dup2(fresh[0], one[0]));
    close(fresh[0]), close(fresh[1]);
    TRY(write(other[1], "x", 1));
}

static void claim(const char *name, void *(*wait)(void *), void (*act)(void), int kept) {
    pthread_t thread;
    puts(name);
    MUST(pipe(one)), MUST(pipe(other));
    int copy = kept ? MUST(dup(one[0])) : -1;
    nobody_waits();
    pthread_create(&thread, NULL, wait, NULL);
    wait_until_asleep();
    act();
    pthread_join(thread, NULL);
    puts(told);
    if (kept) close(copy);
    TRY(write(one[1], "y", 1));
    close(one[0]), close(one[1]), close(other[0]), close(other[1]);
}

int main(void) {
    begin();
    signal(SIGPIPE, SIG_IGN);
    for (int kept = 0; kept < 2; kept++) {
        claim("closed, poll", by_poll, close_and_write_to_other, kept);
        claim("closed, select", by_select, close_and_write_to_other, kept);
        claim("closed and written to, poll", by_poll, close_and_write_to_it, kept);
        claim("closed and written to, select", by_select, close_and_write_to_it, kept);
        claim("exchanged, poll", by_poll, exchange_and_write_to_other, kept);
        claim("exchanged, select", by_select, exchange_and_write_to_other, kept);
    }
    return 0;
}
