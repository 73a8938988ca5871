// Capabilities follow the user ids.
#include "../claim.h"

struct header { uint32_t version; int pid; };
struct data { uint32_t effective, permitted, inheritable; };
static void effective(const char *what) {
    struct header header = {0x20080522, 0};
    struct data data[2] = {{0}};
    long result = syscall(SYS_capget, &header, data);
    printf("%s: %ld, any effective %d, any permitted %d\n", what, result, data[0].effective != 0, data[0].permitted != 0);
}
int main(void) {
    begin();
    struct header header = {1, 0};
    TRY(syscall(SYS_capget, &header, NULL));
    printf("%#x\n", header.version);
    TRY(prctl(PR_CAPBSET_READ, 77));
    TRY(prctl(PR_GET_KEEPCAPS));
    if (geteuid() != 0) return 0;
    pid_t child = MUST(fork());
    if (child == 0) {
        effective("root");
        MUST(seteuid(1000));
        effective("effective user 1000");
        MUST(seteuid(0));
        effective("root again");
        prctl(PR_SET_KEEPCAPS, 1);
        MUST(setuid(1000));
        effective("user 1000, kept");
        _exit(0);
    }
    reap("keeps", child);
    child = MUST(fork());
    if (child == 0) {
        MUST(setuid(1000));
        effective("user 1000");
        struct header own = {0x20080522, 0};
        struct data all[2] = {{1, 1, 0}, {0, 0, 0}};
        TRY(syscall(SYS_capset, &own, all));
        _exit(0);
    }
    reap("gives up", child);
    return 0;
}
