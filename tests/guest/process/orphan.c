// An orphan's new parent is the nearest subreaper.
#include "../claim.h"

int main(void) {
    begin();
    int reaper = 0;
    TRY(prctl(PR_SET_CHILD_SUBREAPER, 1));
    TRY(prctl(PR_GET_CHILD_SUBREAPER, &reaper));
    FACT(reaper);
    pid_t me = getpid();
    int gate[2], ready[2];
    MUST(pipe(gate));
    MUST(pipe(ready));
    pid_t child = MUST(fork());
    if (child == 0) {
        if (fork() == 0) {
            char byte;
            pid_t before = getppid();
            close(gate[1]);
            write(ready[1], "x", 1);
            read(gate[0], &byte, 1);
            printf("parent changed: %d, to the subreaper: %d\n", getppid() != before, getppid() == me);
            _exit(5);
        }
        char byte;
        read(ready[0], &byte, 1);
        prctl(PR_GET_CHILD_SUBREAPER, &reaper);
        printf("inherited by fork: %d\n", reaper);
        _exit(4);
    }
    reap("child", child);
    close(gate[1]);
    int status;
    FACT(wait(&status) > 0);
    report("grandchild", status);
    TRY(wait(NULL));
    return 0;
}
