// wait4(2) and waitid(2) with WNOHANG, WUNTRACED, WCONTINUED and WNOWAIT.
#include "../claim.h"

int main(void) {
    begin();
    int gate[2], status = 0;
    MUST(pipe(gate));
    pid_t child = MUST(fork());
    if (child == 0) {
        char byte;
        raise(SIGSTOP);
        read(gate[0], &byte, 1);
        _exit(7);
    }
    FACT(waitpid(child, &status, WUNTRACED) == child);
    report("after SIGSTOP", status);
    TRY(waitpid(child, &status, WNOHANG | WUNTRACED));
    kill(child, SIGCONT);
    FACT(waitpid(child, &status, WCONTINUED) == child);
    report("after SIGCONT", status);
    TRY(waitpid(child, &status, WNOHANG));
    write(gate[1], "x", 1);
    siginfo_t info = {0};
    TRY(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    printf("si_signo %d si_code %d si_status %d pid %d\n", info.si_signo, info.si_code, info.si_status,
           info.si_pid == child);
    memset(&info, 0, sizeof info);
    TRY(waitid(P_ALL, 0, &info, WEXITED | WNOHANG));
    printf("si_status %d\n", info.si_status);
    TRY(waitid(P_ALL, 0, &info, WEXITED | WNOHANG));
    TRY(waitid(P_ALL, 0, &info, 0));
    TRY(waitid(P_PID, getpid(), &info, WEXITED));
    TRY(waitpid(getpid(), &status, 0));
    TRY(waitpid(-1, &status, 0x40));
    return 0;
}
