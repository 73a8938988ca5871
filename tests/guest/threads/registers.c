// A system call changes rax, rcx and r11, and no other register: neither general nor of the floating-point units.
#include "../claim.h"

#include <cpuid.h>
#include <stddef.h>

struct state {
    uint64_t general[8]; // rbx rdx rdi rsi r8 r9 r10 r12
    _Alignas(32) unsigned char vector[16][32];
    uint32_t mxcsr;
    uint16_t control;
    double x87;
};

static int wide; // the upper halves of the vector registers are there

// Loads what `before` says, makes a call, and stores what is there then.
static long call_between(long number, const struct state *before, struct state *after) {
    long result;
    __asm__ volatile(
        "push %%rbx\n push %%rbp\n mov %[after], %%r13\n mov %[before], %%r14\n"
        "ldmxcsr 576(%%r14)\n fninit\n fldcw 580(%%r14)\n fldl 584(%%r14)\n"
        "cmpl $0, %[wide]\n je 1f\n"
        "vmovdqa 64(%%r14), %%ymm0\n vmovdqa 320(%%r14), %%ymm8\n vmovdqa 544(%%r14), %%ymm15\n jmp 2f\n"
        "1: movdqa 64(%%r14), %%xmm0\n movdqa 320(%%r14), %%xmm8\n movdqa 544(%%r14), %%xmm15\n"
        "2: mov 0(%%r14), %%rbx\n mov 8(%%r14), %%rdx\n mov 16(%%r14), %%rdi\n mov 24(%%r14), %%rsi\n"
        "mov 32(%%r14), %%r8\n mov 40(%%r14), %%r9\n mov 48(%%r14), %%r10\n mov 56(%%r14), %%r12\n"
        "mov %[wide], %%ebp\n"
        "syscall\n"
        "mov %%rbx, 0(%%r13)\n mov %%rdx, 8(%%r13)\n mov %%rdi, 16(%%r13)\n mov %%rsi, 24(%%r13)\n"
        "mov %%r8, 32(%%r13)\n mov %%r9, 40(%%r13)\n mov %%r10, 48(%%r13)\n mov %%r12, 56(%%r13)\n"
        "stmxcsr 576(%%r13)\n fnstcw 580(%%r13)\n fstpl 584(%%r13)\n"
        "test %%ebp, %%ebp\n je 3f\n"
        "vmovdqa %%ymm0, 64(%%r13)\n vmovdqa %%ymm8, 320(%%r13)\n vmovdqa %%ymm15, 544(%%r13)\n jmp 4f\n"
        "3: movdqa %%xmm0, 64(%%r13)\n movdqa %%xmm8, 320(%%r13)\n movdqa %%xmm15, 544(%%r13)\n"
        "4: fninit\n pop %%rbp\n pop %%rbx\n"
        : "=a"(result)
        : "a"(number), [after] "S"(after), [before] "D"(before), [wide] "r"((int)wide)
        : "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "xmm0", "xmm8", "xmm15", "memory", "cc");
    return result;
}

_Static_assert(offsetof(struct state, vector) == 64 && offsetof(struct state, mxcsr) == 576, "layout of the assembly");
_Static_assert(offsetof(struct state, control) == 580 && offsetof(struct state, x87) == 584, "layout of the assembly");

static void compare(const char *name, long number, uint64_t first) {
    struct state before, after;
    memset(&before, 0, sizeof before);
    memset(&after, 0, sizeof after);
    for (int i = 0; i < 8; i++) before.general[i] = 0x1111111111111111u * (unsigned)(i + 1);
    before.general[2] = first;
    for (int i = 0; i < 16; i++) memset(before.vector[i], 0xa0 + i, wide ? 32 : 16);
    before.mxcsr = 0x7f80; // round towards zero
    before.control = 0x0e7f;
    before.x87 = 1.25;
    call_between(number, &before, &after);
    for (int i = 0; i < 8; i++) if (before.general[i] != after.general[i]) printf("%s: general register %d changed\n", name, i);
    for (int i = 0; i < 16; i += i == 8 ? 7 : 8)
        if (memcmp(before.vector[i], after.vector[i], 32) != 0) printf("%s: vector register %d changed\n", name, i);
    printf("%s: %d %d %d\n", name, before.mxcsr == after.mxcsr, before.control == after.control, before.x87 == after.x87);
}

int main(void) {
    begin();
    unsigned a, b, c, d;
    wide = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_AVX) && (c & bit_OSXSAVE);
    compare("umask", SYS_umask, 022);
    compare("getppid", SYS_getppid, 0);
    compare("sched_yield", SYS_sched_yield, 0);
    compare("close", SYS_close, (uint64_t)-1);
    compare("no such call", 999, 0);
    return 0;
}
