/* What a completion may ask a thread to do to its own address space before it goes on. */
#include "shim.h"

static void drop_received(struct area *area)
{
	for (u32 i = 0; i < area->received_count; i++)
		host_call(SYS_close, (u64)area->received[i], 0, 0, 0, 0, 0);
	area->received_count = 0;
}

static long receive(struct area *area)
{
	char byte;
	u64 piece[2] = { (u64)&byte, 1 };
	u64 control[2 + RECEIVED_MAX / 2];
	struct message message = { 0, 0, piece, 1, control, sizeof(control), 0 };
	long got;

	do
		got = host_call(SYS_recvmsg, OA_FD_SOCKET, (u64)&message, 0x40000000 /* MSG_CMSG_CLOEXEC */, 0, 0, 0);
	while (got == -EINTR);
	if (got <= 0)
		return got ? got : -EINVAL;
	if (message.control_length < 16)
		return -EINVAL;
	u64 count = (control[0] - 16) / 4;
	int *fds = (int *)(control + 2);

	for (u64 i = 0; i < count && area->received_count < RECEIVED_MAX; i++)
		area->received[area->received_count++] = fds[i];
	return 0;
}

static long host_operation(struct area *area, const u64 *args, int map)
{
	u64 fd = args[5];

	if (map)
		fd = fd < area->received_count ? (u64)area->received[fd] : (u64)-1;
	return host_call((long)args[0], args[1], args[2], args[3], args[4], fd, args[6]);
}

static long start_program(struct area *area, const u64 *args)
{
	fill_zero(&area->regs, sizeof(area->regs));
	area->regs.rip = args[0];
	area->regs.rsp = args[1];
	area->regs.rflags = 0x202;
	area->full = 1;
	set_brk(args[2]);
	return 0;
}

static long run_one(struct area *area, const struct oa_operation *op, long result)
{
	const u64 *args = op->args;
	struct oa_slot *slot = area->slot;

	switch (op->code) {
	case OA_OP_COPY:
		if (args[1] > OA_WINDOW_SIZE || args[2] > OA_WINDOW_SIZE - args[1])
			return -EINVAL;
		return copy_user((void *)args[0], slot->window + args[1], args[2]);
	case OA_OP_ZERO:
		return zero_user((void *)args[0], args[1]);
	case OA_OP_CALL:
		return host_operation(area, args, 0);
	case OA_OP_MAP:
		return host_operation(area, args, 1);
	case OA_OP_RECEIVE:
		return receive(area);
	case OA_OP_CLONE:
		return do_clone(area, args[0], (u32)args[1], args[2], args[3]);
	case OA_OP_SIGNAL:
		if (args[0] > OA_WINDOW_SIZE - OA_SIGNAL_SIZE)
			return -EINVAL;
		return build_frame(area, (const struct oa_signal *)(slot->window + args[0]), result);
	case OA_OP_START:
		return start_program(area, args);
	case OA_OP_EXIT:
		do_exit(args);
	}
	return -ENOSYS;
}

/* Run a completion's operations in order; the first that fails ends them, but for signal frames: their handlers run
 * whatever the call came to, and the kernel counts on it. */
long run_operations(struct area *area, u32 count, u32 *flags)
{
	long result = area->slot->result, last = 0, failure = 0;

	for (u32 i = 0; i < count && i < OA_OPERATIONS; i++) {
		struct oa_operation op;

		copy_bytes(&op, &area->slot->ops[i], sizeof(op));
		if (op.code == OA_OP_DROP) { /* tidies up: the result stays that of the operation before */
			drop_received(area);
			continue;
		}
		if (failure && op.code != OA_OP_SIGNAL)
			continue;
		last = run_one(area, &op, failure ? failure : result);
		if (op.code == OA_OP_CLONE && last == 1) {
			/* The child of a fork: its own slot is empty, and its orders are still to come. */
			*flags = OA_CQ_CONTINUE;
			area->slot->args[0] = 0;
			return 0;
		}
		if (IS_ERROR(last)) {
			drop_received(area);
			if (op.code == OA_OP_SIGNAL)
				return last;
			failure = last;
		}
	}
	return failure ? failure : last;
}
