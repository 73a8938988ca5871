/* Submissions: a system call becomes an entry in this thread's slot, and a completion comes back. */
#include "shim.h"

#define YIELDS 2

static inline u32 load_acquire(const u32 *address)
{
	return __atomic_load_n(address, __ATOMIC_ACQUIRE);
}

static void ring_doorbell(void)
{
	u64 one = 1;

	host_call(SYS_write, OA_FD_DOORBELL, (u64)&one, 8, 0, 0, 0);
}

static void await_completion(struct area *area)
{
	struct oa_slot *slot = area->slot;
	volatile u32 *patience = &slot->patience;
	u32 expected = area->cq_expected, spin = PAGE->spin;

	for (u32 turns = 0; turns < (*patience == OA_BRIEF ? OA_BRIEF_SPIN * spin : spin); turns++) {
		if (load_acquire(&slot->cq_seq) == expected)
			return;
		if (*patience == OA_SLEEP)
			break;
		__builtin_ia32_pause();
	}
	for (int turns = spin ? 0 : YIELDS; turns && !*patience; turns--) {
		/* One core: the answer can only come while this thread does not run. */
		host_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
		if (load_acquire(&slot->cq_seq) == expected)
			return;
	}
	__atomic_store_n(&slot->waiting, 1, __ATOMIC_SEQ_CST);
	while (load_acquire(&slot->cq_seq) != expected)
		host_call(SYS_futex, (u64)&slot->cq_seq, 0 /* FUTEX_WAIT */, expected - 1, 0, 0, 0);
	__atomic_store_n(&slot->waiting, 0, __ATOMIC_RELAXED);
}

/* Hand the filled entry to the kernel and do what its completions say until one is final. */
static long exchange(struct area *area)
{
	struct oa_slot *slot = area->slot;
	long result;
	u32 flags;

	for (;;) {
		area->cq_expected++;
		slot->rip = area->regs.rip;
		slot->rsp = area->regs.rsp;
		__atomic_store_n(&slot->sq_seq, slot->sq_seq + 1, __ATOMIC_SEQ_CST);
		if (PAGE->sleeping)
			ring_doorbell();
		await_completion(area);
		slot = area->slot;
		flags = slot->cq_flags;
		result = slot->result;
		if (slot->operations) {
			long last = run_operations(area, slot->operations, &flags);

			slot = area->slot; /* a fork has changed it */
			if ((flags & OA_CQ_RESULT) || IS_ERROR(last))
				result = last;
		}
		if (!(flags & OA_CQ_CONTINUE))
			return result;
		slot->number = OA_NR_DONE;
		slot->used = 0;
		slot->args[0] = (u64)result;
	}
}

long submit(struct area *area, u32 number, const u64 *args)
{
	struct oa_slot *slot = area->slot;

	slot->number = number;
	slot->used = 0;
	for (int i = 0; i < 6; i++) {
		slot->args[i] = args[i];
		slot->places[i].length = OA_PLACE_NONE;
	}
	return exchange(area);
}

/* NULL, which optional arguments mostly are, is known to fault: the fault itself would cost a signal. */
static long copy_in(void *to, u64 from, u64 length)
{
	return from || !length ? copy_user(to, (const void *)from, length) : -EFAULT;
}

/* Copy one argument's bytes into the window, as the kernel's table says; the window's next free offset. */
static u32 marshal(struct oa_slot *slot, const u64 *args, int i, u32 way, u32 used)
{
	u32 kind = way & 15, length_of = way >> 4 & 15;
	u64 length = way >> 8, count = length_of < 6 ? args[length_of] : 1;

	slot->places[i].offset = used;
	if (kind == OA_ARG_STRING) {
		long got = args[i] ? copy_user_string((char *)slot->window + used, (const char *)args[i], 4096) : -EFAULT;

		slot->places[i].length = got < 0 ? OA_PLACE_FAULT : got == 4096 ? OA_PLACE_LONG : (u32)got;
		return used + 4096;
	}
	if (kind == OA_ARG_BITS)
		length = (count + 63) / 64 * 8;
	else if (kind == OA_ARG_INPUT || kind == OA_ARG_INOUT)
		length *= count;
	else
		return used;
	if (count > OA_WINDOW_COPY_MAX || length > OA_WINDOW_COPY_MAX || length > OA_WINDOW_SIZE - used)
		return used;
	if (copy_in(slot->window + used, args[i], length) < 0)
		slot->places[i].length = OA_PLACE_FAULT;
	else
		slot->places[i].length = (u32)length;
	return used + ((u32)length + 15 & ~15u);
}

