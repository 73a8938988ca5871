// Stop and continue signals cancel each other; SIGCONT continues even when ignored.
#include "../claim.h"

int main(void) {
    begin();
    int status, ends[2];
    MUST(pipe(ends));
    pid_t child = MUST(fork());
    if (child == 0) {
        signal(SIGCONT, SIG_IGN);
        raise(SIGSTOP);
        raise(SIGTSTP);
        _exit(4);
    }
    waitpid(child, &status, WUNTRACED);
    report("first", status);
    kill(child, SIGCONT);
    pid_t ended = waitpid(child, &status, WUNTRACED);
    FACT(ended == child);
    report("second", status);
    if (WIFSTOPPED(status)) {
        kill(child, SIGCONT);
        reap("end", child);
    }
    child = MUST(fork());
    if (child == 0) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTSTP);
        sigaddset(&set, SIGCONT);
        sigprocmask(SIG_BLOCK, &set, NULL);
        raise(SIGTSTP);
        raise(SIGCONT);
        sigpending(&set);
        printf("stop pending %d continue pending %d\n", sigismember(&set, SIGTSTP), sigismember(&set, SIGCONT));
        raise(SIGTSTP);
        sigpending(&set);
        printf("stop pending %d continue pending %d\n", sigismember(&set, SIGTSTP), sigismember(&set, SIGCONT));
        _exit(0);
    }
    reap("cancelled", child);
    child = MUST(fork());
    if (child == 0) {
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(child, &status, WUNTRACED);
    kill(child, SIGTERM);
    TRY(waitpid(child, &status, WNOHANG));
    kill(child, SIGCONT);
    reap("terminated while stopped", child);
    child = MUST(fork());
    if (child == 0) {
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(child, &status, WUNTRACED);
    kill(child, SIGKILL);
    reap("killed while stopped", child);
    return 0;
}
