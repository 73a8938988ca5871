// Linux AIO by its raw system calls: contexts, reads and writes, polls, events, cancellation, eventfds.
#include "../claim.h"
#include <linux/aio_abi.h>
#include <sys/eventfd.h>

static aio_context_t context;

static long setup(unsigned count, aio_context_t *target) { return syscall(SYS_io_setup, count, target); }
static long destroy(aio_context_t which) { return syscall(SYS_io_destroy, which); }
static long submit(long count, struct iocb **list) { return syscall(SYS_io_submit, context, count, list); }
static long get(long least, long most, struct io_event *events, struct timespec *timeout) {
    return syscall(SYS_io_getevents, context, least, most, events, timeout);
}

static struct iocb make(int opcode, int fd, const void *buffer, size_t size, long long offset, uint64_t data) {
    return (struct iocb){.aio_lio_opcode = (uint16_t)opcode, .aio_fildes = (uint32_t)fd, .aio_buf = (uintptr_t)buffer,
                         .aio_nbytes = size, .aio_offset = offset, .aio_data = data};
}

static int by_data(const void *a, const void *b) {
    const struct io_event *left = a, *right = b;
    return left->data < right->data ? -1 : left->data > right->data;
}

static void events(const char *what, long least, long most) {
    struct io_event found[16];
    long count = get(least, most, found, NULL);
    if (count < 0) { printf("%s: %s\n", what, errno_name(errno)); return; }
    qsort(found, (size_t)count, sizeof found[0], by_data);
    for (long i = 0; i < count; i++) {
        long long result = found[i].res;
        printf("%s: %llu: ", what, (unsigned long long)found[i].data);
        if (result < 0) puts(errno_name((int)-result));
        else printf("%lld\n", result);
    }
}

static void one(const char *what, struct iocb request) {
    struct iocb *list[1] = {&request};
    long taken = submit(1, list);
    if (taken != 1) printf("%s: submitted %ld %s\n", what, taken, taken < 0 ? errno_name(errno) : "");
    else events(what, 1, 1);
}

int main(void) {
    begin();
    fresh_directory();
    TRY(setup(0, &context));
    context = 1;
    TRY(setup(4, &context));
    context = 0;
    TRY(setup(4, (aio_context_t *)16));
    TRY(setup(8, &context));
    FACT(context != 0);
    TRY(destroy(context + 4096));

    int fd = MUST(open("file", O_RDWR | O_CREAT, 0644)), ends[2];
    MUST(pipe(ends));
    char buffer[64] = "";
    one("write", make(IOCB_CMD_PWRITE, fd, "hello aio", 9, 0, 1));
    one("read", make(IOCB_CMD_PREAD, fd, buffer, sizeof buffer, 6, 2));
    puts(buffer);
    struct iovec parts[2] = {{"ab", 2}, {"cde", 3}}, in[2] = {{buffer, 2}, {buffer + 8, 4}};
    one("writev", make(IOCB_CMD_PWRITEV, fd, parts, 2, 20, 3));
    one("readv", make(IOCB_CMD_PREADV, fd, in, 2, 19, 4));
    printf("%.1s %.4s\n", buffer + 1, buffer + 8);
    one("fsync", make(IOCB_CMD_FSYNC, fd, NULL, 0, 0, 5));
    one("fdatasync", make(IOCB_CMD_FDSYNC, fd, NULL, 0, 0, 6));
    one("bad descriptor", make(IOCB_CMD_PREAD, 99, buffer, 4, 0, 7));
    one("not open for it", make(IOCB_CMD_PREAD, MUST(open("file", O_WRONLY)), buffer, 4, 0, 8));
    one("bad buffer", make(IOCB_CMD_PREAD, fd, (void *)16, 4, 0, 9));
    one("negative offset", make(IOCB_CMD_PREAD, fd, buffer, 4, -1, 9));
    one("no such operation", make(77, fd, buffer, 4, 0, 9));
    one("end of file", make(IOCB_CMD_PREAD, fd, buffer, 4, 1000, 9));
    struct iocb reserved = make(IOCB_CMD_PREAD, fd, buffer, 4, 0, 9);
    reserved.aio_reserved2 = 1;
    one("reserved", reserved);

    // Several at once; a wrong one ends the batch.
    struct iocb many[4];
    struct iocb *list[5];
    for (int i = 0; i < 4; i++) many[i] = make(IOCB_CMD_PWRITE, fd, "0123", 4, 4 * i, 10 + (uint64_t)i), list[i] = &many[i];
    TRY(submit(0, list));
    TRY(submit(-1, list));
    TRY(submit(4, list));
    events("many", 4, 4);
    show("file");
    many[2].aio_fildes = 99;
    TRY(submit(4, list));
    events("until the wrong one", 2, 4);
    list[0] = (struct iocb *)16;
    TRY(submit(4, list));

    // A poll waits; it can be cancelled.
    struct iocb poll_in = make(IOCB_CMD_POLL, ends[0], (void *)(POLLIN | POLLRDNORM), 0, 0, 20);
    list[0] = &poll_in;
    TRY(submit(1, list));
    struct timespec brief = {0, 10000000}, none = {0, 0};
    struct io_event found[8];
    TRY(get(1, 4, found, &brief));
    TRY(get(0, 4, found, &none));
    MUST(write(ends[1], "x", 1));
    events("poll", 1, 4);
    MUST(read(ends[0], buffer, 1));
    TRY(submit(1, list));
    TRY(syscall(SYS_io_cancel, context, &poll_in, found));
    events("cancelled", 1, 4);
    TRY(syscall(SYS_io_cancel, context, &poll_in, found));

    // Events counted by an eventfd.
    int counter = MUST(eventfd(0, EFD_NONBLOCK));
    struct iocb told = make(IOCB_CMD_PWRITE, fd, "told", 4, 0, 30);
    told.aio_flags = IOCB_FLAG_RESFD, told.aio_resfd = (uint32_t)counter;
    one("told", told);
    uint64_t value = 0;
    TRY(read(counter, &value, 8));
    FACT(value);
    told.aio_resfd = (uint32_t)fd;
    one("no eventfd", told);

    // Errors of waiting, and a signal.
    TRY(get(2, 1, found, &none));
    TRY(get(-1, 1, found, &none));
    TRY(syscall(SYS_io_getevents, 12345, 0, 1, found, &none));
    handle(SIGALRM, count_signal, SA_RESTART);
    struct itimerval soon = {.it_value = {0, 20000}};
    MUST(setitimer(ITIMER_REAL, &soon, NULL));
    TRY(get(1, 1, found, NULL));
    FACT(caught);
    bound();

    // A child has the descriptor, but not the context.
    pid_t child = MUST(fork());
    if (child == 0) _exit(get(0, 1, found, &none) == -1 ? errno : 0);
    reap("child", child);
    TRY(destroy(context));
    TRY(destroy(context));
    TRY(get(0, 1, found, &none));
    return 0;
}
