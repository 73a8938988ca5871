/* Host signals come in here: traps, kicks and faults. The guest's signal frames are built and left here. */
#include "shim.h"

enum { SIGILL = 4, SIGTRAP = 5, SIGBUS = 7, SIGFPE = 8, SIGUSR1 = 10, SIGSEGV = 11, SIGSYS = 31 };
enum { SA_SIGINFO = 4, SA_RESTORER = 0x04000000, SA_ONSTACK = 0x08000000, SA_NODEFER = 0x40000000 };
enum { SS_ONSTACK = 1, SS_DISABLE = 2 };

#define EFLAGS_CLEAN 0x202UL        /* interrupts on; no direction, trap or alignment flag of the guest's */
#define EFLAGS_USER 0x244dd5UL      /* what a frame may set */
#define FP_MAGIC1 0x46505853U
#define FP_MAGIC2 0x46505845U
#define RED_ZONE 128

/* struct sigcontext and struct ucontext of x86-64 */
struct context {
	u64 r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
	unsigned short cs, gs, fs, ss;
	u64 error_code, trap_number, old_mask, fault_address;
	void *fpu;
	u64 reserved[8];
};

struct user_context {
	u64 flags;
	void *link;
	u64 stack_base;
	u32 stack_flags, pad;
	u64 stack_size;
	struct context context;
	u64 mask;
};

struct frame {
	u64 return_address;
	struct user_context user;
	u8 info[128];
};

struct host_info {
	int signal, error, code, pad;
	u64 address;
};

static u32 fpu_size = 512;
static u64 fpu_features = 3;

void measure_fpu(void)
{
	u32 a = 13, b, c = 0, d;
	u32 low, high;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	fpu_size = b;
	fpu_features = low | (u64)high << 32;
}

/* ---- coming in ---- */

static void save_registers(struct regs *to, const struct context *from)
{
	to->rax = from->rax;
	to->rbx = from->rbx;
	to->rcx = from->rcx;
	to->rdx = from->rdx;
	to->rsi = from->rsi;
	to->rdi = from->rdi;
	to->rbp = from->rbp;
	to->rsp = from->rsp;
	to->r8 = from->r8;
	to->r9 = from->r9;
	to->r10 = from->r10;
	to->r11 = from->r11;
	to->r12 = from->r12;
	to->r13 = from->r13;
	to->r14 = from->r14;
	to->r15 = from->r15;
	to->rip = from->rip;
	to->rflags = from->rflags;
}

/* Leave the handler for `action`, outside of any signal, on the shim's stack. */
static void redirect(struct context *context, struct area *area, void (*action)(struct area *))
{
	context->rip = (u64)shim_enter;
	context->rsp = (u64)area + OA_AREA_STACK_TOP;
	context->rdi = (u64)area;
	context->rsi = (u64)action;
	context->rflags = EFLAGS_CLEAN;
}

static int within(u64 address, const char *from, const char *to)
{
	return address >= (u64)from && address < (u64)to;
}

static int in_shim(u64 address)
{
	return address >= OA_SHIM_BASE && address < OA_SHIM_BASE + OA_SHIM_TEXT_SIZE;
}

static void on_kick(struct area *area, struct context *context)
{
	if (!in_shim(context->rip)) {
		if (!area->slot->kick)
			return;
		save_registers(&area->regs, context);
		redirect(context, area, shim_kick);
	} else if (within(context->rip, shim_return, shim_return_end)) {
		context->rip = (u64)shim_restart;
		context->rdi = (u64)area;
		context->rsp = (u64)area + OA_AREA_STACK_TOP;
		context->rflags = EFLAGS_CLEAN;
	} else if (within(context->rip, blocking_begin, blocking_end)) {
		context->rip = (u64)blocking_abort;
	}
}

