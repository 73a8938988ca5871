/* The seccomp filter of every guest: the wall between a guest and the host.
 *
 * Outside of the shim's text every call traps. From the shim's text only calls that concern the guest's own
 * memory, its own sleep, and its three kinds of descriptors reach the host, and a clone only when the kernel has
 * ordered just that clone. The filter does not trust the shim: whoever jumps to one of its syscall instructions
 * meets the same list.
 */
#include "shim.h"

struct instruction {
	unsigned short code;
	u8 if_true, if_false;
	u32 k;
};

struct program {
	unsigned short length;
	const struct instruction *instructions;
};

#define LOAD(offset) { 0x20, 0, 0, offset }
#define EQUAL(value, yes, no) { 0x15, yes, no, value }
#define AT_LEAST(value, yes, no) { 0x35, yes, no, value }
#define ANY_BIT(value, yes, no) { 0x45, yes, no, value }
#define RETURN(value) { 0x06, 0, 0, value }

#define ALLOW RETURN(0x7fff0000)
#define TRAP RETURN(0x00030000)
#define ASK RETURN(0x7fc00000) /* the kernel answers through the listener */
#define DENY RETURN(0x00050001) /* EPERM */
#define KILL RETURN(0x80000000)

#define NUMBER LOAD(0)
#define ARCH LOAD(4)
#define IP_LOW LOAD(8)
#define IP_HIGH LOAD(12)
#define ARG_LOW(n) LOAD(16 + 8 * (n))
#define ARG_HIGH(n) LOAD(20 + 8 * (n))
#define AUDIT_X86_64 0xc000003e

#define ALLOWED(number) EQUAL(number, 0, 1), ALLOW
/* Only with that value in the low half of an argument (descriptors and commands are ints). */
#define ALLOWED_WITH(number, n, value) EQUAL(number, 0, 4), ARG_LOW(n), EQUAL(value, 0, 1), ALLOW, DENY

/* VM FS FILES SIGHAND VFORK PARENT THREAD SYSVSEM SETTLS CHILD_CLEARTID CHILD_SETTID; no exit signal, no namespace */
#define CLONE_ALLOWED 0x012dcf00U

static const struct instruction filter[] = {
	ARCH, EQUAL(AUDIT_X86_64, 1, 0), KILL,
	IP_HIGH, EQUAL(OA_SHIM_BASE >> 32, 1, 0), TRAP,
	IP_LOW, AT_LEAST(OA_SHIM_TEXT_SIZE, 0, 1), TRAP,
	NUMBER,
	ALLOWED(SYS_rt_sigreturn),
	ALLOWED(SYS_futex),
	EQUAL(SYS_write, 0, 4), ARG_LOW(0), AT_LEAST(2, 1, 0), ALLOW, DENY, /* the socket and the doorbell */
	/* Shared memory without a file would live beyond every account, huge pages are the host's to give. */
	EQUAL(SYS_mmap, 0, 6), ARG_LOW(3), ANY_BIT(0x40000 /* HUGETLB */, 3, 0), ANY_BIT(0x20 /* ANONYMOUS */, 0, 1),
	ANY_BIT(1 /* SHARED */, 1, 0), ALLOW, DENY,
	ALLOWED(SYS_munmap), ALLOWED(SYS_mprotect), ALLOWED(SYS_mremap), ALLOWED(SYS_madvise),
	ALLOWED(SYS_msync), ALLOWED(SYS_mincore), ALLOWED(SYS_mlock), ALLOWED(SYS_munlock), ALLOWED(SYS_mlock2),
	ALLOWED(SYS_sched_yield), ALLOWED(SYS_nanosleep), ALLOWED(SYS_clock_nanosleep),
	ALLOWED(SYS_restart_syscall), /* by which the host goes on with a sleep when it had stopped the process */
	ALLOWED(SYS_sigaltstack), ALLOWED(SYS_exit), ALLOWED(SYS_exit_group), ALLOWED(324 /* membarrier */),
	ALLOWED(SYS_close),
	ALLOWED_WITH(SYS_recvmsg, 0, OA_FD_SOCKET),
	ALLOWED_WITH(SYS_dup3, 1, OA_FD_SOCKET),
	EQUAL(SYS_arch_prctl, 0, 5), ARG_LOW(0), AT_LEAST(0x1001, 0, 2), AT_LEAST(0x1005, 1, 0), ALLOW, DENY, /* FS and GS */
	EQUAL(SYS_clone, 0, 6),
	ARG_HIGH(0), EQUAL(0, 0, 3), ARG_LOW(0), ANY_BIT(~CLONE_ALLOWED, 1, 0), ASK, DENY,
	DENY,
};

/* The listener's descriptor, by which the kernel agrees to every clone, or an error. */
long install_filter(void)
{
	struct program program = { sizeof(filter) / sizeof(*filter), filter };
	long result = host_call(SYS_prctl, 38 /* PR_SET_NO_NEW_PRIVS */, 1, 0, 0, 0, 0);

	if (IS_ERROR(result))
		return result;
	return host_call(SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, 8 /* NEW_LISTENER */, (u64)&program, 0, 0, 0);
}
