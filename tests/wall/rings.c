// A guest that abuses io_uring and AIO. argument 1: how; argument 2: the seed of what is random.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define ENTRIES 64
#define ROUNDS 400
#define REGISTRATIONS 27

struct ring {
    int fd;
    uint8_t *rings;
    size_t size;
    struct io_uring_sqe *sqes;
    struct io_uring_params params;
};

static uint64_t state;
static uint8_t arena[1 << 16] __attribute__((aligned(4096)));

static uint64_t any(void) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state * 0x2545F4914F6CDD1DULL;
}

static uint64_t below(uint64_t limit) { return any() % limit; }

static int make_ring(struct ring *r, unsigned entries, unsigned flags) {
    memset(r, 0, sizeof *r);
    r->params.flags = flags;
    r->fd = (int)syscall(__NR_io_uring_setup, entries, &r->params);
    if (r->fd < 0) return -1;
    r->size = r->params.sq_off.array + r->params.sq_entries * 4;
    r->rings = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
    r->sqes = mmap(NULL, r->params.sq_entries * sizeof *r->sqes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
    if (r->rings == MAP_FAILED || (void *)r->sqes == MAP_FAILED) return -1;
    uint32_t *array = (uint32_t *)(r->rings + r->params.sq_off.array);
    for (unsigned i = 0; i < r->params.sq_entries; i++) array[i] = i;
    return 0;
}

static void advance(struct ring *r, unsigned count) {
    uint32_t *tail = (uint32_t *)(r->rings + r->params.sq_off.tail);
    __atomic_store_n(tail, *tail + count, __ATOMIC_RELEASE);
}

static uint32_t next(struct ring *r) {
    return *(uint32_t *)(r->rings + r->params.sq_off.tail) & (r->params.sq_entries - 1);
}

static void reap(struct ring *r) {
    uint32_t *head = (uint32_t *)(r->rings + r->params.cq_off.head);
    *head = *(uint32_t *)(r->rings + r->params.cq_off.tail);
}

// Mostly something that could be meant, sometimes anything.
static uint64_t address(void) {
    switch (below(8)) {
        case 0: return any();
        case 1: return below(4096);
        case 2: return 0;
        default: return (uintptr_t)arena + below(sizeof arena);
    }
}

static void fill(struct io_uring_sqe *sqe) {
    if (below(30) == 0) {
        for (unsigned i = 0; i < sizeof *sqe / 8; i++) ((uint64_t *)sqe)[i] = any();
        if (below(20)) sqe->flags = 0;
        return;
    }
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = (uint8_t)below(66);
    sqe->flags = below(12) ? 0 : (uint8_t)(1 << below(8) | 1 << below(8));
    if (below(400)) sqe->flags &= (uint8_t)~IOSQE_IO_DRAIN;  // what never ends would hold up all that follows
    sqe->ioprio = below(8) ? 0 : (uint16_t)below(16);
    sqe->fd = below(20) ? (int)below(18) : (int)any();
    sqe->off = below(3) ? below(64) : below(2) ? (uint64_t)-1 : address();
    sqe->addr = address();
    sqe->len = below(3) ? (uint32_t)below(64) : below(4) ? (uint32_t)below(sizeof arena) : (uint32_t)any();
    sqe->rw_flags = below(3) ? 0 : (int)below(128);
    sqe->user_data = below(64);
    sqe->buf_index = below(2) ? 0 : (uint16_t)below(4);
    sqe->personality = below(32) ? 0 : (uint16_t)below(3);
    sqe->file_index = below(8) ? 0 : (uint32_t)below(10);
    sqe->addr3 = below(8) ? 0 : address();
    if (below(8) == 0) sqe->addr &= ~4095ULL;
    // Each of its fields would have to be 0 in most entries of some operations.
    if (below(2)) sqe->off = sqe->addr = sqe->len = sqe->rw_flags = sqe->buf_index = 0, sqe->file_index = (uint32_t)below(3);
    // It must not lose what it reports with, nor all its files at once.
    if (sqe->opcode == IORING_OP_CLOSE && below(16)) sqe->opcode = IORING_OP_STATX;
    if (sqe->fd >= 0 && sqe->fd < 3) sqe->fd += 3;
}

static void open_all(void) {
    int ends[2];
    if (pipe2(ends, O_NONBLOCK) || pipe(ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) exit(3);
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends)) exit(3);
    open("/tmp/fuzzed", O_RDWR | O_CREAT, 0644);
    open("/dev/zero", O_RDWR), open("/dev/null", O_RDWR), open("/tmp", O_RDONLY | O_DIRECTORY);
    eventfd(0, EFD_NONBLOCK), timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), epoll_create1(0);
    socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_DGRAM, 0);
    strcpy((char *)arena, "/tmp/fuzzed");
    struct iovec *vector = (struct iovec *)(arena + 64);
    for (int i = 0; i < 8; i++) vector[i] = (struct iovec){arena + 1024 * i, below(2048)};
}

