// POSIX timers: signals with values, overruns, remaining time.
#include "../claim.h"

static volatile int value, code;
static void note(int number, siginfo_t *info, void *context) {
    (void)number; (void)context;
    value = info->si_value.sival_int;
    code = info->si_code;
    caught++;
}
int main(void) {
    begin();
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN, &action, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 99};
    timer_t timer;
    TRY(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec time = {{0, 0}, {0, 10000000}}, left;
    TRY(timer_settime(timer, 0, &time, NULL));
    while (!caught) pause();
    printf("value %d code %d\n", value, code);
    time.it_value.tv_sec = 100;
    TRY(timer_settime(timer, 0, &time, NULL));
    TRY(timer_gettime(timer, &left));
    FACT(left.it_value.tv_sec >= 99);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    time = (struct itimerspec){{0, 2000000}, {0, 2000000}};
    TRY(timer_settime(timer, 0, &time, NULL));
    pause_ms(60);
    caught = 0;
    siginfo_t info;
    FACT(sigwaitinfo(&set, &info) == SIGRTMIN);
    FACT(timer_getoverrun(timer) > 5);
    TRY(timer_delete(timer));
    TRY(timer_delete(timer));
    time.it_value.tv_nsec = -1;
    event.sigev_signo = 1000;
    TRY(timer_create(CLOCK_MONOTONIC, &event, &timer));
    TRY(timer_create(77, NULL, &timer));
    event.sigev_notify = SIGEV_NONE;
    TRY(timer_create(CLOCK_REALTIME, &event, &timer));
    TRY(timer_settime(timer, 0, &time, NULL));
    return 0;
}
