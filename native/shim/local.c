/* Grants: what the kernel lets a guest do without asking. All of it concerns the guest's own memory, its own
 * identity or its own sleep; with the grant taken away the same call is submitted like any other. */
#include "shim.h"

enum {
	MAP_FIXED = 0x10, MAP_ANONYMOUS = 0x20, MAP_FIXED_NOREPLACE = 0x100000, MAP_PRIVATE = 2, MAP_TYPE = 15,
	MAP_HUGETLB = 0x40000, MAP_NORESERVE = 0x4000,
};
enum { CLOCK_MONOTONIC = 1, TIMER_ABSTIME = 1, SECOND = 1000000000 };
enum { ARCH_SET_GS = 0x1001, ARCH_GET_GS = 0x1004 };

struct heap {
	u64 start, end;
	u32 lock;
};

static struct heap heap;

static int touches_shim(u64 address, u64 length)
{
	return address < OA_END && address + length > OA_SHIM_BASE && address + length >= address;
}

/* ---- identity ---- */

static int identity(struct area *area, u32 number, long *result)
{
	const u32 *ids = area->slot->identity;
	int which;

	switch (number) {
	case SYS_getpid: which = 0; break;
	case SYS_gettid: which = 1; break;
	case SYS_getppid: which = 2; break;
	case SYS_getuid: which = 3; break;
	case SYS_geteuid: which = 4; break;
	case SYS_getgid: which = 5; break;
	case SYS_getegid: which = 6; break;
	default: return 0;
	}
	*result = __atomic_load_n(&ids[which], __ATOMIC_RELAXED);
	return 1;
}

/* ---- memory ---- */

void set_brk(u64 address)
{
	heap.start = heap.end = address;
	heap.lock = 0;
}

/* In the child of a fork, the thread that held the lock does not exist. */
void unlock_brk(void)
{
	heap.lock = 0;
}

static u64 page_up(u64 address)
{
	return (address + 4095) & ~4095UL;
}

/* What is more than there is of memory is refused at once, as by Linux's heuristic overcommit. */
static int more_than_there_is(u64 length)
{
	return PAGE->memory && length >> 12 > PAGE->memory;
}

static u64 move_brk(u64 wanted)
{
	u64 old = page_up(heap.end), new = page_up(wanted);

	if (wanted < heap.start)
		return heap.end;
	if (new > old) {
		long got;

		if (more_than_there_is(new - old))
			return heap.end;
		got = host_call(SYS_mmap, old, new - old, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (u64)-1, 0);
		if (got != (long)old) {
			if (!IS_ERROR(got))
				host_call(SYS_munmap, (u64)got, new - old, 0, 0, 0, 0);
			return heap.end;
		}
	} else if (new < old) {
		host_call(SYS_munmap, new, old - new, 0, 0, 0, 0);
	}
	heap.end = wanted;
	return wanted;
}

static long brk(u64 wanted)
{
	u64 result;

	while (__atomic_exchange_n(&heap.lock, 1, __ATOMIC_ACQUIRE))
		host_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
	result = move_brk(wanted);
	__atomic_store_n(&heap.lock, 0, __ATOMIC_RELEASE);
	return (long)result;
}

/* munmap(2) over the shim: its place looks empty, so what lies around it goes, and it stays. */
static long unmap_around_shim(u64 address, u64 length)
{
	u64 end = address + length;
	long result = 0;

	if (address & 4095)
		return -EINVAL;
	if (end > OA_END)
		result = host_call(SYS_munmap, OA_END, end - OA_END, 0, 0, 0, 0);
	if (!result && address < OA_SHIM_BASE)
		result = host_call(SYS_munmap, address, OA_SHIM_BASE - address, 0, 0, 0, 0);
	return result;
}

