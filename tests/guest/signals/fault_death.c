// A fault that is not handled, ignored or blocked kills with its signal.
#include "../claim.h"

static void fault(void) {
    *(volatile char *)16 = 1;
}
int main(void) {
    begin();
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    for (int way = 0; way < 3; way++) {
        pid_t child = MUST(fork());
        if (child == 0) {
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, SIGSEGV);
            if (way == 1) signal(SIGSEGV, SIG_IGN);
            if (way == 2) sigprocmask(SIG_BLOCK, &set, NULL);
            fault();
            _exit(0);
        }
        reap(way == 0 ? "default" : way == 1 ? "ignored" : "blocked", child);
    }
    pid_t child = MUST(fork());
    if (child == 0) abort();
    reap("abort", child);
    child = MUST(fork());
    if (child == 0) {
        int ends[2];
        pipe(ends);
        close(ends[0]);
        write(ends[1], "x", 1);
        _exit(0);
    }
    reap("broken pipe", child);
    child = MUST(fork());
    if (child == 0) {
        signal(SIGSEGV, SIG_IGN);
        raise(SIGSEGV);
        _exit(5);
    }
    reap("ignored and raised", child);
    return 0;
}
