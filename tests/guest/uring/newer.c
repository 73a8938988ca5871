// Operations that came after Linux 6.1: truncate, bind, listen, waitid, epoll_wait, pipe, vectors of registered
// buffers, reads that go on, descriptors for registered files.
#include "ring.h"
#include <netinet/in.h>
#include <sys/epoll.h>

enum {
    READ_MULTISHOT = 49, WAITID = 50, FIXED_FD_INSTALL = 54, FTRUNCATE = 55, BIND = 56, LISTEN = 57, EPOLL_WAIT = 59,
    READV_FIXED = 60, WRITEV_FIXED = 61, PIPE = 62,
};
static struct ring r;

static void files(void) {
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0644)), reader = MUST(open("file", O_RDONLY));
    next_entry(&r, FTRUNCATE, fd, NULL, 0, 5000, 1);
    run(&r, "truncate");
    FACT(lseek(fd, 0, SEEK_END));
    next_entry(&r, FTRUNCATE, fd, NULL, 0, (uint64_t)-1, 1);
    next_entry(&r, FTRUNCATE, reader, NULL, 0, 1, 2);
    next_entry(&r, FTRUNCATE, 99, NULL, 0, 1, 3);
    run(&r, "can't be");
    next_entry(&r, FTRUNCATE, fd, NULL, 1, 5, 1);
    run(&r, "wrong entry");

    int slots[2] = {fd, -1};
    MUST(ring_register(r.fd, IORING_REGISTER_FILES, slots, 2));
    for (unsigned flags = 0; flags < 3; flags++) {
        struct io_uring_sqe *sqe = next_entry(&r, FIXED_FD_INSTALL, 0, NULL, 0, 0, 1);
        sqe->flags = IOSQE_FIXED_FILE, sqe->rw_flags = (int)flags;
        submit(&r, 1);
        struct io_uring_cqe cqe = take(&r);
        printf("installed %d: %s\n", cqe.res > 0, cqe.res < 0 ? errno_name(-cqe.res) : "");
        if (cqe.res > 0) { TRY(fcntl(cqe.res, F_GETFD)); FACT(lseek(cqe.res, 0, SEEK_END)); close(cqe.res); }
    }
    next_entry(&r, FIXED_FD_INSTALL, fd, NULL, 0, 0, 1);
    run(&r, "not a registered one");
    next_entry(&r, FIXED_FD_INSTALL, 1, NULL, 0, 0, 1)->flags = IOSQE_FIXED_FILE;
    run(&r, "an empty slot");
    MUST(ring_register(r.fd, IORING_UNREGISTER_FILES, NULL, 0));
}