static void fuzz(void) {
    struct ring r;
    open_all();
    if (make_ring(&r, ENTRIES, IORING_SETUP_SUBMIT_ALL)) exit(3);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned count = (unsigned)below(ENTRIES);
        for (unsigned i = 0; i < count; i++) {
            fill(&r.sqes[next(&r)]);
            advance(&r, 1);
        }
        uint32_t flags = below(2) ? IORING_ENTER_GETEVENTS : 0;
        syscall(__NR_io_uring_enter, r.fd, below(2 * ENTRIES), 0, flags, NULL, 0);
        if (below(4) == 0) syscall(__NR_io_uring_register, r.fd, below(REGISTRATIONS + 4), address(), below(4) ? below(5) : any());
        if (below(2)) reap(&r);
        if (below(20) == 0) for (int i = 0; i < 64; i++) ((uint32_t *)r.rings)[below(80)] = (uint32_t)any();
        if (below(10) == 0) {  // begin again
            munmap(r.rings, r.size), munmap(r.sqes, r.params.sq_entries * sizeof *r.sqes);
            close(r.fd);
            unsigned setup = below(4) ? 0 : (unsigned)any() & (IORING_SETUP_IOPOLL | IORING_SETUP_SQPOLL | IORING_SETUP_CQE32);
            for (int fd = 3; fd < 64; fd++) close(fd);
            open_all();
            if (make_ring(&r, ENTRIES, setup | IORING_SETUP_SUBMIT_ALL)) break;
        }
    }
}

static void fuzz_aio(void) {
    open_all();
    aio_context_t context = 0;
    if (syscall(SYS_io_setup, 64, &context)) exit(3);
    for (int round = 0; round < ROUNDS; round++) {
        struct iocb many[16], *list[16];
        for (int i = 0; i < 16; i++) {
            many[i] = (struct iocb){.aio_lio_opcode = (uint16_t)below(10), .aio_fildes = (uint32_t)below(24), .aio_buf = address(),
                                    .aio_nbytes = below(4) ? below(4096) : any(), .aio_offset = (int64_t)below(64),
                                    .aio_flags = (uint32_t)below(3), .aio_resfd = (uint32_t)below(24)};
            if (many[i].aio_fildes < 3) many[i].aio_fildes += 3;
            list[i] = below(20) ? &many[i] : (struct iocb *)address();
            syscall(SYS_io_submit, context, 1, &list[i]);
        }
        struct io_event events[16];
        struct timespec none = {0, 0};
        syscall(SYS_io_getevents, context, 0, below(17), below(8) ? (uint64_t)(uintptr_t)events : address(), &none);
        for (int i = 0; i < 4; i++) syscall(SYS_io_cancel, context, list[below(16)], events);
        if (below(4) == 0) for (int i = 0; i < 8; i++) ((uint32_t *)context)[below(64)] = (uint32_t)any();
        if (below(16) == 0) {
            syscall(SYS_io_destroy, context);
            context = 0;
            if (syscall(SYS_io_setup, 1 + below(100), &context)) break;
        }
    }
}

// Requests that never end, on as many rings as there can be.
static void hoard(void) {
    struct rlimit limit = {1 << 16, 1 << 16};
    setrlimit(RLIMIT_NOFILE, &limit);
    int ends[2];
    if (pipe(ends)) exit(3);
    long requests = 0;
    int rings = 0;
    for (;; rings++) {
        struct ring r;
        if (make_ring(&r, 4096, 0)) break;
        for (;;) {
            for (unsigned i = 0; i < 4096; i++) {
                struct io_uring_sqe *sqe = &r.sqes[i];
                memset(sqe, 0, sizeof *sqe);
                sqe->opcode = IORING_OP_READ, sqe->fd = ends[0], sqe->addr = (uintptr_t)arena, sqe->len = 1;
            }
            advance(&r, 4096);
            long taken = syscall(__NR_io_uring_enter, r.fd, 4096, 0, 0, NULL, 0);
            if (taken > 0) requests += taken;
            if (taken != 4096) break;
        }
        if (rings > 40) break;
    }
    printf("%d rings, %s requests: %s\n", rings > 40, requests > 1000 ? "many" : "few", strerrorname_np(errno));
}

// The memory of a ring is taken away while it is used.
static void *scribble(void *ring) {
    struct ring *r = ring;
    for (;;) for (unsigned i = 0; i < r->params.sq_entries; i++) {
        uint8_t *entry = (uint8_t *)&r->sqes[i];
        entry[0] = (uint8_t)(i % 64);
        memset(entry + 2, (int)i, sizeof r->sqes[i] - 2);
    }
    return NULL;
}

static void race(void) {
    struct ring r;
    open_all();
    if (make_ring(&r, ENTRIES, IORING_SETUP_SUBMIT_ALL)) exit(3);
    pthread_t thread;
    pthread_create(&thread, NULL, scribble, &r);
    for (int round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < ENTRIES; i++) {
            struct io_uring_sqe *sqe = &r.sqes[next(&r)];
            fill(sqe);
            sqe->flags &= (uint8_t)~IOSQE_IO_DRAIN;
            advance(&r, 1);
        }
        syscall(__NR_io_uring_enter, r.fd, ENTRIES, 0, 0, NULL, 0);
        reap(&r);
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    signal(SIGPIPE, SIG_IGN);
    const char *how = argc > 1 ? argv[1] : "fuzz";
    state = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1) * 0x9E3779B97F4A7C15ULL | 1;
    if (strcmp(how, "fuzz") == 0) fuzz();
    else if (strcmp(how, "aio") == 0) fuzz_aio();
    else if (strcmp(how, "hoard") == 0) hoard();
    else race();
    puts("done");
    _exit(0);
}
