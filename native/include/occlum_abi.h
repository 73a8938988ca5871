/* The memory that the kernel and a guest's shim share: the one source for C and Python.
 *
 * Python reads the "#define OA_NAME number" lines and the offset comments are checked against the structs
 * by static assertions in the shim and by abi/shared.py at import. Little-endian x86-64 only.
 */
#ifndef OCCLUM_ABI_H
#define OCCLUM_ABI_H

/* ---- where things lie in a guest's address space ---- */
#define OA_SHIM_BASE 0x6f0000000000    /* text, read-only data, data of the shim */
#define OA_SHIM_TEXT_SIZE 0x10000      /* syscall instructions below this offset may reach the host */
#define OA_AREA_BASE 0x6f0100000000    /* one private area per thread: registers, stack, signal stack */
#define OA_AREA_SIZE 0x8000
#define OA_AREA_STACK_TOP 0x4000       /* shim stack below, signal stack from here to the area's end */
#define OA_CHANNEL_BASE 0x6f0200000000 /* one slot per thread, shared with the kernel */
#define OA_SLOT_SIZE 0x10000
#define OA_SLOTS 1024                  /* threads of one address space */
#define OA_PAGE_BASE 0x6f0300000000    /* the kernel's page, read-only for guests */
#define OA_PAGE_SIZE 0x4000
#define OA_END 0x6f0400000000

/* ---- the fds that a guest holds ---- */
#define OA_FD_SOCKET 0   /* descriptors for mmap arrive here; a new process says hello here */
#define OA_FD_DOORBELL 1 /* an eventfd shared by all guests: wakes the kernel */

/* What to do about a completion that is late: nobody knows when it comes, so sleep; a disk answers soon, so spin longer. */
#define OA_SLEEP 1
#define OA_BRIEF 2
#define OA_BRIEF_SPIN 4 /* times PAGE->spin */

/* ---- a slot ---- */
#define OA_SLOT_SQ_SEQ 0      /* u32, the guest adds 1 when the entry is filled */
#define OA_SLOT_CQ_SEQ 4      /* u32, the kernel adds 1 when the completion is filled; the guest's futex */
#define OA_SLOT_WAITING 8     /* u32, the guest sleeps on CQ_SEQ */
#define OA_SLOT_KICK 12       /* u32, the kernel wants this thread to come in */
#define OA_SLOT_HOST_TID 16   /* u32, set and cleared by the host at clone and exit */
#define OA_SLOT_PATIENCE 20   /* u32, for a completion that does not come at once: OA_SLEEP, OA_BRIEF */
#define OA_SLOT_IDENTITY 24   /* u32 x 7: pid, tid, ppid, uid, euid, gid, egid */
#define OA_SLOT_ENTRY 64      /* u32 number, u32 used (how far its bytes reach in the window), u64 user_data, u64 x 6 arguments */
#define OA_SLOT_PLACES 128    /* {u32 offset, u32 length} x 6: what was copied in, by argument */
#define OA_SLOT_RIP 176       /* u64, u64: where the guest stood (for /proc/PID/syscall) */
#define OA_SLOT_COMPLETION 192 /* i64 result, u32 operations, u32 flags */
#define OA_SLOT_OPERATIONS 256 /* 64 bytes each */
#define OA_OPERATIONS 56
#define OA_SLOT_WINDOW 4096    /* to the slot's end */
#define OA_WINDOW_SIZE 61440
#define OA_WINDOW_COPY_MAX 32768 /* longer buffers do not travel in the window */
#define OA_VECTOR_MAX 64         /* nor do longer iovec arrays */

/* ---- lengths in OA_SLOT_PLACES that are none ---- */
#define OA_PLACE_NONE 0xffffffff  /* not copied */
#define OA_PLACE_FAULT 0xfffffffe /* the address is bad */
#define OA_PLACE_LONG 0xfffffffd  /* a string without an end */

/* ---- submissions that are no system call of the guest's ---- */
#define OA_NR_HELLO 0x10000 /* a new process waits for its first orders */
#define OA_NR_DONE 0x10001  /* a completion's operations ran; argument 0: the result */
#define OA_NR_KICK 0x10002  /* the thread was asked in; argument 0: interrupted call + 1, or 0 */
#define OA_NR_FAULT 0x10003 /* arguments: signal, si_code, address, trap number, error code */

