// sigtimedwait(2) takes pending signals, waits, times out.
#include "../claim.h"

int main(void) {
    begin();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct timespec none = {0, 0}, brief = {0, 20000000}, wrong = {0, -1};
    siginfo_t info;
    TRY(sigtimedwait(&set, &info, &none));
    TRY(sigtimedwait(&set, &info, &brief));
    TRY(sigtimedwait(&set, &info, &wrong));
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5});
    raise(SIGUSR1);
    FACT(sigtimedwait(&set, &info, &none) == SIGUSR1);
    FACT(sigwaitinfo(&set, &info) == SIGRTMIN);
    printf("code %d value %d\n", info.si_code, info.si_value.sival_int);
    pid_t child = MUST(fork());
    if (child == 0) {
        pause_ms(30);
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    int number = 0;
    FACT(sigwait(&set, &number));
    FACT(number);
    waitpid(child, NULL, 0);
    return 0;
}
