// Interval timers and alarm(2).
#include "../claim.h"

int main(void) {
    begin();
    handle(SIGALRM, count_signal, 0);
    handle(SIGVTALRM, count_signal, 0);
    handle(SIGPROF, count_signal, 0);
    alarm(0);
    TRY(alarm(100));
    TRY(alarm(0) >= 99);
    struct itimerval timer = {{0, 5000}, {0, 5000}}, old;
    TRY(setitimer(ITIMER_REAL, &timer, NULL));
    while (caught < 4) pause();
    TRY(getitimer(ITIMER_REAL, &old));
    FACT(old.it_interval.tv_usec);
    FACT(old.it_value.tv_usec <= 5000);
    memset(&timer, 0, sizeof timer);
    TRY(setitimer(ITIMER_REAL, &timer, &old));
    caught = 0;
    timer.it_value.tv_usec = 20000;
    TRY(setitimer(ITIMER_VIRTUAL, &timer, NULL));
    while (!caught) {}
    FACT(caught_number);
    caught = 0;
    TRY(setitimer(ITIMER_PROF, &timer, NULL));
    while (!caught) {}
    FACT(caught_number);
    timer.it_value.tv_usec = 1000000;
    TRY(setitimer(ITIMER_REAL, &timer, NULL));
    TRY(setitimer(7, &timer, NULL));
    alarm(50);
    pid_t child = MUST(syscall(SYS_fork));
    if (child == 0) {
        FACT(alarm(0));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    FACT(alarm(0) > 0);
    return 0;
}
