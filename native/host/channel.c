/* The kernel's end of the channels: which threads have submitted, completions, and the guests' memory. */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "occlum_abi.h"

_Static_assert(sizeof(struct oa_slot) == OA_SLOT_SIZE, "slot layout");
_Static_assert(__builtin_offsetof(struct oa_slot, number) == OA_SLOT_ENTRY, "entry offset");
_Static_assert(__builtin_offsetof(struct oa_slot, result) == OA_SLOT_COMPLETION, "completion offset");
_Static_assert(__builtin_offsetof(struct oa_slot, ops) == OA_SLOT_OPERATIONS, "operations offset");
_Static_assert(__builtin_offsetof(struct oa_slot, window) == OA_SLOT_WINDOW, "window offset");
_Static_assert(sizeof(struct oa_signal) == OA_SIGNAL_SIZE, "signal layout");

/* One thread's slot. The sequence numbers are the kernel's own copies: what a guest writes over the shared ones
 * can only confuse itself. */
struct watched {
	struct oa_slot *slot;
	u32 sq_seen, cq_sent;
	u32 position; /* in `listening`, or NOWHERE while the kernel owes this thread a completion */
};

#define YIELDS 2
#define NOWHERE 0xffffffffU

struct poller {
	struct oa_page *page;
	struct watched *watched;
	u32 *listening;
	u32 count, listening_count, capacity;
};

struct poller *poller_new(void *page, u32 capacity)
{
	struct poller *poller = calloc(1, sizeof(*poller));

	if (!poller)
		return NULL;
	poller->page = page;
	poller->watched = calloc(capacity, sizeof(*poller->watched));
	poller->listening = calloc(capacity, sizeof(*poller->listening));
	poller->capacity = capacity;
	if (!poller->watched || !poller->listening) {
		free(poller->watched);
		free(poller->listening);
		free(poller);
		return NULL;
	}
	return poller;
}

void poller_free(struct poller *poller)
{
	free(poller->watched);
	free(poller->listening);
	free(poller);
}

static void listen_to(struct poller *poller, u32 handle)
{
	struct watched *w = &poller->watched[handle];

	if (w->position != NOWHERE)
		return;
	w->position = poller->listening_count;
	poller->listening[poller->listening_count++] = handle;
}

static void ignore(struct poller *poller, u32 handle)
{
	struct watched *w = &poller->watched[handle];
	u32 last;

	if (w->position == NOWHERE)
		return;
	last = poller->listening[--poller->listening_count];
	poller->listening[w->position] = last;
	poller->watched[last].position = w->position;
	w->position = NOWHERE;
}

/* Begin to watch a slot under a handle below the capacity. */
void poller_add(struct poller *poller, u32 handle, void *slot)
{
	struct watched *w = &poller->watched[handle];

	w->slot = slot;
	w->sq_seen = w->slot->sq_seq;
	w->cq_sent = w->slot->cq_seq;
	w->position = NOWHERE;
	listen_to(poller, handle);
}

void poller_remove(struct poller *poller, u32 handle)
{
	ignore(poller, handle);
	poller->watched[handle].slot = NULL;
}

/* Handles of up to `limit` threads that have submitted; each is ignored until its completion is sent. */
u32 poller_scan(struct poller *poller, u32 *found, u32 limit)
{
	u32 n = 0;

	for (u32 i = 0; i < poller->listening_count && n < limit;) {
		u32 handle = poller->listening[i];
		struct watched *w = &poller->watched[handle];
		u32 now = __atomic_load_n(&w->slot->sq_seq, __ATOMIC_ACQUIRE);

		if (now == w->sq_seen) {
			i++;
			continue;
		}
		w->sq_seen = now;
		found[n++] = handle;
		ignore(poller, handle);
	}
	return n;
}

static u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000UL + (u64)t.tv_nsec;
}

/* As poller_scan, but keep looking for `ns` nanoseconds; with 0, on a single core, let guests run a few times. */
u32 poller_spin(struct poller *poller, u32 *found, u32 limit, u64 ns)
{
	u32 n = poller_scan(poller, found, limit);
	u64 end;

	for (int turns = ns ? 0 : YIELDS; turns && !n; turns--) {
		sched_yield();
		n = poller_scan(poller, found, limit);
	}
	if (n || !ns)
		return n;
	end = now_ns() + ns;
	do {
		for (int i = 0; i < 16; i++) {
			n = poller_scan(poller, found, limit);
			if (n)
				return n;
			__builtin_ia32_pause();
		}
	} while (now_ns() < end);
	return 0;
}

/* Ask guests to ring the doorbell from now on; what has come in before is returned. */
u32 poller_sleep(struct poller *poller, u32 *found, u32 limit)
{
	u32 n;

	__atomic_store_n(&poller->page->sleeping, 1, __ATOMIC_SEQ_CST);
	n = poller_scan(poller, found, limit);
	if (n)
		__atomic_store_n(&poller->page->sleeping, 0, __ATOMIC_RELAXED);
	return n;
}

void poller_wake(struct poller *poller)
{
	__atomic_store_n(&poller->page->sleeping, 0, __ATOMIC_RELAXED);
}

/* Send a completion; its operations are in the slot already. Without a poller the LibOS has ended: nobody waits. */
void poller_complete(struct poller *poller, u32 handle, i64 result, u32 operations, u32 flags)
{
	struct watched *w;
	struct oa_slot *slot;

	if (!poller)
		return;
	w = &poller->watched[handle];
	slot = w->slot;
	slot->result = result;
	slot->operations = operations;
	slot->cq_flags = flags;
	slot->patience = 0;
	w->cq_sent++;
	listen_to(poller, handle);
	__atomic_store_n(&slot->cq_seq, w->cq_sent, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&slot->waiting, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &slot->cq_seq, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Copy between a guest's memory and ours; the bytes copied, or -errno. A bad address yields a short count. */
i64 guest_read(int pid, void *to, u64 from, u64 length)
{
	struct iovec local = { to, length }, remote = { (void *)from, length };
	ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);

	return n < 0 ? -errno : n;
}

i64 guest_write(int pid, const void *from, u64 to, u64 length)
{
	struct iovec local = { (void *)from, length }, remote = { (void *)to, length };
	ssize_t n = process_vm_writev(pid, &local, 1, &remote, 1, 0);

	return n < 0 ? -errno : n;
}

/* Send a host signal to one thread; `tgid` is a process that we know to live, so a wrong `tid` reaches nobody else. */
int kick_thread(int tgid, int tid, int signal)
{
	return syscall(SYS_tgkill, tgid, tid, signal) < 0 ? -errno : 0;
}
