// A zombie has an entry until it is waited for.
#include "../state.h"

static void show_state(pid_t pid) {
    char state = state_in("/proc/%d/stat", pid);
    if (state) printf("state %c\n", state);
    else printf("stat: %s\n", errno_name(errno));
}

int main(void) {
    begin();
    pid_t child = MUST(fork());
    if (child == 0) _exit(2);
    siginfo_t info;
    MUST(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    show_state(child);
    TRY(kill(child, 0));
    TRY(kill(child, SIGKILL));
    FACT(getpgid(child) == getpgrp());
    reap("zombie", child);
    show_state(child);
    TRY(kill(child, 0));
    return 0;
}