/* ---- completion flags ---- */
#define OA_CQ_CONTINUE 1 /* submit OA_NR_DONE and wait again */
#define OA_CQ_RESULT 2   /* the result is the last operation's */
#define OA_CQ_RETRY 4    /* for OA_NR_KICK: repeat the interrupted host call; the result is the ns that it took meanwhile */

/* ---- operations ---- */
#define OA_OP_COPY 1   /* to, window offset, length: copy out */
#define OA_OP_CALL 2   /* number, six arguments: a host call (as far as the filter lets it) */
#define OA_OP_MAP 3    /* as CALL(mmap), its fd is an index into the received descriptors */
#define OA_OP_RECEIVE 4 /* count: take descriptors from the socket */
#define OA_OP_DROP 5   /* close the received descriptors */
#define OA_OP_CLONE 6  /* flags, slot, stack, tls: result: 0 or error */
#define OA_OP_SIGNAL 7 /* window offset of struct oa_signal */
#define OA_OP_START 8  /* rip, rsp, brk: begin a program */
#define OA_OP_EXIT 9  /* status, OA_EXIT_*, clear_child_tid, robust list, tid */
#define OA_OP_ZERO 10  /* address, length */

/* How a host thread ends. The first thread of a process stays, idle, while others live: the host knows the
 * address space by it. */
#define OA_EXIT_THREAD 0
#define OA_EXIT_GROUP 1
#define OA_EXIT_LEADER 2

/* struct oa_signal: what the shim needs to build a frame */
#define OA_SIGNAL_SIZE 200
#define OA_SIGNAL_RESTART 1 /* the interrupted system call is to be made again after the handler */

/* ---- grants ---- */
#define OA_GRANT_IDENTITY 1
#define OA_GRANT_MEMORY 2
#define OA_GRANT_FUTEX 4
#define OA_GRANT_SLEEP 8
#define OA_GRANT_FILES 16 /* no disk's file can be mapped: msync, and mremap to more, are the guest's affair alone */

/* ---- the kernel's page ---- */
#define OA_PAGE_SLEEPING 0 /* u32: ring the doorbell */
#define OA_PAGE_SPIN 4     /* u32: how often to look for a completion before sleeping; 0 where cores are scarce */
#define OA_PAGE_GRANTS 8   /* u32 */
#define OA_PAGE_MEMORY 12  /* u32: how many pages of memory there are; 0: not said */
#define OA_PAGE_TABLE 64   /* u32 [OA_TABLE_CALLS][6]: how each argument travels */
#define OA_TABLE_CALLS 480

/* one argument in the table: kind | length argument << 4 (15: none) | unit size << 8 */
#define OA_ARG_VALUE 0
#define OA_ARG_STRING 1
#define OA_ARG_INPUT 2
#define OA_ARG_OUTPUT 3
#define OA_ARG_INOUT 4
#define OA_ARG_POINTER 5
#define OA_ARG_VECTOR 6 /* an iovec array, copied in; what it names lies at the next argument's place if all of it fits */
#define OA_ARG_BITS 7   /* as many bits as the length argument says, in words of 64, copied in */

#ifndef __ASSEMBLER__
typedef unsigned int u32;
typedef unsigned long u64;
typedef long i64;
typedef unsigned char u8;

struct oa_operation {
	u32 code, flags;
	u64 args[7];
};

struct oa_slot {
	u32 sq_seq, cq_seq, waiting, kick;
	u32 host_tid, patience;
	u32 identity[8];
	u32 pad[2];
	u32 number, used;
	u64 user_data;
	u64 args[6];
	struct {
		u32 offset, length;
	} places[6];
	u64 rip, rsp;
	i64 result;
	u32 operations, cq_flags;
	u64 pad2[6];
	struct oa_operation ops[OA_OPERATIONS];
	u8 pad3[OA_SLOT_WINDOW - OA_SLOT_OPERATIONS - OA_OPERATIONS * 64];
	u8 window[OA_WINDOW_SIZE];
};

struct oa_page {
	u32 sleeping, spin, grants, memory, pad[12];
	u32 table[OA_TABLE_CALLS][6];
};

struct oa_signal {
	u64 handler, restorer, mask;
	u32 number, flags;
	u64 stack_base, stack_size; /* the alternate stack to switch to; size 0: stay */
	u32 stack_flags, pad;       /* what uc_stack says */
	u64 saved_base, saved_size;
	u8 info[128];
};
#endif
#endif
