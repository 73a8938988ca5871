// siginfo_t says who sent a signal, how, and what with.
#include "../claim.h"

static void note(int number, siginfo_t *info, void *context) {
    (void)context;
    printf("signo %d code %d from me %d uid %d value %d\n", number, info->si_code, info->si_pid == getpid(),
           info->si_uid == getuid(), info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);
}
int main(void) {
    begin();
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    kill(getpid(), SIGUSR1);
    raise(SIGUSR1);
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 77});
    siginfo_t info = {0};
    info.si_signo = SIGUSR1;
    info.si_code = -60;
    info.si_pid = getpid();
    info.si_uid = getuid();
    TRY(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info));
    info.si_code = SI_USER;
    pid_t child = MUST(fork());
    if (child == 0) {
        TRY(syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &info));
        _exit(0);
    }
    reap("child", child);
    return 0;
}
