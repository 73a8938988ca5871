// What /proc tells of a process or a thread: sleeping, running, stopped, dead.
#ifndef STATE_H
#define STATE_H

#include "claim.h"

// The letter in a stat file, like "/proc/%d/stat"; 0, with errno, where there is none.
static inline char state_in(const char *format, pid_t id) {
    char path[64], text[512];
    snprintf(path, sizeof path, format, id);
    int fd = open(path, O_RDONLY);
    if (fd < 0) return 0;
    long count = MUST(read(fd, text, sizeof text - 1));
    close(fd);
    text[count] = 0;
    return *(strrchr(text, ')') + 2);
}
#endif
