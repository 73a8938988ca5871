/* A ring for one event loop: what io/boundary/uring.py needs of liburing, and nothing more.
 *
 * Not thread-safe: one thread owns a ring. Memory that an operation points to belongs to the kernel
 * until that operation's completion has been taken; the Python side keeps it alive.
 */
#pragma once

#include <stdint.h>

struct uring;

struct uring_completion {
    uint64_t number;
    int32_t result;
    uint32_t flags;
};

/* Bits that say how an operation is done: with memory from the provided buffers; by a worker of the kernel, although it could
 * be tried at once. */
#define URING_SELECT 1
#define URING_ELSEWHERE 2

/* Bits that uring_start returns. */
#define URING_DONE 1   /* the operation is complete, its result is in *result */
#define URING_OTHERS 2 /* completions of other operations came along: take them with uring_take */
#define URING_FULL 4   /* there was no room and none could be made: the operation is not even queued */

/* The number of completions that nobody waits for. */
#define URING_NOBODY 0

/* With poll a thread of the host looks at the submissions, for so many milliseconds after the last one. NULL and a
 * positive errno in *error when the host refuses. */
struct uring *uring_open(unsigned entries, unsigned completions, unsigned poll, int *error);
void uring_close(struct uring *ring);

/* The descriptor that is readable while completions wait to be taken. */
int uring_event(const struct uring *ring);

/* Queue one operation without telling the kernel; a negative errno when there is no room and none can be made.
 * priority holds flags of the operation's own (IORING_RECV_MULTISHOT...), how URING_SELECT and URING_ELSEWHERE; after
 * timeout nanoseconds (0: never) it is cancelled. */
int uring_queue(struct uring *ring, int opcode, int fd, uint64_t address, uint32_t length, uint64_t offset,
                uint32_t flags, uint16_t priority, int how, uint64_t number, int64_t timeout);

/* Queue a send(2); the data must stay where it is until the completion. */
int uring_send(struct uring *ring, int fd, const char *data, uint32_t size, uint32_t flags, uint64_t number);

/* Give the kernel count buffers (a power of two) of size bytes to receive into. 0 or a negative errno. */
int uring_provide(struct uring *ring, unsigned count, unsigned size);

/* The buffer that a completion names, NULL when there is none of that number; and giving it back. */
char *uring_buffer(const struct uring *ring, unsigned id);
void uring_return(struct uring *ring, unsigned id);

/* Let somebody read from a buffer for a while, NULL when three quarters of them are away; and giving it back, which may come after
 * uring_close. */
char *uring_lend(struct uring *ring, unsigned id);
void uring_take_back(struct uring *ring, unsigned id);

/* Hand over everything queued. The number handed over, or a negative errno. */
int uring_submit(struct uring *ring);

/* Queue, submit, and look at once whether it is complete. URING_* bits or a negative errno. */
int uring_start(struct uring *ring, int opcode, int fd, uint64_t address, uint32_t length, uint64_t offset,
                uint32_t flags, int how, uint64_t number, int32_t *result);

/* Take at most limit completions; how many were there. */
unsigned uring_take(struct uring *ring, struct uring_completion *completions, unsigned limit);

/* How often looking for completions had to enter the kernel since this was asked last. */
unsigned uring_entered(struct uring *ring);

/* How many operations are queued and not yet handed over. */
unsigned uring_queued(const struct uring *ring);