static void vectors(void) {
    static char memory[8192];
    strcpy(memory, "one two three");
    struct iovec whole = {memory, sizeof memory}, parts[2] = {{memory + 4, 3}, {memory, 3}}, in[2] = {{memory + 100, 2}, {memory + 200, 10}};
    struct iovec outside[1] = {{memory + 8190, 3}};
    MUST(ring_register(r.fd, IORING_REGISTER_BUFFERS, &whole, 1));
    int fd = MUST(open("vectors", O_RDWR | O_CREAT, 0644));
    next_entry(&r, WRITEV_FIXED, fd, parts, 2, 0, 1);
    run(&r, "write");
    show("vectors");
    next_entry(&r, READV_FIXED, fd, in, 2, 0, 1);
    run(&r, "read");
    printf("%.2s %.4s\n", memory + 100, memory + 200);
    next_entry(&r, WRITEV_FIXED, fd, outside, 1, 0, 1);
    next_entry(&r, WRITEV_FIXED, fd, parts, 2, 0, 2)->buf_index = 1;
    run(&r, "not registered");
    MUST(ring_register(r.fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
}

static void sockets(void) {
    struct sockaddr_in address = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
    socklen_t length = sizeof address;
    int listener = MUST(socket(AF_INET, SOCK_STREAM, 0)), client = MUST(socket(AF_INET, SOCK_STREAM, 0));
    next_entry(&r, BIND, listener, &address, 0, sizeof address, 1)->flags = IOSQE_IO_LINK;
    next_entry(&r, LISTEN, listener, NULL, 4, 0, 2);
    run(&r, "bind and listen");
    MUST(getsockname(listener, (struct sockaddr *)&address, &length));
    FACT(address.sin_port != 0);
    TRY(connect(client, (struct sockaddr *)&address, sizeof address));
    next_entry(&r, BIND, client, &address, 0, sizeof address, 1);
    next_entry(&r, LISTEN, client, NULL, 4, 0, 2);
    next_entry(&r, BIND, 0x7FFF, &address, 0, sizeof address, 3);
    next_entry(&r, LISTEN, r.fd, NULL, 4, 0, 4);
    run(&r, "can't be");
    next_entry(&r, BIND, listener, &address, 1, sizeof address, 1);
    run(&r, "wrong entry");
    close(listener), close(client);
}

static void children(void) {
    siginfo_t info = {0};
    pid_t child = MUST(fork());
    if (child == 0) { pause_ms(20); _exit(7); }
    struct io_uring_sqe *sqe = next_entry(&r, WAITID, child, NULL, P_PID, (uint64_t)(uintptr_t)&info, 1);
    sqe->file_index = WEXITED;
    run(&r, "waited");
    FACT(info.si_pid == child);
    FACT(info.si_code == CLD_EXITED);
    FACT(info.si_status);
    FACT(info.si_signo);
    next_entry(&r, WAITID, 0, NULL, P_ALL, (uint64_t)(uintptr_t)&info, 1)->file_index = WEXITED;
    run(&r, "no child");
    next_entry(&r, WAITID, 0, NULL, P_ALL, 0, 1)->file_index = 0;
    run(&r, "waits for nothing");
    child = MUST(fork());
    if (child == 0) { pause(); _exit(0); }
    next_entry(&r, WAITID, child, NULL, P_PID, (uint64_t)(uintptr_t)&info, 5)->file_index = WEXITED;
    FACT(submit(&r, 0));
    next_entry(&r, IORING_OP_ASYNC_CANCEL, -1, (void *)5, 0, 0, 6);
    FACT(submit(&r, 2));
    struct io_uring_cqe one = take(&r), two = take(&r);
    print_result("cancelled", one.user_data == 5 ? one : two);
    kill(child, SIGKILL);
    reap("child", child);
}

static void events(void) {
    int epoll = MUST(epoll_create1(0)), ends[2];
    MUST(pipe(ends));
    struct epoll_event event = {EPOLLIN, {.u32 = 42}}, found[4] = {0};
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
    next_entry(&r, EPOLL_WAIT, epoll, found, 4, 0, 1);
    FACT(submit(&r, 0));
    FACT(ready(&r));
    MUST(write(ends[1], "x", 1));
    show_results(&r, "epoll", 1);
    FACT(found[0].data.u32);
    FACT(found[0].events);
    next_entry(&r, EPOLL_WAIT, epoll, found, 0, 0, 1);
    next_entry(&r, EPOLL_WAIT, ends[0], found, 4, 0, 2);
    run(&r, "can't be");
    close(epoll), close(ends[0]), close(ends[1]);
}

static void pipes(void) {
    int ends[2] = {-1, -1}, none[2] = {-1, -1};
    char buffer[8] = "";
    next_entry(&r, PIPE, 0, ends, 0, 0, 1)->rw_flags = O_NONBLOCK | O_CLOEXEC;
    run(&r, "pipe");
    MUST(write(ends[1], "through", 7));
    TRY(read(ends[0], buffer, 7));
    puts(buffer);
    TRY(read(ends[0], buffer, 7));
    TRY(fcntl(ends[0], F_GETFD));
    MUST(ring_register(r.fd, IORING_REGISTER_FILES, none, 2));
    int direct[2] = {-1, -1};
    next_entry(&r, PIPE, 0, direct, 0, 0, 1)->file_index = 1;
    run(&r, "direct");
    printf("%d %d\n", direct[0], direct[1]);
    next_entry(&r, IORING_OP_WRITE, 1, "direct", 6, (uint64_t)-1, 1)->flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK;
    next_entry(&r, IORING_OP_READ, 0, buffer, 6, (uint64_t)-1, 2)->flags = IOSQE_FIXED_FILE;
    run(&r, "through slots");
    printf("%.6s\n", buffer);
    next_entry(&r, PIPE, 0, direct, 0, 0, 1)->file_index = IORING_FILE_INDEX_ALLOC;
    run(&r, "no slots are free");
    MUST(ring_register(r.fd, IORING_UNREGISTER_FILES, NULL, 0));
    MUST(ring_register(r.fd, IORING_REGISTER_FILES, none, 2));
    next_entry(&r, PIPE, 0, direct, 0, 0, 1)->file_index = IORING_FILE_INDEX_ALLOC;
    run(&r, "allocated");
    printf("%d %d\n", direct[0], direct[1]);
    next_entry(&r, PIPE, 0, direct, 0, 0, 1)->rw_flags = O_APPEND;
    run(&r, "wrong flags");
    MUST(ring_register(r.fd, IORING_UNREGISTER_FILES, NULL, 0));
    close(ends[0]), close(ends[1]);
}

static void reads(void) {
    static char pool[4][8];
    int ends[2], fd = MUST(open("vectors", O_RDONLY));
    MUST(pipe(ends));
    next_entry(&r, IORING_OP_PROVIDE_BUFFERS, 3, pool[0], 8, 0, 1)->buf_group = 2;
    run(&r, "provide");
    struct io_uring_sqe *sqe = next_entry(&r, READ_MULTISHOT, ends[0], NULL, 0, (uint64_t)-1, 3);
    sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = 2;
    FACT(submit(&r, 0));
    for (int i = 0; i < 3; i++) {
        MUST(write(ends[1], "again", (size_t)i + 2));
        struct io_uring_cqe cqe = take(&r);
        printf("%d more %d: %.*s\n", cqe.res, !!(cqe.flags & IORING_CQE_F_MORE), cqe.res, pool[cqe.flags >> IORING_CQE_BUFFER_SHIFT]);
    }
    MUST(write(ends[1], "none left", 9));
    show_results(&r, "no buffers", 1);
    next_entry(&r, IORING_OP_PROVIDE_BUFFERS, 3, pool[0], 8, 0, 1)->buf_group = 2;
    run(&r, "provide");
    sqe = next_entry(&r, READ_MULTISHOT, ends[0], NULL, 0, (uint64_t)-1, 3);
    sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = 2;
    close(ends[1]);
    FACT(submit(&r, 0));
    for (int i = 0; i < 3; i++) {
        struct io_uring_cqe cqe = take(&r);
        printf("%d more %d\n", cqe.res, !!(cqe.flags & IORING_CQE_F_MORE));
    }
    next_entry(&r, READ_MULTISHOT, ends[0], pool[0], 8, (uint64_t)-1, 3);
    run(&r, "without a group");
    sqe = next_entry(&r, READ_MULTISHOT, ends[0], NULL, 8, (uint64_t)-1, 3);
    sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = 2;
    run(&r, "with a length");
    sqe = next_entry(&r, READ_MULTISHOT, fd, NULL, 0, 0, 3);
    sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = 2;
    run(&r, "of a file");
    close(ends[0]), close(fd);
}

int main(void) {
    begin();
    r = ring_make(16, 0, 0);
    need_operation(&r, PIPE);
    fresh_directory();
    files();
    vectors();
    sockets();
    children();
    events();
    pipes();
    reads();
    return 0;
}
