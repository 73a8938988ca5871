// A signalfd reads pending signals with their details.
#include "../claim.h"

#include <sys/signalfd.h>
int main(void) {
    begin();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = MUST(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    struct signalfd_siginfo info[4];
    struct pollfd item = {fd, POLLIN, 0};
    TRY(read(fd, info, sizeof info));
    TRY(poll(&item, 1, 0));
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 12});
    TRY(poll(&item, 1, 0));
    FACT(read(fd, info, sizeof info) / sizeof *info);
    printf("signo %u code %d int %d pid %d\n", info->ssi_signo, info->ssi_code, info->ssi_int,
           info->ssi_pid == (unsigned)getpid());
    pid_t child = MUST(fork());
    if (child == 0) _exit(9);
    FACT(poll(&item, 1, 5000));
    FACT(read(fd, info, sizeof info) / sizeof *info);
    printf("signo %u code %d status %d\n", info->ssi_signo, info->ssi_code, info->ssi_status);
    TRY(read(fd, info, 10));
    sigdelset(&set, SIGUSR1);
    FACT(signalfd(fd, &set, 0) == fd);
    raise(SIGUSR1);
    TRY(read(fd, info, sizeof info));
    TRY(signalfd(0, &set, 0));
    TRY(signalfd(-1, &set, 0x4));
    return 0;
}
