/* From the supervisor's child to a guest: the zygote, of which every program starts as a fork. */
#include "shim.h"

enum { PROT_READ = 1, PROT_RW = 3, MAP_SHARED_FIXED = 0x11, MAP_AREA = 0x4032 /* PRIVATE FIXED ANONYMOUS NORESERVE */ };

static void die(u64 status)
{
	for (;;)
		host_call(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

static void must(long result, u64 status)
{
	if (IS_ERROR(result))
		die(status);
}

/* The zygote's whole life: it says hello with its listener, and then forks as it is told. */
static void serve(struct area *area)
{
	u64 args[6] = { area->regs.rdi };

	submit(area, OA_NR_HELLO, args);
}

void become_guest(int channel, int socket, int doorbell, int page)
{
	struct area *area = area_at(0);

	must(host_call(SYS_mmap, OA_AREA_BASE, (u64)OA_SLOTS * OA_AREA_SIZE, PROT_RW, MAP_AREA, (u64)-1, 0), 101);
	must(host_call(SYS_mmap, OA_PAGE_BASE, OA_PAGE_SIZE, PROT_READ, MAP_SHARED_FIXED, (u64)page, 0), 102);
	must(host_call(SYS_mmap, OA_CHANNEL_BASE, (u64)OA_SLOTS * OA_SLOT_SIZE, PROT_RW, MAP_SHARED_FIXED,
		       (u64)channel, 0), 103);
	must(host_call(SYS_madvise, OA_CHANNEL_BASE, (u64)OA_SLOTS * OA_SLOT_SIZE, 10 /* DONTFORK */, 0, 0, 0), 104);
	must(host_call(SYS_dup3, (u64)socket, OA_FD_SOCKET, 0, 0, 0, 0), 105);
	must(host_call(SYS_dup3, (u64)doorbell, OA_FD_DOORBELL, 0, 0, 0, 0), 106);
	must(host_call(SYS_close_range, 2, ~0U, 0, 0, 0, 0), 107);
	measure_fpu();
	area->slot = slot_at(0);
	install_handlers();
	install_signal_stack(area);
	area->regs.rdi = (u64)install_filter();
	must((long)area->regs.rdi, 108);
	host_call(SYS_write, OA_FD_SOCKET, (u64) "", 1, 0, 0, 0);
	/* From here on this process lives on its area's stack: forks of it begin there. */
	__asm__ volatile("mov %0, %%rdi\n\tmov %1, %%rsi\n\tmov %2, %%rsp\n\txor %%ebp, %%ebp\n\tjmp shim_enter"
			 :
			 : "r"(area), "r"(serve), "r"((u64)area + OA_AREA_STACK_TOP)
			 : "rdi", "rsi", "memory");
	__builtin_unreachable();
}
