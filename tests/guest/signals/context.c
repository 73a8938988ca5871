// A handler may change the context it returns to.
#include "../claim.h"

#include <ucontext.h>
static void skip(int number, siginfo_t *info, void *context) {
    (void)number; (void)info;
    ucontext_t *user = context;
    user->uc_mcontext.gregs[REG_RIP] += 2;
    user->uc_mcontext.gregs[REG_RAX] = 4711;
    sigaddset(&user->uc_sigmask, SIGHUP);
}
int main(void) {
    begin();
    struct sigaction action = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    long result = 0;
    __asm__ volatile("ud2" : "=a"(result) :: "memory");
    FACT(result);
    sigset_t set;
    sigprocmask(SIG_BLOCK, NULL, &set);
    FACT(sigismember(&set, SIGHUP));
    FACT(sigismember(&set, SIGILL));
    return 0;
}
