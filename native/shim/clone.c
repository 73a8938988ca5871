/* New threads and processes, and the end of them. */
#include "shim.h"

#define CLONE_VM 0x100UL
#define CLONE_PARENT 0x8000UL
#define CLONE_THREAD 0x10000UL
#define CLONE_SETTLS 0x80000UL
#define CLONE_CHILD_CLEARTID 0x200000UL
#define CLONE_CHILD_SETTID 0x1000000UL
#define ROBUST_LIMIT 2048
#define FUTEX_WAITERS 0x80000000U
#define FUTEX_OWNER_DIED 0x40000000U
#define FUTEX_TID_MASK 0x3fffffffU

static void say_hello(void)
{
	host_call(SYS_write, OA_FD_SOCKET, (u64) "", 1, 0, 0, 0);
}

/* First steps of a child that shares the parent's address space. */
void thread_main(struct area *area)
{
	u64 args[6] = { 0 };

	install_signal_stack(area);
	if (area->orig_rax) /* a process of its own: let the kernel see who it is */
		say_hello();
	submit(area, OA_NR_HELLO, args);
	area->regs.rax = 0;
}

static long clone_shared(struct area *area, u64 flags, u32 index, u64 stack, u64 tls)
{
	struct area *child = area_at(index);
	struct oa_slot *slot = slot_at(index);
	long result;

	copy_bytes(&child->regs, &area->regs, sizeof(child->regs));
	child->regs.rax = 0;
	if (stack)
		child->regs.rsp = stack;
	child->slot = slot;
	child->index = index;
	child->full = 0;
	child->cq_expected = slot->cq_seq;
	child->received_count = 0;
	child->orig_rax = !(flags & CLONE_THREAD);
	result = clone_thread(flags | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID, (char *)child + OA_AREA_STACK_TOP,
			      &slot->host_tid, tls, child);
	return result < 0 ? result : 0;
}

/* In the child of a fork: leave the parent's socket, map the channel that came with the orders. */
static void adopt_channel(struct area *area)
{
	host_call(SYS_mmap, OA_CHANNEL_BASE, (u64)OA_SLOTS * OA_SLOT_SIZE, 3, 0x11 /* SHARED|FIXED */,
		  (u64)area->received[0], 0);
	host_call(SYS_madvise, OA_CHANNEL_BASE, (u64)OA_SLOTS * OA_SLOT_SIZE, 10 /* DONTFORK */, 0, 0, 0);
	host_call(SYS_dup3, (u64)area->received[1], OA_FD_SOCKET, 02000000 /* O_CLOEXEC */, 0, 0, 0);
	for (u32 i = 0; i < area->received_count; i++)
		host_call(SYS_close, (u64)area->received[i], 0, 0, 0, 0, 0);
	area->received_count = 0;
	area->cq_expected = 0;
	area->slot = slot_at(area->index);
	unlock_brk();
}

static long clone_copied(struct area *area, u64 flags, u64 stack, u64 tls)
{
	long result;

	if (area->received_count < 2)
		return -EINVAL;
	result = clone_thread(flags, 0, 0, tls, 0);
	if (result)
		return result < 0 ? result : 0;
	adopt_channel(area);
	if (stack)
		area->regs.rsp = stack;
	say_hello();
	return 1;
}

/* 0 in the parent, 1 in the child of a fork (which goes on in run_operations), or an error. */
long do_clone(struct area *area, u64 flags, u32 index, u64 stack, u64 tls)
{
	if (index >= OA_SLOTS)
		return -EINVAL;
	if (flags & CLONE_VM)
		return clone_shared(area, flags, index, stack, tls);
	return clone_copied(area, flags, stack, tls);
}

/* ---- the end ---- */

static void robust_died(u64 futex_address, u32 tid)
{
	u32 word;

	if (load_user32((const u32 *)futex_address, &word) < 0 || (word & FUTEX_TID_MASK) != tid)
		return;
	store_user32((u32 *)futex_address, (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED);
	if (word & FUTEX_WAITERS)
		host_call(SYS_futex, futex_address, 1 /* FUTEX_WAKE */, 1, 0, 0, 0);
}

/* Mark every robust futex that this thread still holds, see set_robust_list(2). */
static void walk_robust_list(u64 head, u32 tid)
{
	struct {
		u64 next;
		i64 offset;
		u64 pending;
	} list;
	u64 entry;

	if (copy_user(&list, (const void *)head, sizeof(list)) < 0)
		return;
	entry = list.next;
	for (int i = 0; i < ROBUST_LIMIT && (entry & ~1UL) != head; i++) {
		u64 here = entry & ~1UL;

		if (here != (list.pending & ~1UL))
			robust_died(here + (u64)list.offset, tid);
		if (copy_user(&entry, (const void *)here, 8) < 0)
			break;
	}
	if (list.pending)
		robust_died((list.pending & ~1UL) + (u64)list.offset, tid);
}

/* arguments: status, how, clear_child_tid, robust list head, tid */
void do_exit(const u64 *args)
{
	static u32 never;

	if (args[3])
		walk_robust_list(args[3], (u32)args[4]);
	if (args[2] && store_user32((u32 *)args[2], 0) == 0)
		host_call(SYS_futex, args[2], 1 /* FUTEX_WAKE */, 1, 0, 0, 0);
	while (args[1] == OA_EXIT_LEADER)
		host_call(SYS_futex, (u64)&never, 128 /* FUTEX_WAIT_PRIVATE */, 0, 0, 0, 0);
	for (;;)
		host_call(args[1] == OA_EXIT_GROUP ? SYS_exit_group : SYS_exit, args[0], 0, 0, 0, 0, 0);
}
