// The rules of process groups and sessions.
#include "../claim.h"

int main(void) {
    begin();
    FACT(getpgid(0) == getpgrp());
    FACT(getsid(0) == getsid(getpid()));
    pid_t child = MUST(fork());
    if (child == 0) {
        FACT(setsid() == getpid());
        FACT(getsid(0) == getpid());
        FACT(getpgrp() == getpid());
        TRY(setsid());
        TRY(setpgid(0, 0));
        pid_t inner = fork();
        if (inner == 0) {
            pause();
            _exit(0);
        }
        TRY(setpgid(inner, inner));
        FACT(getpgid(inner) == inner);
        TRY(setpgid(inner, getppid()));
        TRY(setpgid(inner, getpid()));
        kill(inner, SIGKILL);
        reap("inner", inner);
        TRY(getpgid(inner));
        _exit(0);
    }
    reap("session", child);
    int gate[2];
    MUST(pipe2(gate, O_CLOEXEC));
    child = MUST(fork());
    if (child == 0) {
        execl("/bin/sleep", "sleep", "10", NULL);
        _exit(1);
    }
    char byte;
    close(gate[1]);
    FACT(read(gate[0], &byte, 1));
    TRY(setpgid(child, child));
    kill(child, SIGKILL);
    reap("execed", child);
    TRY(setpgid(0, -1));
    TRY(setpgid(1 << 30, 0));
    TRY(getsid(1 << 30));
    return 0;
}
