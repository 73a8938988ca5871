// Names, dumpable, the death signal and no_new_privs.
#include "../claim.h"

int main(void) {
    begin();
    char name[17] = "";
    TRY(prctl(PR_SET_NAME, "a-name-longer-than-fifteen"));
    TRY(prctl(PR_GET_NAME, name));
    puts(name);
    show("/proc/self/comm");
    put("/proc/self/comm", "written");
    prctl(PR_GET_NAME, name);
    puts(name);
    TRY(prctl(PR_GET_DUMPABLE));
    TRY(prctl(PR_SET_DUMPABLE, 0));
    TRY(prctl(PR_GET_DUMPABLE));
    TRY(prctl(PR_SET_DUMPABLE, 2));
    TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    TRY(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    TRY(prctl(PR_SET_PDEATHSIG, 1000));
    TRY(prctl(PR_GET_TIMERSLACK) > 0);
    TRY(prctl(12345, 0, 0, 0, 0));
    int gate[2], ready[2];
    MUST(pipe(gate));
    MUST(pipe(ready));
    pid_t child = MUST(fork());
    if (child == 0) {
        if (fork() == 0) {
            int signal = 0;
            close(gate[0]);
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            prctl(PR_GET_PDEATHSIG, &signal);
            FACT(signal);
            write(ready[1], "x", 1);
            for (;;) pause();
        }
        char byte;
        read(ready[0], &byte, 1);
        _exit(0);
    }
    reap("parent", child);
    char byte;
    close(gate[1]);
    FACT(read(gate[0], &byte, 1));
    return 0;
}
