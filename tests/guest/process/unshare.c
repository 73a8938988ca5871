// unshare(2): files and places of one's own again, and what it refuses. No namespaces: those need privileges on Linux.
#include "../claim.h"
#include <pthread.h>

static int alone(void *fd) {
    TRY(unshare(CLONE_FILES | CLONE_FS));
    close(*(int *)fd);
    chdir("/");
    fflush(stdout);
    _exit(0);
}
static void *among_others(void *unused) {
    TRY(unshare(CLONE_VM));
    TRY(unshare(CLONE_THREAD));
    TRY(unshare(CLONE_SIGHAND));
    TRY(unshare(CLONE_FS | CLONE_FILES | CLONE_SYSVSEM));
    return unused;
}
int main(void) {
    begin();
    static char stack[65536] __attribute__((aligned(16)));
    char path[PATH_MAX];
    chdir("/tmp");
    int fd = MUST(dup(0));
    reap("unshared", MUST(clone(alone, stack + sizeof stack, CLONE_FILES | CLONE_FS | SIGCHLD, &fd)));
    TRY(fcntl(fd, F_GETFD));
    puts(getcwd(path, sizeof path));
    TRY(unshare(0));
    TRY(unshare(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM));
    TRY(unshare(CLONE_PARENT));
    TRY(unshare(SIGCHLD));
    pthread_t thread;
    pthread_create(&thread, NULL, among_others, NULL);
    pthread_join(thread, NULL);
    return 0;
}
