// waitpid(2) selects children by process group.
#include "../claim.h"

int main(void) {
    begin();
    pid_t first = MUST(fork());
    if (first == 0) _exit(1);
    pid_t second = MUST(fork());
    if (second == 0) {
        pause();
        _exit(9);
    }
    MUST(setpgid(second, second));
    int status = 0;
    FACT(waitpid(0, &status, 0) == first);
    report("own group", status);
    TRY(waitpid(0, &status, WNOHANG));
    TRY(waitpid(-second, &status, WNOHANG));
    TRY(kill(-second, SIGTERM));
    FACT(waitpid(-second, &status, 0) == second);
    report("other group", status);
    TRY(waitpid(-second, &status, 0));
    TRY(kill(-second, 0));
    return 0;
}
