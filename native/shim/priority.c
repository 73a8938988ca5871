/* Priority-inheriting futexes, as futex(2) describes their word: the owner's thread id and FUTEX_WAITERS.
 *
 * The host can't serve them, for it knows our threads by other numbers. They are made of plain futexes here, without
 * the inheritance: guests have no priorities that the host would heed.
 */
#include "shim.h"

#define WAITERS 0x80000000U
#define OWNER_DIED 0x40000000U
#define TID_MASK 0x3fffffffU

enum { EPERM = 1, ETIMEDOUT = 110, EDEADLK = 35 };
enum { PRIVATE = 128, CLOCK_REALTIME = 256 };
enum { WAKE = 1, LOCK_PI = 6, UNLOCK_PI = 7, TRYLOCK_PI = 8, WAIT_BITSET = 9, LOCK_PI2 = 13 };

/* One attempt to take the lock: 0, an error, or 1 and the word to sleep on. */
static long try_lock(u32 *word, u32 tid, u32 mark, u32 *seen)
{
	u32 now, found;

	for (;;) {
		if (load_user32(word, &now) < 0)
			return -EFAULT;
		if ((now & TID_MASK) == tid)
			return -EDEADLK;
		if (!(now & TID_MASK)) {
			if (swap_user32(word, now, tid | mark | (now & (OWNER_DIED | WAITERS)), &found) < 0)
				return -EFAULT;
			if (found == now)
				return 0;
			continue;
		}
		*seen = now | WAITERS;
		if (swap_user32(word, now, *seen, &found) < 0)
			return -EFAULT;
		if (found == now)
			return 1;
	}
}

static long lock(struct area *area, u32 *word, const u64 *args, int wait)
{
	u32 tid = area->slot->identity[1], seen = 0;
	u32 clock = (args[1] & 127) == LOCK_PI ? CLOCK_REALTIME : (u32)args[1] & CLOCK_REALTIME;
	u32 mark = 0;

	for (;;) {
		long result = try_lock(word, tid, mark, &seen);

		if (result <= 0)
			return result;
		if (!wait)
			return -EAGAIN;
		u64 sleep[6] = { args[0], WAIT_BITSET | (args[1] & PRIVATE) | clock, seen, args[3], 0, ~0U };

		result = blocking_call(area->slot, SYS_futex, sleep);
		if (result < 0 && result != -EAGAIN)
			return result;
		mark = WAITERS; /* others may sleep on the word still: its next owner must wake them */
	}
}

static long unlock(struct area *area, u32 *word, const u64 *args)
{
	u32 now, found;

	for (;;) {
		if (load_user32(word, &now) < 0)
			return -EFAULT;
		if ((now & TID_MASK) != area->slot->identity[1])
			return -EPERM;
		if (swap_user32(word, now, 0, &found) < 0)
			return -EFAULT;
		if (found == now)
			break;
	}
	if (now & WAITERS)
		host_call(SYS_futex, args[0], WAKE | (args[1] & PRIVATE), 1, 0, 0, 0);
	return 0;
}

/* Whether this is one of the calls that are made of plain futexes here; its result then. */
int priority_futex(struct area *area, const u64 *args, long *result)
{
	u32 *word = (u32 *)args[0];

	switch (args[1] & 127) {
	case LOCK_PI:
	case LOCK_PI2:
		*result = lock(area, word, args, 1);
		return 1;
	case TRYLOCK_PI:
		*result = lock(area, word, args, 0);
		return 1;
	case UNLOCK_PI:
		*result = unlock(area, word, args);
		return 1;
	}
	return 0;
}
