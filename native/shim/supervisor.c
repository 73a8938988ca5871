/* The supervisor: parent of all guests, and their end when the kernel ends.
 *
 * It is started by the kernel with five descriptors, makes the zygote, and then only waits on its control socket:
 * a message with a pidfd means "reap this one", the end of the stream means that the kernel is gone, and then the
 * whole process group goes. Guests can't leave the group: setpgid and setsid are not on their list.
 */
#include "shim.h"

enum { SIGKILL = 9, SIGCHLD = 17, P_PIDFD = 3, WNOHANG = 1, WEXITED = 4, WALL = 0x40000000 };
enum { CONTROL = 3, DOORBELL = 4, CHANNEL = 5, SOCKET = 6, KERNEL_PAGE = 7 };

static void reap(int pidfd)
{
	u8 info[128];

	host_call(SYS_waitid, P_PIDFD, (u64)pidfd, (u64)info, WEXITED | WALL, 0, 0);
	host_call(SYS_close, (u64)pidfd, 0, 0, 0, 0, 0);
}

static void serve_kernel(void)
{
	for (;;) {
		char byte;
		u64 piece[2] = { (u64)&byte, 1 };
		u64 control[4];
		struct message message = { 0, 0, piece, 1, control, sizeof(control), 0 };
		long got = host_call(SYS_recvmsg, CONTROL, (u64)&message, 0x40000000, 0, 0, 0);

		if (got == -EINTR)
			continue;
		if (got <= 0)
			return;
		if (message.control_length >= 20)
			reap((int)control[2]);
	}
}

/* Called by _start. The kernel's own end is the only way out. */
__attribute__((used)) void supervisor_main(void)
{
	long zygote;

	host_call(SYS_setsid, 0, 0, 0, 0, 0, 0);
	zygote = host_call(SYS_clone, 0, 0, 0, 0, 0, 0);
	if (zygote == 0)
		become_guest(CHANNEL, SOCKET, DOORBELL, KERNEL_PAGE);
	host_call(SYS_close, CHANNEL, 0, 0, 0, 0, 0);
	host_call(SYS_close, SOCKET, 0, 0, 0, 0, 0);
	serve_kernel();
	host_call(SYS_kill, 0, SIGKILL, 0, 0, 0, 0);
	for (;;)
		host_call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}
