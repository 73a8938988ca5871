// A pidfd polls, signals and waits for one process.
#include "../claim.h"

int main(void) {
    begin();
    pid_t child = MUST(fork());
    if (child == 0) {
        for (;;) pause();
    }
    int fd = syscall(SYS_pidfd_open, child, 0);
    FACT(fd >= 0);
    FACT(fcntl(fd, F_GETFD));
    struct pollfd item = {fd, POLLIN, 0};
    FACT(poll(&item, 1, 0));
    TRY(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
    TRY(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0));
    FACT(poll(&item, 1, 5000));
    FACT(item.revents & POLLIN);
    siginfo_t info = {0};
    TRY(waitid(3, fd, &info, WEXITED));
    printf("si_code %d si_status %d\n", info.si_code, info.si_status);
    TRY(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0));
    TRY(syscall(SYS_pidfd_open, child, 0));
    TRY(syscall(SYS_pidfd_open, -1, 0));
    TRY(syscall(SYS_pidfd_open, getpid(), 0x40000));
    return 0;
}
