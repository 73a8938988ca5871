// A guest that takes all that it can get, by ordinary system calls. argument 1: of what. It says why it stopped.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE (16L << 20)

static void stopped(const char *what) { printf("%s: %s\n", what, strerrorname_np(errno)); }

// Every process makes two more until none can; then they all wait.
static void forks(void) {
    for (;;) {
        pid_t child = fork();
        if (child < 0) {
            stopped("fork");
            pause();
        }
    }
}

// Processes that all live in the memory of one, each waiting for its child; the last one waits for ever.
static void borrowed_memory(void) {
    size_t size = 96L << 20;
    memset(malloc(size), 1, size);
    for (volatile int depth = 0; depth < 4; depth++)
        if (vfork() != 0) _exit(0);
    (void)!write(1, "borrowed\n", 9);
    pause();
}

static void *wait_for_ever(void *argument) {
    pause();
    return argument;
}

static void threads(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 16384);
    while ((errno = pthread_create(&thread, &attributes, wait_for_ever, NULL)) == 0) {}
    stopped("pthread_create");
}

static void descriptors(void) {
    while (open("/dev/null", O_RDONLY) >= 0) {}
    stopped("open");
    int pair[2];
    close(3);
    if (pipe(pair) != 0) stopped("pipe");
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) stopped("socketpair");
    if (dup(0) >= 0 && dup(0) < 0) stopped("dup");
    struct rlimit limit = {1 << 30, 1 << 30};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) stopped("setrlimit");
}

// Files, pipes and sockets, each process as many as it may have, in many processes.
static void everything_open(void) {
    for (int i = 0; i < 20; i++) {
        if (fork() != 0) continue;
        int pair[2];
        for (;;) {
            if (open("/etc/passwd", O_RDONLY) < 0) break;
            if (pipe(pair) == 0) (void)!write(pair[1], "x", 1);
            if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0) (void)!write(pair[1], "x", 1);
        }
        stopped("open");
        exit(0);
    }
    while (wait(NULL) > 0) {}
}

static void memory(int flags, const char *what) {
    for (;;) {
        char *piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (piece == MAP_FAILED) break;
        memset(piece, 1, PIECE);
        // What is not resident is in use all the same.
        if (flags & MAP_SHARED) madvise(piece, PIECE, MADV_DONTNEED);
    }
    stopped(what);
}

// Pages of a sparse file that only mappings have filled.
static void sparse_file(void) {
    long size = 1L << 40;
    int fd = open("/tmp/sparse", O_RDWR | O_CREAT, 0600);
    if (ftruncate(fd, size) != 0) return stopped("ftruncate");
    for (long at = 0; at < size; at += PIECE) {
        char *piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
        if (piece == MAP_FAILED) return stopped("mmap");
        memset(piece, 1, PIECE);
        munmap(piece, PIECE);
    }
}

// Files that have no name any more and are mapped still.
static void unlinked_files(void) {
    for (;;) {
        int fd = open("/tmp/unlinked", O_RDWR | O_CREAT, 0600);
        if (fd < 0 || ftruncate(fd, PIECE) != 0) return stopped("ftruncate");
        char *piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        unlink("/tmp/unlinked");
        close(fd);
        if (piece == MAP_FAILED) return stopped("mmap");
        memset(piece, 1, PIECE);
        munmap(piece + 4096, PIECE - 4096);
    }
}

static void upper_layer(void) {
    static char bytes[1 << 20];
    int fd = open("/tmp/full", O_WRONLY | O_CREAT, 0600);
    while (write(fd, bytes, sizeof bytes) > 0) {}
    stopped("write");
    if (mkdir("/tmp/one-more", 0700) != 0) stopped("mkdir");
    unlink("/tmp/full");
    if (close(fd) != 0) stopped("close");
    fd = open("/tmp/again", O_WRONLY | O_CREAT, 0600);
    printf("after unlink: %s\n", write(fd, bytes, 4096) == 4096 ? "ok" : strerrorname_np(errno));
}

static void names(void) {
    char name[64];
    for (long i = 0;; i++) {
        snprintf(name, sizeof name, "/tmp/%ld", i);
        if (mkdir(name, 0700) != 0) break;
    }
    stopped("mkdir");
}

static void pipes(void) {
    static char bytes[1 << 20];
    for (int i = 0; i < 64; i++) {
        if (fork() != 0) continue;
        int pair[2];
        while (pipe2(pair, O_NONBLOCK) == 0) {
            fcntl(pair[1], F_SETPIPE_SZ, sizeof bytes);
            while (write(pair[1], bytes, sizeof bytes) > 0) {}
        }
        pause();
    }
    puts("filled");
    pause();
}

// One long write of pages that take no memory themselves: the kernel must not make a copy of them all.
static void long_write(void) {
    long size = 2047L << 20;
    char *zeros = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int fd = open("/dev/null", O_WRONLY);
    printf("write: %ld\n", (long)write(fd, zeros, size) >> 20);
    fd = open("/dev/zero", O_RDONLY);
    printf("read: %d\n", read(fd, zeros, size) > 0);
}

static void *spin(void *argument) {
    for (;;) {}
    return argument;
}

static void loops(void) {
    pthread_t thread;
    puts("looping");
    for (int i = 0; i < 4; i++) pthread_create(&thread, NULL, spin, NULL);
    for (;;) getpid();
}

static void signals(void) {
    puts("sending");
    signal(SIGRTMIN, SIG_IGN);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    signal(SIGRTMIN, SIG_DFL);
    union sigval value = {0};
    while (sigqueue(getpid(), SIGRTMIN, value) == 0) {}
    stopped("sigqueue");
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IONBF, 0);
    if (!strcmp(what, "forks")) forks();
    else if (!strcmp(what, "threads")) threads();
    else if (!strcmp(what, "descriptors")) descriptors();
    else if (!strcmp(what, "everything open")) everything_open();
    else if (!strcmp(what, "memory")) memory(MAP_PRIVATE | MAP_ANONYMOUS, "mmap");
    else if (!strcmp(what, "shared memory")) memory(MAP_SHARED | MAP_ANONYMOUS, "mmap");
    else if (!strcmp(what, "borrowed memory")) borrowed_memory();
    else if (!strcmp(what, "sparse file")) sparse_file();
    else if (!strcmp(what, "unlinked files")) unlinked_files();
    else if (!strcmp(what, "upper layer")) upper_layer();
    else if (!strcmp(what, "names")) names();
    else if (!strcmp(what, "pipes")) pipes();
    else if (!strcmp(what, "long write")) long_write();
    else if (!strcmp(what, "loops")) loops();
    else if (!strcmp(what, "signals")) signals();
    else if (!strcmp(what, "crash")) *(volatile int *)8 = 1;
    else if (!strcmp(what, "wild jump")) ((void (*)(void))0x123456789)();
    else return 99;
    return 0;
}
