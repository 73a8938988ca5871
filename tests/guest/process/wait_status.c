// wait(2) encodes how a child ended, for every way to end.
#include "../claim.h"

int main(void) {
    begin();
    int codes[] = {0, 1, 127, 255, 256, -1};
    for (unsigned i = 0; i < sizeof codes / sizeof *codes; i++) {
        pid_t child = MUST(fork());
        if (child == 0) _exit(codes[i]);
        int status = 0;
        FACT(waitpid(child, &status, 0) == child);
        printf("_exit(%d): raw status %#x\n", codes[i], status);
    }
    int signals[] = {SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGALRM, SIGRTMIN};
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
        pid_t child = MUST(fork());
        if (child == 0) {
            raise(signals[i]);
            _exit(0);
        }
        reap("raise", child);
    }
    TRY(waitpid(-1, NULL, 0));
    return 0;
}
