/* The supervisor: parent of all guests, and their end when the kernel ends.
 *
 * It gets the zygote's descriptors in the first message on its control socket (standard input), makes the zygote,
 * and then only waits there: a message with a pidfd means "reap this one", the end of the stream means that the kernel is gone, and then the
 * whole process group goes. Guests can't leave the group: setpgid and setsid are not on their list.
 */
#include "shim.h"

enum { SIGKILL = 9, P_PIDFD = 3, WEXITED = 4, WALL = 0x40000000 };
enum { NEW_MOUNTS = 0x20000, NEW_UTS = 0x4000000, NEW_IPC = 0x8000000, NEW_USER = 0x10000000, NEW_NET = 0x40000000 };
enum { CONTROL = 0 };
enum { DOORBELL, CHANNEL, SOCKET, KERNEL_PAGE, STARTERS }; /* what the first message brings */

static void reap(int pidfd)
{
	u8 info[128];

	host_call(SYS_waitid, P_PIDFD, (u64)pidfd, (u64)info, WEXITED | WALL, 0, 0);
	host_call(SYS_close, (u64)pidfd, 0, 0, 0, 0, 0);
}

/* The descriptors of the kernel's next message go to `fds`; their number, or -1 at the end of the stream. */
static int next_message(int *fds)
{
	for (;;) {
		char byte;
		u64 piece[2] = { (u64)&byte, 1 };
		u64 control[2 + STARTERS / 2];
		struct message message = { 0, 0, piece, 1, control, sizeof(control), 0 };
		long got = host_call(SYS_recvmsg, CONTROL, (u64)&message, 0x40000000 /* MSG_CMSG_CLOEXEC */, 0, 0, 0);

		if (got == -EINTR)
			continue;
		if (got <= 0)
			return -1;
		if (message.control_length < 16)
			return 0;
		copy_bytes(fds, control + 2, control[0] - 16);
		return (int)((control[0] - 16) / 4);
	}
}

/* Defence in depth, where the host lets anybody have it: no network, no IPC, no files, no rights over anything of the
 * host's, for everything that descends from here. The filter does not depend on it. */
static void step_aside(void)
{
	if (!IS_ERROR(host_call(SYS_unshare, NEW_USER | NEW_NET | NEW_IPC | NEW_UTS | NEW_MOUNTS, 0, 0, 0, 0, 0)) &&
	    !IS_ERROR(host_call(SYS_chroot, (u64) "/proc/self/fdinfo", 0, 0, 0, 0, 0))) /* empties when we end */
		host_call(SYS_chdir, (u64) "/", 0, 0, 0, 0, 0);
}

/* Called by _start. The kernel's own end is the only way out. */
__attribute__((used)) void supervisor_main(void)
{
	int fds[STARTERS];
	int count;

	/* A group of its own, for what ends it must reach nobody else; but no session: where the host shares cores out by
	 * session, the kernel and its guests belong together, or sched_yield would not pass a core on between them. */
	if (IS_ERROR(host_call(SYS_setpgid, 0, 0, 0, 0, 0, 0)))
		host_call(SYS_exit_group, 101, 0, 0, 0, 0, 0);
	step_aside();
	if (next_message(fds) != STARTERS)
		host_call(SYS_exit_group, 100, 0, 0, 0, 0, 0);
	if (host_call(SYS_clone, 0, 0, 0, 0, 0, 0) == 0)
		become_guest(fds[CHANNEL], fds[SOCKET], fds[DOORBELL], fds[KERNEL_PAGE]);
	host_call(SYS_close_range, 1, ~0U, 0, 0, 0, 0);
	while ((count = next_message(fds)) >= 0)
		if (count == 1)
			reap(fds[0]);
	host_call(SYS_kill, 0, SIGKILL, 0, 0, 0, 0);
	for (;;)
		host_call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}
