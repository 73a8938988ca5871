// Relative and absolute sleeps: signals end them whatever SA_RESTART says, what remains is told, and the time for which
// the process was stopped counts.
#include "../claim.h"

static volatile int handled;

static void on_signal(int number) {
    (void)number;
    handled++;
}

static void interrupt_soon(void) {
    struct itimerval timer = {{0, 0}, {0, 30000}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

static long by_nanosleep(const struct timespec *time, struct timespec *rest) {
    return syscall(SYS_nanosleep, time, rest);
}

static long by_realtime(const struct timespec *time, struct timespec *rest) {
    return syscall(SYS_clock_nanosleep, CLOCK_REALTIME, 0, time, rest);
}

static long by_monotonic(const struct timespec *time, struct timespec *rest) {
    return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, time, rest);
}

static long by_boottime(const struct timespec *time, struct timespec *rest) {
    return syscall(SYS_clock_nanosleep, CLOCK_BOOTTIME, 0, time, rest);
}

static long until(const struct timespec *time, struct timespec *rest) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    now.tv_sec += time->tv_sec;
    return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &now, rest);
}

typedef long way(const struct timespec *time, struct timespec *rest);

// Children that are stopped for as long as they sleep, all at once.
static void stopped(way *const *ways, int count) {
    int ends[2];
    char byte;
    pid_t children[8];
    MUST(pipe(ends));
    for (int i = 0; i < count; i++) {
        children[i] = MUST(fork());
        if (children[i] == 0) {
            struct timespec time = {1, 0};
            long long start = now_ms();
            MUST(write(ends[1], "x", 1));
            long result = ways[i](&time, NULL);
            long long took = now_ms() - start;
            _exit(result != 0 ? 1 : took < 1000 ? 2 : took > 1900 ? 3 : 0);
        }
    }
    for (int i = 0; i < count; i++) MUST(read(ends[0], &byte, 1));
    pause_ms(100);
    for (int i = 0; i < count; i++) kill(children[i], SIGSTOP);
    for (int i = 0; i < count; i++) waitpid(children[i], NULL, WUNTRACED);
    pause_ms(1000);
    for (int i = 0; i < count; i++) kill(children[i], SIGCONT);
    for (int i = 0; i < count; i++) reap("stopped for a second", children[i]);
}

static void claims(const char *name, way *sleep, int relative) {
    struct timespec time = {3, 0}, rest = {77, 77};
    puts(name);
    for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
        for (int tells = 0; tells < 2; tells++) {
            handle(SIGALRM, on_signal, flags);
            interrupt_soon();
            TRY(sleep(&time, tells ? &rest : NULL));
        }
        FACT(rest.tv_sec);
        FACT(handled);
    }
    if (relative) {
        time = (struct timespec){3, 0};
        interrupt_soon();
        TRY(sleep(&time, &time));
        FACT(time.tv_sec);
        time = (struct timespec){3, 0};
        interrupt_soon();
        TRY(sleep(&time, (void *)8));
        TRY(sleep((void *)8, NULL));
        time = (struct timespec){0, 1000000000};
        TRY(sleep(&time, &rest));
        time = (struct timespec){-1, 0};
        TRY(sleep(&time, &rest));
        rest = (struct timespec){77, 77};
        time = (struct timespec){0, 0};
        TRY(sleep(&time, &rest));
        time = (struct timespec){0, 1000};
        TRY(sleep(&time, &rest));
        FACT(rest.tv_sec);
    }
}

int main(void) {
    begin();
    way *const ways[] = {by_nanosleep, by_realtime, by_monotonic, by_boottime, until};
    static const char *const names[] = {"nanosleep", "by the real time", "monotonic", "since boot", "absolute"};
    for (int i = 0; i < 5; i++) claims(names[i], ways[i], i < 4);
    stopped(ways, 5);
    return 0;
}