static void on_fault(int signal, const struct host_info *info, struct area *area, struct context *context)
{
	u64 *args = area->slot->args;

	if (within(context->rip, user_copy, user_copy_end)) {
		context->rip = (u64)user_fault;
		context->rflags = EFLAGS_CLEAN;
		return;
	}
	if (in_shim(context->rip) && !within(context->rip, shim_return, shim_return_end))
		host_call(SYS_exit_group, 128 + (u64)signal, 0, 0, 0, 0, 0);
	if (!in_shim(context->rip))
		save_registers(&area->regs, context);
	area->full = 1;
	area->trap_number = context->trap_number;
	area->error_code = context->error_code;
	area->fault_address = context->fault_address;
	args[0] = (u64)signal;
	args[1] = (u64)info->code;
	args[2] = info->address;
	args[3] = context->trap_number;
	args[4] = context->error_code;
	redirect(context, area, shim_fault);
}

static struct area *this_area(void)
{
	return (struct area *)((u64)__builtin_frame_address(0) & ~(u64)(OA_AREA_SIZE - 1));
}

/* Kicks and faults; runs on the area's signal stack with all signals blocked. */
static void on_signal(int signal, const struct host_info *info, struct user_context *user)
{
	if (signal == SIGUSR1)
		on_kick(this_area(), &user->context);
	else
		on_fault(signal, info, this_area(), &user->context);
}

/* A system call of the guest's. Invariant: no signal is blocked here but what was before, so the handler need not
 * be returned from: that would cost a host call to bring back what restore_fpu and shim_begin bring back. A kick that
 * lands in here finds the shim at work and leaves it to shim_return. */
static void on_trap(int signal, const struct host_info *info, struct user_context *user)
{
	struct area *area = this_area();
	struct context *context = &user->context;

	if (in_shim(context->rip)) {
		on_fault(signal, info, area, context);
		return;
	}
	save_registers(&area->regs, context);
	area->orig_rax = context->rax;
	area->full = 0;
	restore_fpu(context->fpu, fpu_features);
	shim_begin(area, shim_syscall);
}

static void install_handler(int signal, void (*handler)(int, const struct host_info *, struct user_context *),
			    u64 flags, u64 mask)
{
	struct {
		void *handler;
		u64 flags;
		void *restorer;
		u64 mask;
	} action = { handler, SA_SIGINFO | SA_RESTORER | SA_ONSTACK | flags, signal_restorer, mask };

	host_call(SYS_rt_sigaction, (u64)signal, (u64)&action, 0, 8, 0, 0);
}

