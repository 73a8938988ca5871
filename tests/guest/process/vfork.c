// A vfork(2) child runs in its parent's memory, and the parent waits for it.
#include "../claim.h"

static volatile int shared;
int main(void) {
    begin();
    pid_t child = vfork();
    if (child == 0) {
        shared = 42;
        _exit(3);
    }
    FACT(shared);
    reap("exit", child);
    child = vfork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "exit 6", NULL);
        _exit(1);
    }
    reap("exec", child);
    child = vfork();
    if (child == 0) {
        execl("/nonexistent", "x", NULL);
        _exit(errno == ENOENT ? 11 : 12);
    }
    reap("failed exec", child);
    return 0;
}
