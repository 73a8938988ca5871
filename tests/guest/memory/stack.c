// The stack grows by itself up to its limit.
#include "../claim.h"

static int descend(int depth) {
    volatile char frame[16384];
    frame[0] = frame[16383] = 1;
    return depth == 0 ? 0 : descend(depth - 1) + frame[0];
}
int main(void) {
    begin();
    FACT(descend(200));
    pid_t child = MUST(fork());
    if (child == 0) {
        struct rlimit limit = {1 << 20, 1 << 20}, none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        setrlimit(RLIMIT_STACK, &limit);
        descend(1000);
        _exit(0);
    }
    reap("beyond the limit", child);
    return 0;
}
