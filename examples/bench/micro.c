// Times small operations of the operating system: the same binary runs natively and in the LibOS.
//
//     micro NAME ROUNDS [PROGRAM]     prints nanoseconds per operation
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *program = "/bin/true";
static int to_child[2], to_parent[2], file;
static int word;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

// A trapped system call with a trivial handler: no grant covers umask(2).
static void trapped(long rounds) {
    while (rounds--) umask(022);
}

static void stat_file(long rounds) {
    struct stat st;
    while (rounds--) if (stat("/tmp/micro-file", &st) != 0) fail("stat");
}

static void open_close(long rounds) {
    while (rounds--) {
        int fd = open("/tmp/micro-file", O_RDONLY);
        if (fd < 0) fail("open");
        close(fd);
    }
}

static void read_4k(long rounds) {
    static char page[4096];
    while (rounds--) if (pread(file, page, sizeof page, 0) != sizeof page) fail("pread");
}

static void pipe_ping_pong(long rounds) {
    char byte = 0;
    while (rounds--) {
        if (write(to_child[1], &byte, 1) != 1 || read(to_parent[0], &byte, 1) != 1) fail("ping-pong");
    }
}

static void futex_pass(int from, int to) {
    while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) != from)
        syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, to, NULL, NULL, 0);
    __atomic_store_n(&word, to, __ATOMIC_RELEASE);
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *futex_partner(void *rounds) {
    for (long i = (long)rounds; i > 0; i--) futex_pass(1, 0);
    return NULL;
}

static void futex_ping_pong(long rounds) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, futex_partner, (void *)rounds) != 0) fail("pthread_create");
    while (rounds--) futex_pass(0, 1);
    pthread_join(thread, NULL);
}

static void fork_wait(long rounds) {
    while (rounds--) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        if (child < 0 || waitpid(child, NULL, 0) != child) fail("fork");
    }
}

static void fork_exec(long rounds) {
    while (rounds--) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            execl(program, program, "nothing", "0", NULL);
            _exit(127);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) fail("fork and exec");
    }
}

static void nothing(long rounds) {
    (void)rounds;
}

static const struct {
    const char *name;
    void (*run)(long rounds);
} benchmarks[] = {
    {"trapped", trapped}, {"stat", stat_file}, {"open_close", open_close}, {"read_4k", read_4k},
    {"pipe", pipe_ping_pong}, {"futex", futex_ping_pong}, {"fork", fork_wait}, {"exec", fork_exec}, {"nothing", nothing},
};

// The other end of the pipes: echoes until its input ends.
static void echo(void) {
    char byte;
    close(to_child[1]);
    while (read(to_child[0], &byte, 1) == 1) if (write(to_parent[1], &byte, 1) != 1) break;
    _exit(0);
}

static void prepare(const char *name) {
    static char page[4096];
    file = open("/tmp/micro-file", O_RDWR | O_CREAT, 0644);
    if (file < 0 || pwrite(file, page, sizeof page, 0) != sizeof page) fail("/tmp/micro-file");
    if (strcmp(name, "pipe") != 0) return;
    if (pipe(to_child) != 0 || pipe(to_parent) != 0) fail("pipe");
    if (fork() == 0) echo();
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s NAME ROUNDS [PROGRAM]\n", argv[0]);
        return 2;
    }
    long rounds = atol(argv[2]);
    if (argc > 3) program = argv[3];
    for (size_t i = 0; i < sizeof benchmarks / sizeof *benchmarks; i++) {
        if (strcmp(benchmarks[i].name, argv[1]) != 0) continue;
        if (rounds <= 0) return 0;
        prepare(argv[1]);
        benchmarks[i].run(rounds / 10 + 1); // warm up
        double start = now();
        benchmarks[i].run(rounds);
        printf("%.1f\n", (now() - start) / rounds);
        return 0;
    }
    fprintf(stderr, "%s: no such benchmark\n", argv[1]);
    return 2;
}
