/* What the shim's own files share. The shim is freestanding: no libc, general registers only. */
#ifndef SHIM_H
#define SHIM_H

#include "../include/occlum_abi.h"

/* struct area: the private memory of one thread. Assembly uses the offsets. */
#define AREA_REGS 0
#define AREA_SLOT 144
#define AREA_FULL 152

#define R_RAX 0
#define R_RBX 8
#define R_RCX 16
#define R_RDX 24
#define R_RSI 32
#define R_RDI 40
#define R_RBP 48
#define R_RSP 56
#define R_R8 64
#define R_R9 72
#define R_R10 80
#define R_R11 88
#define R_R12 96
#define R_R13 104
#define R_R14 112
#define R_R15 120
#define R_RIP 128
#define R_RFLAGS 136

#ifndef __ASSEMBLER__

struct regs {
	u64 rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp;
	u64 r8, r9, r10, r11, r12, r13, r14, r15;
	u64 rip, rflags;
};

#define RECEIVED_MAX 8

struct area {
	struct regs regs;
	struct oa_slot *slot;
	u32 full;  /* restore every register: no system call clobbered rcx and r11 */
	u32 index;
	u32 cq_expected;
	u32 received_count;
	int received[RECEIVED_MAX];
	u64 orig_rax;
	u64 trap_number, error_code, fault_address;
	u64 rest[2]; /* struct timespec: what is left of a relative sleep */
};

/* struct msghdr */
struct message {
	void *name;
	u32 name_length;
	void *pieces;
	u64 piece_count;
	void *control;
	u64 control_length;
	int flags;
};

#define PAGE ((const volatile struct oa_page *)OA_PAGE_BASE)

/* Linux numbers that the shim uses itself */
enum {
	SYS_write = 1, SYS_close = 3, SYS_mmap = 9, SYS_mprotect = 10, SYS_munmap = 11, SYS_brk = 12,
	SYS_rt_sigaction = 13, SYS_rt_sigreturn = 15, SYS_sched_yield = 24, SYS_mremap = 25, SYS_msync = 26,
	SYS_mincore = 27, SYS_madvise = 28, SYS_nanosleep = 35, SYS_getpid = 39, SYS_recvmsg = 47, SYS_clone = 56,
	SYS_exit = 60, SYS_kill = 62, SYS_chdir = 80, SYS_getuid = 102, SYS_getgid = 104, SYS_geteuid = 107,
	SYS_getegid = 108, SYS_setpgid = 109, SYS_getppid = 110, SYS_sigaltstack = 131, SYS_mlock = 149,
	SYS_munlock = 150, SYS_prctl = 157, SYS_arch_prctl = 158, SYS_chroot = 161, SYS_gettid = 186,
	SYS_futex = 202, SYS_restart_syscall = 219, SYS_clock_nanosleep = 230, SYS_exit_group = 231, SYS_waitid = 247,
	SYS_unshare = 272, SYS_dup3 = 292, SYS_seccomp = 317, SYS_membarrier = 324, SYS_mlock2 = 325, SYS_close_range = 436,
};

enum { EINTR = 4, EAGAIN = 11, ENOMEM = 12, EFAULT = 14, EINVAL = 22, ENOSYS = 38 };

#define IS_ERROR(value) ((u64)(value) >= (u64)-4095)

static inline long host_call(long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	long result;
	register u64 r10 __asm__("r10") = d;
	register u64 r8 __asm__("r8") = e;
	register u64 r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* entry.S */
extern char shim_enter[], shim_return[], shim_return_end[], shim_restart[];
extern char user_copy[], user_copy_end[], user_fault[];
extern char blocking_begin[], blocking_end[], blocking_abort[];
extern char signal_restorer[];
long copy_user(void *to, const void *from, u64 length);
long zero_user(void *to, u64 length);
long copy_user_string(char *to, const char *from, u64 limit);
long load_user32(const u32 *address, u32 *value);
long store_user32(u32 *address, u32 value);
long swap_user32(u32 *address, u32 expected, u32 value, u32 *found);
long restore_fpu(const void *state, u64 features);
long save_fpu(void *state, u64 features);
long blocking_call(struct oa_slot *slot, long number, const u64 *args);
long clone_thread(u64 flags, void *stack, void *child_tid, u64 tls, struct area *area);

void shim_begin(struct area *area, void (*action)(struct area *)) __attribute__((noreturn));

/* submit.c */
long submit(struct area *area, u32 number, const u64 *args);
long submit_call(struct area *area, u32 number, const u64 *args);
void shim_syscall(struct area *area);
void shim_kick(struct area *area);
void shim_fault(struct area *area);

/* operations.c */
long run_operations(struct area *area, u32 count, u32 *flags);

/* local.c */
int answer_locally(struct area *area, u32 number, const u64 *args, long *result);
long retry_host_call(struct area *area, u64 elapsed);
void unlock_brk(void);
void set_brk(u64 address);

/* priority.c */
int priority_futex(struct area *area, const u64 *args, long *result);

/* signals.c */
void install_handlers(void);
void install_signal_stack(struct area *area);
long build_frame(struct area *area, const struct oa_signal *signal, long result);
long leave_frame(struct area *area, u64 *mask);
void measure_fpu(void);

/* clone.c */
void thread_main(struct area *area);
long do_clone(struct area *area, u64 flags, u32 slot, u64 stack, u64 tls);
void do_exit(const u64 *args) __attribute__((noreturn));

/* guest.c */
void become_guest(int channel, int socket, int doorbell, int page) __attribute__((noreturn));

/* filter.c */
long install_filter(void);

static inline struct area *area_at(u32 index)
{
	return (struct area *)(OA_AREA_BASE + (u64)index * OA_AREA_SIZE);
}

static inline struct oa_slot *slot_at(u32 index)
{
	return (struct oa_slot *)(OA_CHANNEL_BASE + (u64)index * OA_SLOT_SIZE);
}

static inline void fill_zero(void *to, u64 length)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(length) : "a"(0) : "memory");
}

static inline void copy_bytes(void *to, const void *from, u64 length)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
}

#endif
#endif
