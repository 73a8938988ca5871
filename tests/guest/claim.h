// What every guest program shares. A program makes one claim about Linux's ABI by printing facts, one a
// line: never an address, a pid, a time or a path that differs between two runs. The same binary runs
// natively and in the LibOS, and both must print the same and end with the same status.
#ifndef CLAIM_H
#define CLAIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// No program runs longer than this many seconds, whatever goes wrong.
#define TIME_LIMIT 20

static inline const char *errno_name(int number) {
    static char unknown[16];
#define NAME(e) case e: return #e
    switch (number) {
        NAME(EPERM); NAME(ENOENT); NAME(ESRCH); NAME(EINTR); NAME(EIO); NAME(ENXIO); NAME(E2BIG); NAME(ENOEXEC);
        NAME(EBADF); NAME(ECHILD); NAME(EAGAIN); NAME(ENOMEM); NAME(EACCES); NAME(EFAULT); NAME(ENOTBLK);
        NAME(EBUSY); NAME(EEXIST); NAME(EXDEV); NAME(ENODEV); NAME(ENOTDIR); NAME(EISDIR); NAME(EINVAL);
        NAME(ENFILE); NAME(EMFILE); NAME(ENOTTY); NAME(ETXTBSY); NAME(EFBIG); NAME(ENOSPC); NAME(ESPIPE);
        NAME(EROFS); NAME(EMLINK); NAME(EPIPE); NAME(EDOM); NAME(ERANGE); NAME(EDEADLK); NAME(ENAMETOOLONG);
        NAME(ENOLCK); NAME(ENOSYS); NAME(ENOTEMPTY); NAME(ELOOP); NAME(ENODATA); NAME(ETIME); NAME(EOVERFLOW);
        NAME(ENOTSOCK); NAME(EDESTADDRREQ); NAME(EMSGSIZE); NAME(EPROTOTYPE); NAME(ENOPROTOOPT);
        NAME(EPROTONOSUPPORT); NAME(ESOCKTNOSUPPORT); NAME(EOPNOTSUPP); NAME(EAFNOSUPPORT); NAME(EADDRINUSE);
        NAME(EADDRNOTAVAIL); NAME(ECONNRESET); NAME(EISCONN); NAME(ENOTCONN); NAME(ETIMEDOUT);
        NAME(ECONNREFUSED); NAME(EALREADY); NAME(EINPROGRESS); NAME(ECANCELED); NAME(EOWNERDEAD);
        NAME(ENOTRECOVERABLE);
    }
#undef NAME
    snprintf(unknown, sizeof unknown, "errno %d", number);
    return unknown;
}

// Prints a call and what it returned, or the name of its error.
#define TRY(call) do { \
        errno = 0; \
        long result_ = (long)(call); \
        if (result_ == -1 && errno) printf("%s: %s\n", #call, errno_name(errno)); \
        else printf("%s: %ld\n", #call, result_); \
    } while (0)

// Prints a call and whether it went well: for results that differ between runs.
#define OK(call) do { \
        errno = 0; \
        long result_ = (long)(call); \
        printf("%s: %s\n", #call, result_ == -1 && errno ? errno_name(errno) : "ok"); \
    } while (0)

// Prints the value of an expression.
#define FACT(value) printf("%s: %lld\n", #value, (long long)(value))

// For what must go well before a claim can be made at all.
#define MUST(call) ({ \
        __typeof__(call) must_ = (call); \
        if ((long)must_ == -1) { printf("line %d: %s: %s\n", __LINE__, #call, errno_name(errno)); exit(99); } \
        must_; \
    })

static inline void bound(void) { alarm(TIME_LIMIT); }

static inline void begin(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    bound();
    pthread_atfork(NULL, NULL, bound);
    umask(022);
}

// Prints how a process ended, as wait(2) tells it.
static inline void report(const char *what, int status) {
    if (WIFEXITED(status)) printf("%s: exited %d\n", what, WEXITSTATUS(status));
    else if (WIFSIGNALED(status)) printf("%s: killed by %d\n", what, WTERMSIG(status));
    else if (WIFSTOPPED(status)) printf("%s: stopped by %d\n", what, WSTOPSIG(status));
    else if (WIFCONTINUED(status)) printf("%s: continued\n", what);
}

// Waits for a child and prints how it ended.
static inline void reap(const char *what, pid_t child) {
    int status = 0;
    MUST(waitpid(child, &status, 0));
    report(what, status);
}

static inline void pause_ms(int ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&time, &time) == -1 && errno == EINTR) {}
}

static inline long long now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st; (void)type; (void)ftw;
    return remove(path);
}

static char claim_directory[64];
static pid_t claim_owner;

static inline void remove_directory(void) {
    if (getpid() == claim_owner && chdir("/") == 0) nftw(claim_directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

// Goes to a fresh directory that is removed at exit.
static inline void fresh_directory(void) {
    strcpy(claim_directory, "/tmp/claim-XXXXXX");
    if (mkdtemp(claim_directory) == NULL || chdir(claim_directory) != 0) { puts("no fresh directory"); exit(99); }
    MUST(chmod(".", 0755));
    claim_owner = getpid();
    atexit(remove_directory);
}

// Makes or replaces a file.
static inline void put(const char *path, const char *text) {
    int fd = MUST(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text)) { puts("short write"); exit(99); }
    close(fd);
}

// Prints a file's text.
static inline void show(const char *path) {
    char text[512] = "";
    int fd = open(path, O_RDONLY);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (size < 0) printf("%s: %s\n", path, errno_name(errno));
    else printf("%s: \"%.*s\"\n", path, (int)size, text);
    if (fd >= 0) close(fd);
}

// The path of this program.
static inline const char *self(void) {
    static char path[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size < 0) { puts("no /proc/self/exe"); exit(99); }
    path[size] = 0;
    return path;
}

// A signal handler that counts, and a way to install it.
static volatile sig_atomic_t caught, caught_number;
static inline void count_signal(int number) { caught++; caught_number = number; }

static inline void handle(int number, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    MUST(sigaction(number, &action, NULL));
}

#endif
