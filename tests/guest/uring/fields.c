// Fields of an entry that an operation does not use must be 0.
#include "ring.h"

static struct ring r;
enum { OFF = 1, ADDR = 2, LEN = 4, FLAGS = 8, BUFFER = 16, INDEX = 32, PRIORITY = 64 };

// Sets each of `fields` alone, and all others as given.
static void each(const char *what, int fields, int op, int fd, const void *addr, unsigned length, uint64_t offset) {
    for (int field = OFF; field <= PRIORITY; field <<= 1) {
        if (!(fields & field)) continue;
        struct io_uring_sqe *sqe = next_entry(&r, op, fd, addr, length, offset, 1);
        if (field == OFF) sqe->off = 1;
        if (field == ADDR) sqe->addr = 1;
        if (field == LEN) sqe->len = 1;
        if (field == FLAGS) sqe->rw_flags = 1 << 30;
        if (field == BUFFER) sqe->buf_index = 1;
        if (field == INDEX) sqe->file_index = 1;
        if (field == PRIORITY) sqe->ioprio = 1 << 14;
        printf("field %d ", field);
        run(&r, what);
    }
}

int main(void) {
    begin();
    r = ring_make(16, 0, 0);
    fresh_directory();
    char text[8];
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0644)), slots[2] = {-1, -1};
    const int index = BUFFER | INDEX, none = FLAGS | index | PRIORITY;
    MUST(ring_register(r.fd, IORING_REGISTER_FILES, slots, 2));
    each("fsync", ADDR | none, IORING_OP_FSYNC, fd, NULL, 0, 0);
    each("sync_file_range", ADDR | none, IORING_OP_SYNC_FILE_RANGE, fd, NULL, 0, 0);
    each("fallocate", none, IORING_OP_FALLOCATE, fd, (void *)4096, 0, 0);
    each("fadvise", none, IORING_OP_FADVISE, fd, NULL, 0, 0);
    each("madvise", none, IORING_OP_MADVISE, -1, NULL, 0, 0);
    each("shutdown", OFF | ADDR | none, IORING_OP_SHUTDOWN, fd, NULL, 0, 0);
    each("connect", LEN | none, IORING_OP_CONNECT, fd, text, 0, 2);
    each("accept", LEN | BUFFER | PRIORITY, IORING_OP_ACCEPT, fd, NULL, 0, 0);
    each("epoll_ctl", index | PRIORITY, IORING_OP_EPOLL_CTL, fd, text, 0, 0);
    each("close", OFF | ADDR | LEN | FLAGS | BUFFER | PRIORITY, IORING_OP_CLOSE, 99, NULL, 0, 0);
    each("statx", index | PRIORITY, IORING_OP_STATX, fd, "", 0, (uintptr_t)text);
    each("openat", BUFFER | PRIORITY, IORING_OP_OPENAT, AT_FDCWD, "missing", 0, 0);
    each("renameat", none, IORING_OP_RENAMEAT, AT_FDCWD, "missing", (unsigned)AT_FDCWD, (uintptr_t)"b");
    each("unlinkat", OFF | LEN | none, IORING_OP_UNLINKAT, AT_FDCWD, "missing", 0, 0);
    each("mkdirat", OFF | none, IORING_OP_MKDIRAT, AT_FDCWD, ".", 0, 0);
    each("symlinkat", LEN | none, IORING_OP_SYMLINKAT, AT_FDCWD, ".", 0, (uintptr_t)".");
    each("linkat", none, IORING_OP_LINKAT, AT_FDCWD, "missing", (unsigned)AT_FDCWD, (uintptr_t)"b");
    each("socket", ADDR | FLAGS | BUFFER | PRIORITY, IORING_OP_SOCKET, AF_UNIX, NULL, 0, SOCK_STREAM);
    each("poll_remove", LEN | none, IORING_OP_POLL_REMOVE, -1, (void *)9, 0, 0);
    each("timeout_remove", LEN | none, IORING_OP_TIMEOUT_REMOVE, -1, (void *)9, 0, 0);
    each("cancel", OFF | FLAGS | INDEX | PRIORITY, IORING_OP_ASYNC_CANCEL, -1, (void *)9, 0, 0);
    each("provide", FLAGS | INDEX | PRIORITY, IORING_OP_PROVIDE_BUFFERS, 1, text, 8, 0);
    each("remove", OFF | ADDR | LEN | FLAGS | INDEX | PRIORITY, IORING_OP_REMOVE_BUFFERS, 1, NULL, 0, 0);
    each("files_update", FLAGS | INDEX | PRIORITY, IORING_OP_FILES_UPDATE, 0, slots, 1, 0);
    return 0;
}
