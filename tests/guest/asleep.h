// For claims about a call in which another thread waits: when is it certain that it does?
#ifndef ASLEEP_H
#define ASLEEP_H

#include "claim.h"

static volatile pid_t waiting; // the thread, as soon as it is about to wait

static inline void nobody_waits(void) { waiting = 0; }
static inline void about_to_wait(void) { waiting = syscall(SYS_gettid); }

// Until the thread that is about to wait sleeps in its system call.
static inline void wait_until_asleep(void) {
    char path[64], text[256];
    while (!waiting) sched_yield();
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", waiting);
    for (;;) {
        int fd = MUST(open(path, O_RDONLY));
        long count = MUST(read(fd, text, sizeof text - 1));
        close(fd);
        text[count] = 0;
        if (strstr(text, ") S")) return;
        usleep(1000);
    }
}
#endif
