// User and group ids, and how root gives them up.
#include "../claim.h"

#include <grp.h>
#include <sys/fsuid.h>
static void show_ids(void) {
    uid_t r, e, s;
    gid_t rg, eg, sg;
    getresuid(&r, &e, &s);
    getresgid(&rg, &eg, &sg);
    printf("%d %d %d / %d %d %d\n", r, e, s, rg, eg, sg);
}
int main(void) {
    begin();
    FACT(getuid() == geteuid());
    TRY(setresuid(-1, -1, -1));
    if (geteuid() != 0) return 0;
    pid_t child = MUST(fork());
    if (child == 0) {
        gid_t groups[3] = {5, 6, 7};
        TRY(setgroups(3, groups));
        TRY(getgroups(0, NULL));
        TRY(getgroups(2, groups));
        TRY(setresgid(100, 200, 300));
        TRY(setresuid(1000, 2000, 0));
        show_ids();
        TRY(seteuid(0));
        show_ids();
        TRY(setuid(1234));
        show_ids();
        TRY(setuid(0));
        TRY(seteuid(0));
        TRY(setgroups(0, NULL));
        TRY(setresgid(1, 1, 1));
        TRY(setregid(200, 100));
        show_ids();
        FACT(setfsuid(-1));
        TRY(kill(getppid(), 0));
        TRY(chown("/", 1, 1));
        TRY(chroot("/"));
        TRY(sethostname("x", 1));
        _exit(0);
    }
    reap("child", child);
    return 0;
}
