// Vector and general registers survive a handler that uses them all.
#include "../claim.h"

static void clobber(int number) {
    (void)number;
    caught++;
    __asm__ volatile("pcmpeqb %%xmm0, %%xmm0\n\tpcmpeqb %%xmm7, %%xmm7\n\tpcmpeqb %%xmm15, %%xmm15\n\t"
                     "fld1\n\tfstp %%st(0)" ::: "xmm0", "xmm7", "xmm15");
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vpxor %%xmm1, %%xmm1, %%xmm1\n\tvzeroall" ::: "xmm1");
}
static uint64_t spin(uint64_t rounds) {
    uint64_t low = 0x1111111111111111, bad = 0;
    while (rounds--) {
        uint64_t a = low, b = 0x2222222222222222, c = 0x3333333333333333, ax, bx, cx;
        __asm__ volatile("movq %3, %%xmm0\n\tmovq %4, %%xmm7\n\tmovq %5, %%xmm15\n\t"
                         "mov $200, %%ecx\n1:\tpause\n\tdec %%ecx\n\tjnz 1b\n\t"
                         "movq %%xmm0, %0\n\tmovq %%xmm7, %1\n\tmovq %%xmm15, %2"
                         : "=&r"(ax), "=&r"(bx), "=&r"(cx) : "r"(a), "r"(b), "r"(c) : "xmm0", "xmm7", "xmm15", "ecx");
        bad += ax != a || bx != b || cx != c;
    }
    return bad;
}
int main(void) {
    begin();
    handle(SIGALRM, clobber, 0);
    struct itimerval timer = {{0, 2000}, {0, 2000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    uint64_t bad = 0;
    while (caught < 20) bad += spin(1000);
    FACT(bad);
    double x = 1.5;
    for (int i = 0; i < 10; i++) x = x * 1.5;
    printf("%.6f\n", x);
    return 0;
}
