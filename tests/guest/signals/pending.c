// Blocked signals stay pending, standard ones once, real-time ones as often as sent.
#include "../claim.h"

static int order[16], values[16], count;
static void note(int number, siginfo_t *info, void *context) {
    (void)context;
    order[count] = number - (number >= SIGRTMIN ? SIGRTMIN - 100 : 0);
    values[count++] = info->si_value.sival_int;
}
int main(void) {
    begin();
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    sigfillset(&action.sa_mask);
    int numbers[] = {SIGUSR1, SIGUSR2, SIGRTMIN + 1, SIGRTMIN + 3};
    sigset_t set, pending;
    sigemptyset(&set);
    for (int i = 0; i < 4; i++) {
        sigaction(numbers[i], &action, NULL);
        sigaddset(&set, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 1; i <= 3; i++)
        for (int j = 3; j >= 0; j--) sigqueue(getpid(), numbers[j], (union sigval){.sival_int = i});
    sigpending(&pending);
    for (int i = 0; i < 4; i++) FACT(sigismember(&pending, numbers[i]));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    for (int i = 0; i < count; i++) printf("signal %d value %d\n", order[i], values[i]);
    sigpending(&pending);
    FACT(sigismember(&pending, SIGUSR1));
    return 0;
}
