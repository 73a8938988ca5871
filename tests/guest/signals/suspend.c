// sigsuspend(2) waits with another mask and restores the old one.
#include "../claim.h"

int main(void) {
    begin();
    handle(SIGUSR1, count_signal, 0);
    handle(SIGUSR2, count_signal, 0);
    sigset_t set, none, old;
    sigemptyset(&none);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    FACT(caught);
    TRY(sigsuspend(&none));
    FACT(caught);
    sigprocmask(SIG_BLOCK, NULL, &old);
    FACT(sigismember(&old, SIGUSR1));
    pid_t child = MUST(fork());
    if (child == 0) {
        pause_ms(20);
        kill(getppid(), SIGUSR1);
        pause_ms(20);
        kill(getppid(), SIGUSR2);
        _exit(0);
    }
    TRY(sigsuspend(&set));
    FACT(caught_number);
    waitpid(child, NULL, 0);
    return 0;
}
