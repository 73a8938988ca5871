// SA_NODEFER, SA_RESETHAND, sa_mask, and what sigaction(2) refuses.
#include "../claim.h"

static volatile int depth, deepest;
static void nest(int number) {
    if (++depth > deepest) deepest = depth;
    if (depth < 3) raise(number);
    depth--;
}
static void inspect(int number) {
    sigset_t set;
    sigprocmask(SIG_BLOCK, NULL, &set);
    printf("in %d blocked: usr1 %d usr2 %d hup %d\n", number, sigismember(&set, SIGUSR1), sigismember(&set, SIGUSR2),
           sigismember(&set, SIGHUP));
}
int main(void) {
    begin();
    handle(SIGUSR1, nest, SA_NODEFER);
    raise(SIGUSR1);
    FACT(deepest);
    deepest = 0;
    handle(SIGUSR1, count_signal, 0);
    struct sigaction action = {.sa_handler = inspect};
    sigaddset(&action.sa_mask, SIGHUP);
    sigaction(SIGUSR2, &action, NULL);
    raise(SIGUSR2);
    action.sa_flags = SA_RESETHAND;
    sigaction(SIGUSR2, &action, NULL);
    raise(SIGUSR2);
    sigaction(SIGUSR2, NULL, &action);
    FACT(action.sa_handler == SIG_DFL);
    action.sa_handler = SIG_IGN;
    TRY(sigaction(SIGKILL, &action, NULL));
    TRY(sigaction(SIGSTOP, &action, NULL));
    TRY(sigaction(SIGKILL, NULL, &action));
    TRY(sigaction(65, &action, NULL));
    TRY(sigaction(0, &action, NULL));
    sigset_t set;
    sigfillset(&set);
    TRY(sigprocmask(SIG_BLOCK, &set, NULL));
    sigprocmask(SIG_BLOCK, NULL, &set);
    FACT(sigismember(&set, SIGKILL));
    FACT(sigismember(&set, SIGSTOP));
    FACT(sigismember(&set, SIGTERM));
    TRY(sigprocmask(77, &set, NULL));
    TRY(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 4));
    return 0;
}
