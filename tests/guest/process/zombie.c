// A zombie has an entry until it is waited for.
#include "../claim.h"

static void state(pid_t pid) {
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("stat: %s\n", errno_name(errno));
        return;
    }
    read(fd, text, sizeof text - 1);
    char *end = strrchr(text, ')');
    printf("state %c\n", end ? end[2] : '?');
    close(fd);
}
int main(void) {
    begin();
    pid_t child = MUST(fork());
    if (child == 0) _exit(2);
    siginfo_t info;
    MUST(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    state(child);
    TRY(kill(child, 0));
    TRY(kill(child, SIGKILL));
    FACT(getpgid(child) == getpgrp());
    reap("zombie", child);
    state(child);
    TRY(kill(child, 0));
    return 0;
}
