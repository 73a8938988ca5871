// siglongjmp(3) out of a handler restores the mask.
#include "../claim.h"

#include <setjmp.h>
static sigjmp_buf back;
static void leap(int number) {
    siglongjmp(back, number);
}
int main(void) {
    begin();
    handle(SIGUSR1, leap, 0);
    sigset_t set;
    for (volatile int i = 0; i < 3; i++) {
        if (sigsetjmp(back, 1) == 0) raise(SIGUSR1);
        sigprocmask(SIG_BLOCK, NULL, &set);
        FACT(sigismember(&set, SIGUSR1));
    }
    if (sigsetjmp(back, 0) == 0) raise(SIGUSR1);
    sigprocmask(SIG_BLOCK, NULL, &set);
    FACT(sigismember(&set, SIGUSR1));
    return 0;
}
