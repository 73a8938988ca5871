// A signal reaches a loop that makes no system call.
#include "../claim.h"

int main(void) {
    begin();
    handle(SIGUSR1, count_signal, 0);
    pid_t child = MUST(fork());
    if (child == 0) {
        for (int i = 0; i < 3; i++) {
            pause_ms(10);
            kill(getppid(), SIGUSR1);
        }
        _exit(0);
    }
    while (!caught) {}
    puts("the loop ended");
    while (waitpid(child, NULL, 0) == -1 && errno == EINTR) {} // until its last signal has come
    child = MUST(fork());
    if (child == 0) {
        for (;;) {}
    }
    pause_ms(10);
    kill(child, SIGSTOP);
    int status;
    waitpid(child, &status, WUNTRACED);
    report("spinning child", status);
    kill(child, SIGKILL);
    reap("spinning child", child);
    return 0;
}
