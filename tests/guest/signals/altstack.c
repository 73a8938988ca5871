// Handlers with SA_ONSTACK run on the alternate stack, even when the stack has overflowed.
#include "../claim.h"

#include <setjmp.h>
static char memory[65536];
static sigjmp_buf back;
static int on_stack(void) {
    char here;
    return &here >= memory && &here < memory + sizeof memory;
}
static void check(int number) {
    stack_t stack;
    sigaltstack(NULL, &stack);
    printf("signal %d on the alternate stack %d, flags %d\n", number, on_stack(), stack.ss_flags);
    if (number == SIGUSR1) {
        stack.ss_flags = SS_DISABLE;
        TRY(sigaltstack(&stack, NULL));
        raise(SIGUSR2);
    }
}
static void overflow(int number) {
    (void)number;
    printf("overflow on the alternate stack %d\n", on_stack());
    siglongjmp(back, 1);
}
static int recurse(volatile int depth) {
    if (depth < 0) return 0;
    volatile char frame[4096];
    frame[0] = depth;
    return recurse(depth + 1) + frame[0];
}
int main(void) {
    begin();
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory}, tiny = {.ss_sp = memory, .ss_size = 100};
    TRY(sigaltstack(&tiny, NULL));
    stack.ss_flags = 999;
    TRY(sigaltstack(&stack, NULL));
    stack.ss_flags = 0;
    TRY(sigaltstack(&stack, NULL));
    handle(SIGUSR1, check, SA_ONSTACK);
    handle(SIGUSR2, check, 0);
    handle(SIGHUP, check, SA_ONSTACK);
    raise(SIGUSR1);
    raise(SIGUSR2);
    raise(SIGHUP);
    handle(SIGSEGV, overflow, SA_ONSTACK);
    struct rlimit limit = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_STACK, &limit);
    if (sigsetjmp(back, 1) == 0) recurse(0);
    stack.ss_flags = SS_DISABLE;
    TRY(sigaltstack(&stack, NULL));
    return 0;
}
