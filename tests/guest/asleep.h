// For claims about a call in which another thread waits: when is it certain that it does?
#ifndef ASLEEP_H
#define ASLEEP_H

#include "state.h"

static volatile pid_t waiting; // the thread, as soon as it is about to wait

static inline void nobody_waits(void) { waiting = 0; }
static inline void about_to_wait(void) { waiting = syscall(SYS_gettid); }

// Until the thread that is about to wait sleeps in its system call.
static inline void wait_until_asleep(void) {
    while (!waiting) sched_yield();
    while (state_in("/proc/self/task/%d/stat", waiting) != 'S') usleep(1000);
}
#endif
