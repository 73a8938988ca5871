// Reading, writing and naming files through a ring.
#include "ring.h"
#include <linux/openat2.h>
#include <linux/stat.h>
#include <sys/xattr.h>

int main(void) {
    begin();
    struct ring r = ring_make(16, 0, 0);
    fresh_directory();

    next_entry(&r, IORING_OP_MKDIRAT, AT_FDCWD, "folder", 0755, 0, 1);
    run(&r, "mkdir");
    next_entry(&r, IORING_OP_MKDIRAT, AT_FDCWD, "folder", 0755, 0, 1);
    run(&r, "mkdir again");
    next_entry(&r, IORING_OP_OPENAT, AT_FDCWD, "missing", 0, 0, 1)->open_flags = O_RDWR;
    run(&r, "open missing");
    next_entry(&r, IORING_OP_OPENAT, AT_FDCWD, "file", 0644, 0, 1)->open_flags = O_RDWR | O_CREAT;
    submit(&r, 1);
    int fd = take(&r).res;
    FACT(fd >= 0);
    FACT(fcntl(fd, F_GETFD));

    char buffer[64] = "";
    next_entry(&r, IORING_OP_WRITE, fd, "hello world", 11, 0, 1);
    run(&r, "write at 0");
    FACT(lseek(fd, 0, SEEK_CUR));
    next_entry(&r, IORING_OP_WRITE, fd, "HELLO", 5, (uint64_t)-1, 2);
    run(&r, "write at the position");
    FACT(lseek(fd, 0, SEEK_CUR));
    next_entry(&r, IORING_OP_READ, fd, buffer, sizeof buffer, (uint64_t)-1, 3);
    run(&r, "read at the position");
    puts(buffer);
    next_entry(&r, IORING_OP_READ, fd, buffer, sizeof buffer, 100, 3);
    run(&r, "read beyond the end");
    struct iovec parts[2] = {{buffer, 3}, {buffer + 32, 4}};
    next_entry(&r, IORING_OP_READV, fd, parts, 2, 1, 4);
    run(&r, "readv");
    printf("%.3s %.4s\n", buffer, buffer + 32);
    next_entry(&r, IORING_OP_WRITEV, fd, parts, 2, 20, 5);
    run(&r, "writev");
    show("file");

    // Errors of the file come as results, one by one.
    next_entry(&r, IORING_OP_READ, 99, buffer, 1, 0, 1);
    next_entry(&r, IORING_OP_WRITE, fd, (void *)16, 8, 0, 2);
    next_entry(&r, IORING_OP_READ, fd, (void *)16, 8, 0, 3);
    next_entry(&r, IORING_OP_READV, fd, (void *)16, 2, 0, 4);
    submit(&r, 0);
    while (ring_enter(r.fd, 1, 0, 0, NULL, 0) > 0) {}
    show_results(&r, "errors", 4);

    next_entry(&r, IORING_OP_FSYNC, fd, NULL, 0, 0, 1);
    next_entry(&r, IORING_OP_FSYNC, fd, NULL, 0, 0, 2)->fsync_flags = IORING_FSYNC_DATASYNC;
    next_entry(&r, IORING_OP_FALLOCATE, fd, (void *)8192, 0, 0, 3);
    next_entry(&r, IORING_OP_FADVISE, fd, NULL, 100, 0, 4)->fadvise_advice = POSIX_FADV_WILLNEED;
    run(&r, "fsync, fallocate, fadvise");
    struct statx attributes;
    next_entry(&r, IORING_OP_STATX, AT_FDCWD, "file", STATX_ALL, (uintptr_t)&attributes, 1);
    run(&r, "statx");
    FACT(attributes.stx_size);
    FACT(attributes.stx_mode);
    next_entry(&r, IORING_OP_STATX, fd, "", STATX_ALL, (uintptr_t)&attributes, 1)->statx_flags = AT_EMPTY_PATH;
    run(&r, "statx of a descriptor");
    next_entry(&r, IORING_OP_STATX, AT_FDCWD, (void *)16, STATX_ALL, (uintptr_t)&attributes, 1);
    run(&r, "statx, bad path");

    next_entry(&r, IORING_OP_RENAMEAT, AT_FDCWD, "file", (unsigned)AT_FDCWD, (uintptr_t)"renamed", 1);
    run(&r, "rename");
    next_entry(&r, IORING_OP_LINKAT, AT_FDCWD, "renamed", (unsigned)AT_FDCWD, (uintptr_t)"hard", 1);
    next_entry(&r, IORING_OP_SYMLINKAT, AT_FDCWD, "renamed", 0, (uintptr_t)"soft", 2);
    run(&r, "links");
    show("hard");
    FACT(access("soft", F_OK));
    next_entry(&r, IORING_OP_UNLINKAT, AT_FDCWD, "hard", 0, 0, 1);
    next_entry(&r, IORING_OP_UNLINKAT, AT_FDCWD, "folder", 0, 0, 2);
    next_entry(&r, IORING_OP_UNLINKAT, AT_FDCWD, "folder", 0, 0, 3)->unlink_flags = AT_REMOVEDIR;
    run(&r, "unlink");

    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_NO_SYMLINKS};
    next_entry(&r, IORING_OP_OPENAT2, AT_FDCWD, "soft", sizeof how, (uintptr_t)&how, 1);
    run(&r, "openat2 of a symlink");

    // Splice: a file into a pipe and back, with the offsets in the entry.
    int ends[2];
    MUST(pipe(ends));
    struct io_uring_sqe *sqe = next_entry(&r, IORING_OP_SPLICE, ends[1], NULL, 5, (uint64_t)-1, 1);
    sqe->splice_fd_in = fd, sqe->splice_off_in = 6;
    run(&r, "splice in");
    sqe = next_entry(&r, IORING_OP_SPLICE, fd, NULL, 5, 0, 1);
    sqe->splice_fd_in = ends[0], sqe->splice_off_in = (uint64_t)-1;
    run(&r, "splice out");
    memset(buffer, 0, sizeof buffer);
    MUST(pread(fd, buffer, 11, 0));
    puts(buffer);

    next_entry(&r, IORING_OP_CLOSE, fd, NULL, 0, 0, 1);
    run(&r, "close");
    next_entry(&r, IORING_OP_CLOSE, fd, NULL, 0, 0, 1);
    run(&r, "close again");
    next_entry(&r, IORING_OP_CLOSE, r.fd, NULL, 0, 0, 1);
    run(&r, "close the ring");
    return 0;
}