static int memory(u32 number, const u64 *args, long *result)
{
	switch (number) {
	case SYS_brk:
		*result = brk(args[0]);
		return 1;
	case SYS_mmap:
		if (!(args[3] & MAP_ANONYMOUS) || (args[3] & MAP_TYPE) != MAP_PRIVATE || args[3] & MAP_HUGETLB)
			return 0;
		if ((args[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && touches_shim(args[0], args[1])) {
			*result = -ENOMEM;
			return 1;
		}
		if ((args[2] & 2 /* PROT_WRITE */) && !(args[3] & MAP_NORESERVE) && more_than_there_is(args[1])) {
			*result = -ENOMEM;
			return 1;
		}
		*result = host_call(SYS_mmap, args[0], args[1], args[2], args[3], (u64)-1, 0);
		return 1;
	case SYS_mremap:
		if (args[2] > args[1] && !(PAGE->grants & OA_GRANT_FILES))
			return 0;
		if ((args[3] & 2) && touches_shim(args[4], args[2])) {
			*result = -EINVAL;
			return 1;
		}
		break;
	case SYS_munmap:
		if (touches_shim(args[0], args[1])) {
			*result = unmap_around_shim(args[0], args[1]);
			return 1;
		}
		break;
	case SYS_msync:
		if (!(PAGE->grants & OA_GRANT_FILES))
			return 0;
		break;
	case SYS_mprotect:
	case SYS_madvise:
	case SYS_mincore:
	case SYS_mlock:
	case SYS_munlock:
	case SYS_mlock2:
		break;
	default:
		return 0;
	}
	*result = touches_shim(args[0], args[1])
			  ? -ENOMEM
			  : host_call(number, args[0], args[1], args[2], args[3], args[4], args[5]);
	return 1;
}

/* ---- futex and sleep ---- */

static int futex(struct area *area, const u64 *args, long *result)
{
	switch (args[1] & 127) {
	case 0: /* FUTEX_WAIT */
	case 9: /* FUTEX_WAIT_BITSET */
		*result = blocking_call(area->slot, SYS_futex, args);
		return 1;
	case 1:  /* FUTEX_WAKE */
	case 3:  /* FUTEX_REQUEUE */
	case 4:  /* FUTEX_CMP_REQUEUE */
	case 5:  /* FUTEX_WAKE_OP */
	case 10: /* FUTEX_WAKE_BITSET */
		*result = host_call(SYS_futex, args[0], args[1], args[2], args[3], args[4], args[5]);
		return 1;
	}
	return priority_futex(area, args, result);
}

/* The host tells what is left when a kick ends it, and the guest is told so at once, as on Linux. */
static long sleep_rest(struct area *area, u64 clock, u64 remaining)
{
	u64 args[6] = { clock, 0, (u64)area->rest, (u64)area->rest };
	long result = blocking_call(area->slot, SYS_clock_nanosleep, args);

	if (result == -EINTR && remaining && copy_user((void *)remaining, area->rest, sizeof(area->rest)) < 0)
		return -EFAULT;
	return result;
}

/* ``resumed``: go on with what is left. */
static int sleep(struct area *area, u32 number, const u64 *args, long *result, int resumed)
{
	u64 clock = number == SYS_nanosleep ? CLOCK_MONOTONIC : args[0];
	const u64 *times = number == SYS_nanosleep ? args : args + 2;

	if (clock > CLOCK_MONOTONIC)
		return 0;
	if (number == SYS_clock_nanosleep && (args[1] & TIMER_ABSTIME))
		*result = blocking_call(area->slot, SYS_clock_nanosleep, args);
	else if (!resumed && copy_user(area->rest, (const void *)times[0], sizeof(area->rest)) < 0)
		*result = -EFAULT;
	else
		*result = sleep_rest(area, clock, times[1]);
	return 1;
}

static void shorten(u64 *rest, u64 nanoseconds)
{
	u64 seconds = nanoseconds / SECOND;

	nanoseconds %= SECOND;
	if (rest[1] < nanoseconds) {
		rest[1] += SECOND;
		seconds++;
	}
	if (rest[0] < seconds) {
		rest[0] = rest[1] = 0;
		return;
	}
	rest[0] -= seconds;
	rest[1] -= nanoseconds;
}

/* ---- the way in ---- */

/* Whether this call is answered here; its result then. -EINTR means that a kick ended it. */
int answer_locally(struct area *area, u32 number, const u64 *args, long *result)
{
	u32 grants = PAGE->grants;

	switch (number) {
	case SYS_sched_yield:
		*result = host_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
		return 1;
	case SYS_arch_prctl:
		if (args[0] < ARCH_SET_GS || args[0] > ARCH_GET_GS)
			return 0;
		*result = host_call(SYS_arch_prctl, args[0], args[1], 0, 0, 0, 0);
		return 1;
	case SYS_membarrier:
		*result = host_call(SYS_membarrier, args[0], args[1], args[2], 0, 0, 0);
		return 1;
	case SYS_futex:
		return (grants & OA_GRANT_FUTEX) && futex(area, args, result);
	case SYS_nanosleep:
	case SYS_clock_nanosleep:
		return (grants & OA_GRANT_SLEEP) && sleep(area, number, args, result, 0);
	}
	if ((grants & OA_GRANT_IDENTITY) && identity(area, number, result))
		return 1;
	return (grants & OA_GRANT_MEMORY) && memory(number, args, result);
}

/* Make the interrupted call of this thread again: no handler ran, nobody has seen the interruption. A sleep goes on
 * without the ``elapsed`` nanoseconds for which the thread was kept from it. */
long retry_host_call(struct area *area, u64 elapsed)
{
	u64 args[6] = { area->regs.rdi, area->regs.rsi, area->regs.rdx, area->regs.r10, area->regs.r8, area->regs.r9 };
	u32 number = (u32)area->orig_rax;
	long result = -ENOSYS;

	if (number == SYS_nanosleep || number == SYS_clock_nanosleep) {
		shorten(area->rest, elapsed);
		sleep(area, number, args, &result, 1);
	} else {
		answer_locally(area, number, args, &result);
	}
	return result;
}
