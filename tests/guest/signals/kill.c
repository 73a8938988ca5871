// Whom kill(2) reaches.
#include "../claim.h"

int main(void) {
    begin();
    TRY(kill(getpid(), 0));
    TRY(kill(1 << 29, 0));
    TRY(kill(getpid(), 65));
    TRY(kill(getpid(), -1));
    pid_t child = MUST(fork());
    if (child == 0) {
        setpgid(0, 0);
        pid_t inner = MUST(fork());
        if (inner == 0) {
            for (;;) pause();
        }
        handle(SIGUSR1, count_signal, 0);
        TRY(kill(0, SIGUSR1));
        FACT(caught);
        reap("other member", inner);
        TRY(killpg(getpgrp(), SIGUSR1));
        FACT(caught);
        _exit(0);
    }
    reap("group", child);
    TRY(killpg(1 << 29, SIGUSR1));
    return 0;
}
