// The break grows and shrinks; new memory is zero.
#include "../claim.h"

int main(void) {
    begin();
    char *start = sbrk(0);
    FACT(start != (void *)-1);
    char *old = sbrk(100000);
    FACT(old == start);
    int sum = 0;
    for (int i = 0; i < 100000; i++) sum += old[i];
    FACT(sum);
    memset(old, 1, 100000);
    pid_t child = MUST(fork());
    if (child == 0) _exit(old[99999] + (sbrk(0) == old + 100000));
    reap("child", child);
    FACT(syscall(SYS_brk, 0) == (long)(start + 100000));
    FACT(syscall(SYS_brk, start) == (long)start);
    FACT(syscall(SYS_brk, 8) == (long)start);
    old = (char *)syscall(SYS_brk, start + 50000);
    FACT(old == start + 50000);
    FACT(start[49999]);
    return 0;
}
