// clone(2) with tid pointers, CLONE_FILES and CLONE_FS, and what it refuses.
#include "../claim.h"

static int changed(void *fd) {
    close(*(int *)fd);
    chdir("/");
    _exit(0);
}
int main(void) {
    begin();
    static char stack[65536] __attribute__((aligned(16)));
    pid_t parent_tid = 0, child_tid = 0;
    long child = syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, 0, &parent_tid, &child_tid, 0);
    if (child == 0) {
        printf("in the child: %d\n", child_tid == getpid());
        _exit(0);
    }
    reap("clone", child);
    FACT(parent_tid == child);
    FACT(child_tid);
    char path[PATH_MAX];
    chdir("/tmp");
    int fd = MUST(dup(0));
    child = MUST(clone(changed, stack + sizeof stack, SIGCHLD, &fd));
    reap("copied", child);
    TRY(fcntl(fd, F_GETFD));
    puts(getcwd(path, sizeof path));
    child = MUST(clone(changed, stack + sizeof stack, CLONE_FILES | CLONE_FS | SIGCHLD, &fd));
    reap("shared", child);
    TRY(fcntl(fd, F_GETFD));
    puts(getcwd(path, sizeof path));
    TRY(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
    TRY(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0));
    TRY(syscall(SYS_clone, CLONE_FS | CLONE_NEWNS, 0, 0, 0, 0));
    child = MUST(clone(changed, stack + sizeof stack, 0, &fd));
    TRY(waitpid(child, NULL, 0));
    FACT(waitpid(child, NULL, __WALL) == child);
    return 0;
}