/* Copy an iovec array into the window, and behind it what it names if that is short; the window's next free offset. */
static u32 marshal_vector(struct oa_slot *slot, const u64 *args, int i, u32 used)
{
	const u64 *array = (const u64 *)(slot->window + used);
	u64 count = args[i + 1], total = 0;
	u32 start, at;

	if (count > OA_VECTOR_MAX || 16 * count > OA_WINDOW_SIZE - used)
		return used;
	slot->places[i].offset = used;
	if (copy_in(slot->window + used, args[i], 16 * count) < 0) {
		slot->places[i].length = OA_PLACE_FAULT;
		return used;
	}
	slot->places[i].length = (u32)(16 * count);
	start = at = used + (u32)(16 * count);
	for (u64 k = 0; k < count && total <= OA_WINDOW_COPY_MAX; k++)
		total = array[2 * k + 1] > OA_WINDOW_COPY_MAX ? array[2 * k + 1] : total + array[2 * k + 1];
	if (total > OA_WINDOW_COPY_MAX || total > OA_WINDOW_SIZE - start)
		return start;
	for (u64 k = 0; k < count; k++) {
		u64 length = array[2 * k + 1]; /* another thread may have changed it since */

		if (length > OA_WINDOW_SIZE - at || copy_in(slot->window + at, array[2 * k], length) < 0)
			return start;
		at += (u32)length;
	}
	slot->places[i + 1].offset = start;
	slot->places[i + 1].length = at - start;
	return (at + 15) & ~15u;
}

/* Submit a guest's system call with the bytes that its arguments point to. */
long submit_call(struct area *area, u32 number, const u64 *args)
{
	struct oa_slot *slot = area->slot;
	u32 used = 0;

	slot->number = number;
	for (int i = 0; i < 6; i++) {
		slot->args[i] = args[i];
		slot->places[i].length = OA_PLACE_NONE;
	}
	for (int i = 0; i < 6 && number < OA_TABLE_CALLS; i++) {
		u32 way = PAGE->table[number][i];

		if ((way & 15) == OA_ARG_VECTOR && i < 5)
			used = marshal_vector(slot, args, i, used);
		else if (way & 15)
			used = marshal(slot, args, i, way, used);
	}
	slot->used = used;
	return exchange(area);
}

static void call_arguments(const struct area *area, u64 *args)
{
	const struct regs *r = &area->regs;

	args[0] = r->rdi;
	args[1] = r->rsi;
	args[2] = r->rdx;
	args[3] = r->r10;
	args[4] = r->r8;
	args[5] = r->r9;
}

/* A host call that this thread makes for itself was interrupted: ask the kernel, repeat if it says so. */
static long finish_interrupted(struct area *area, u32 number, long result)
{
	while (result == -EINTR) {
		/* A sleep has a time-out, a futex if there is a fourth argument. */
		u64 why[6] = { (u64)number + 1, number == SYS_futex ? area->regs.r10 : 1 };
		long answer = submit(area, OA_NR_KICK, why);

		if (area->full || !(area->slot->cq_flags & OA_CQ_RETRY))
			return answer;
		result = retry_host_call(area, answer > 0 ? (u64)answer : 0);
	}
	return result;
}

/* The guest made a system call: its registers are in the area. */
void shim_syscall(struct area *area)
{
	u64 args[6];
	u32 number = (u32)area->orig_rax;
	long result;

	call_arguments(area, args);
	if (number == SYS_rt_sigreturn) {
		u64 mask = 0;

		args[0] = leave_frame(area, &mask) < 0 ? 0 : 1;
		args[1] = mask;
		submit(area, SYS_rt_sigreturn, args);
		return;
	}
	if (answer_locally(area, number, args, &result)) {
		if (result == -EINTR)
			result = finish_interrupted(area, number, result);
	} else {
		result = submit_call(area, number, args);
	}
	/* A signal frame or a new program has set all registers itself. */
	if (!area->full)
		area->regs.rax = (u64)result;
}

/* The kernel wants this thread to come in; whatever it has to say comes as operations. */
void shim_kick(struct area *area)
{
	u64 args[6] = { 0 };

	area->full = 1;
	submit(area, OA_NR_KICK, args);
}

/* The guest's own instruction faulted; the handler has left the details in the entry's arguments. */
void shim_fault(struct area *area)
{
	u64 args[6];

	copy_bytes(args, area->slot->args, sizeof(args));
	submit(area, OA_NR_FAULT, args);
}