void install_handlers(void)
{
	static const int signals[] = { SIGUSR1, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };

	for (u64 i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		install_handler(signals[i], on_signal, 0, ~0UL);
	install_handler(SIGSYS, on_trap, SA_NODEFER, 0);
}

void install_signal_stack(struct area *area)
{
	struct {
		u64 base;
		u32 flags, pad;
		u64 size;
	} stack = { (u64)area + OA_AREA_STACK_TOP, 0, 0, OA_AREA_SIZE - OA_AREA_STACK_TOP };

	host_call(SYS_sigaltstack, (u64)&stack, 0, 0, 0, 0, 0);
}

/* ---- the guest's frames ---- */

static long write_fpu(u64 place)
{
	struct {
		u32 magic, extended_size;
		u64 features;
		u32 size, pad[7];
	} software = { FP_MAGIC1, fpu_size + 4, fpu_features, fpu_size, { 0 } };
	u32 magic2 = FP_MAGIC2;

	if (zero_user((void *)(place + 512), 64) < 0 || save_fpu((void *)place, fpu_features) < 0)
		return -EFAULT;
	if (copy_user((void *)(place + 464), &software, sizeof(software)) < 0)
		return -EFAULT;
	return copy_user((void *)(place + fpu_size), &magic2, 4);
}

static void fill_context(struct context *to, const struct area *area)
{
	const struct regs *r = &area->regs;

	to->r8 = r->r8;
	to->r9 = r->r9;
	to->r10 = r->r10;
	to->r11 = r->r11;
	to->r12 = r->r12;
	to->r13 = r->r13;
	to->r14 = r->r14;
	to->r15 = r->r15;
	to->rdi = r->rdi;
	to->rsi = r->rsi;
	to->rbp = r->rbp;
	to->rbx = r->rbx;
	to->rdx = r->rdx;
	to->rax = r->rax;
	to->rcx = r->rcx;
	to->rsp = r->rsp;
	to->rip = r->rip;
	to->rflags = r->rflags;
	to->cs = 0x33;
	to->ss = 0x2b;
	to->trap_number = area->trap_number;
	to->error_code = area->error_code;
	to->fault_address = area->fault_address;
}

static int on_stack(u64 sp, u64 base, u64 size)
{
	return size && sp > base && sp - base <= size;
}

/* Where the frame goes: the alternate stack unless it is not wanted or in use, below the red zone otherwise. */
static u64 frame_top(const struct area *area, const struct oa_signal *signal)
{
	if (signal->stack_size && !on_stack(area->regs.rsp, signal->stack_base, signal->stack_size))
		return signal->stack_base + signal->stack_size;
	return area->regs.rsp - RED_ZONE;
}

/* uc_stack's flags; what the kernel sent are those of sigaltstack(2). */
static u32 stack_flags(const struct area *area, const struct oa_signal *signal)
{
	if (!signal->saved_size)
		return SS_DISABLE;
	return signal->stack_flags | (on_stack(area->regs.rsp, signal->saved_base, signal->saved_size) ? SS_ONSTACK : 0);
}

/* Put a signal frame on the guest's stack and point the thread at its handler. */
long build_frame(struct area *area, const struct oa_signal *from_window, long result)
{
	struct oa_signal signal;
	struct frame frame;
	u64 fpu, place;

	copy_bytes(&signal, from_window, sizeof(signal));
	fill_zero(&frame, sizeof(frame));
	if (!area->full) { /* a system call is being left */
		area->regs.rax = (u64)result;
		if (signal.flags & OA_SIGNAL_RESTART) {
			area->regs.rax = area->orig_rax;
			area->regs.rip -= 2; /* the syscall instruction */
		}
	}
	fpu = (frame_top(area, &signal) - fpu_size - 4) & ~63UL;
	place = ((fpu - sizeof(frame)) & ~15UL) - 8;
	frame.return_address = signal.restorer;
	frame.user.flags = 1 | 2 | 4; /* UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS */
	frame.user.stack_base = signal.saved_base;
	frame.user.stack_flags = stack_flags(area, &signal);
	frame.user.stack_size = signal.saved_size;
	fill_context(&frame.user.context, area);
	frame.user.context.old_mask = signal.mask;
	frame.user.context.fpu = (void *)fpu;
	frame.user.mask = signal.mask;
	copy_bytes(frame.info, signal.info, sizeof(frame.info));
	if (write_fpu(fpu) < 0 || copy_user((void *)place, &frame, sizeof(frame)) < 0)
		return -EFAULT;
	area->regs.rip = signal.handler;
	area->regs.rsp = place;
	area->regs.rdi = signal.number;
	area->regs.rsi = place + __builtin_offsetof(struct frame, info);
	area->regs.rdx = place + __builtin_offsetof(struct frame, user);
	area->regs.rax = 0;
	area->regs.rflags &= ~0x50500UL; /* no trap, direction, resume flag in a handler */
	area->trap_number = area->error_code = area->fault_address = 0;
	area->full = 1;
	return 0;
}

static void load_context(struct regs *to, const struct context *from)
{
	save_registers(to, from);
	to->rflags = (from->rflags & EFLAGS_USER) | 0x202;
}

/* rt_sigreturn: the registers of the frame at the guest's stack pointer become the thread's. */
long leave_frame(struct area *area, u64 *mask)
{
	struct user_context user;
	u32 magic = 0;
	u64 features = 3;

	area->full = 1;
	if (copy_user(&user, (const void *)area->regs.rsp, sizeof(user)) < 0)
		return -EFAULT;
	if (user.context.fpu) {
		u64 fpu = (u64)user.context.fpu;

		if (load_user32((const u32 *)(fpu + 464), &magic) < 0)
			return -EFAULT;
		if (magic == FP_MAGIC1)
			features = fpu_features;
		if (restore_fpu((const void *)fpu, features) < 0)
			return -EFAULT;
	}
	load_context(&area->regs, &user.context);
	*mask = user.mask;
	return 0;
}
