// An interrupted nanosleep(2) tells what remains; ignored and stop signals don't end it.
#include "../claim.h"

int main(void) {
    begin();
    handle(SIGALRM, count_signal, 0);
    struct itimerval timer = {{0, 0}, {0, 50000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    struct timespec time = {5, 0}, rest = {0, 0};
    TRY(nanosleep(&time, &rest));
    FACT(rest.tv_sec == 4);
    signal(SIGALRM, SIG_IGN);
    setitimer(ITIMER_REAL, &timer, NULL);
    time = (struct timespec){0, 120000000};
    long long start = now_ms();
    TRY(nanosleep(&time, &rest));
    FACT(now_ms() - start >= 120);
    pid_t child = MUST(fork());
    if (child == 0) {
        start = now_ms();
        time = (struct timespec){0, 150000000};
        TRY(nanosleep(&time, &rest));
        _exit(now_ms() - start >= 150 ? 3 : 4);
    }
    pause_ms(30);
    kill(child, SIGSTOP);
    waitpid(child, NULL, WUNTRACED);
    kill(child, SIGCONT);
    reap("stopped and continued", child);
    time.tv_nsec = 1000000000;
    TRY(nanosleep(&time, NULL));
    time = (struct timespec){-1, 0};
    TRY(nanosleep(&time, NULL));
    return 0;
}
