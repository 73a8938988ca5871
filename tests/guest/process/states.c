// A process that sleeps, or waits for a futex, is told of as sleeping, whoever keeps it; one that computes is running.
#include "../state.h"

#include <linux/futex.h>

static void claim(const char *name, void (*act)(void), char expected) {
    pid_t child = MUST(fork());
    if (child == 0) {
        act();
        _exit(0);
    }
    while (state_in("/proc/%d/stat", child) != expected) usleep(1000); // or the program's time is over
    printf("%s: %c\n", name, expected);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void sleep_long(void) { syscall(SYS_nanosleep, &(struct timespec){1000, 0}, NULL); }

static void sleep_until(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += 1000;
    syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static void wait_for_futex(void) {
    static int word;
    syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void wait_in_kernel(void) { pause(); }

static void compute(void) {
    for (volatile unsigned turns = 0;; turns++);
}

int main(void) {
    begin();
    claim("a sleep", sleep_long, 'S');
    claim("a sleep until a time", sleep_until, 'S');
    claim("a futex", wait_for_futex, 'S');
    claim("pause", wait_in_kernel, 'S');
    claim("computing", compute, 'R');
    return 0;
}
