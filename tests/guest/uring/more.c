// Less common operations: attributes, tee, epoll, direct sockets, messages that go on, tags, asynchronous ones.
#include "ring.h"
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>

static struct ring r;

int main(void) {
    begin();
    r = ring_make(16, 0, 0);
    fresh_directory();
    char buffer[64] = "", pool[4][128];
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0644)), ends[2], others[2], pair[2];
    MUST(pipe(ends)), MUST(pipe(others)), MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));

    // Extended attributes: the path stands in addr3.
    struct io_uring_sqe *sqe = next_entry(&r, IORING_OP_SETXATTR, 0, "user.a", 5, (uintptr_t)"value", 1);
    sqe->addr3 = (uintptr_t)"file";
    sqe = next_entry(&r, IORING_OP_FSETXATTR, fd, "user.b", 2, (uintptr_t)"xy", 2);
    run(&r, "set");
    sqe = next_entry(&r, IORING_OP_GETXATTR, 0, "user.b", 60, (uintptr_t)buffer, 1);
    sqe->addr3 = (uintptr_t)"file";
    run(&r, "get");
    next_entry(&r, IORING_OP_FGETXATTR, fd, "user.a", 60, (uintptr_t)buffer, 1);
    next_entry(&r, IORING_OP_FGETXATTR, fd, "user.c", 60, (uintptr_t)(buffer + 32), 2);
    run(&r, "get by descriptor");
    puts(buffer);

    // Tee.
    MUST(write(ends[1], "twice", 5));
    sqe = next_entry(&r, IORING_OP_TEE, others[1], NULL, 10, 0, 1);
    sqe->splice_fd_in = ends[0];
    run(&r, "tee");
    MUST(read(ends[0], buffer, 5));
    MUST(read(others[0], buffer + 5, 5));
    printf("%.10s\n", buffer);

    // Epoll.
    int epoll = MUST(epoll_create1(0));
    struct epoll_event event = {EPOLLIN, {.u32 = 9}}, found;
    next_entry(&r, IORING_OP_EPOLL_CTL, epoll, &event, EPOLL_CTL_ADD, (uint64_t)ends[0], 1);
    next_entry(&r, IORING_OP_EPOLL_CTL, epoll, &event, EPOLL_CTL_ADD, (uint64_t)fd, 2);
    run(&r, "epoll_ctl");
    MUST(write(ends[1], "x", 1));
    FACT(epoll_wait(epoll, &found, 1, 0));
    FACT(found.data.u32);
    next_entry(&r, IORING_OP_POLL_ADD, epoll, NULL, 0, 0, 1)->poll32_events = POLLIN;
    run(&r, "poll an epoll");
    MUST(read(ends[0], buffer, 1));

    // Asynchronous from the start, and advice.
    next_entry(&r, IORING_OP_WRITE, fd, "later", 5, 0, 1)->flags = IOSQE_ASYNC;
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 2)->flags = IOSQE_ASYNC;
    run(&r, "asynchronous");
    show("file");
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    next_entry(&r, IORING_OP_MADVISE, -1, memory, 4096, 0, 1)->fadvise_advice = MADV_WILLNEED;
    run(&r, "advice");
    next_entry(&r, IORING_OP_SYNC_FILE_RANGE, fd, NULL, 100, 0, 1)->sync_range_flags = SYNC_FILE_RANGE_WRITE;
    run(&r, "sync_file_range");

    // Reading with buffers to choose from; a vector of one.
    next_entry(&r, IORING_OP_PROVIDE_BUFFERS, 4, pool[0], 128, 0, 1)->buf_group = 1;
    next_entry(&r, IORING_OP_PROVIDE_BUFFERS, 0, pool[0], 128, 0, 2)->buf_group = 1;
    submit(&r, 2);
    ring_enter(r.fd, 1, 0, 0, NULL, 0);
    show_results(&r, "provide", 2);
    sqe = next_entry(&r, IORING_OP_READ, fd, NULL, 3, 1, 1);
    sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = 1;
    submit(&r, 1);
    struct io_uring_cqe cqe = take(&r);
    printf("chosen for a file: %d %.*s\n", cqe.res, cqe.res, pool[cqe.flags >> IORING_CQE_BUFFER_SHIFT]);

    // A message whose buffer is chosen, and messages that go on.
    struct iovec any = {NULL, 0};
    struct msghdr header = {.msg_iov = &any, .msg_iovlen = 1};
    sqe = next_entry(&r, IORING_OP_RECVMSG, pair[0], &header, 1, 0, 1);
    sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = 1;
    FACT(submit(&r, 0));
    MUST(write(pair[1], "message", 7));
    cqe = take(&r);
    printf("chosen for a message: %d %.*s\n", cqe.res, cqe.res, pool[cqe.flags >> IORING_CQE_BUFFER_SHIFT]);
    struct msghdr layout = {.msg_controllen = 32};
    sqe = next_entry(&r, IORING_OP_RECVMSG, pair[0], &layout, 1, 0, 5);
    sqe->ioprio = IORING_RECV_MULTISHOT, sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = 1;
    FACT(submit(&r, 0));
    for (int i = 0; i < 2; i++) {
        char byte = (char)('a' + i);
        union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr head; } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
        struct iovec one = {&byte, 1};
        struct msghdr out = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = i ? control.bytes : NULL, .msg_controllen = i ? sizeof control : 0};
        MUST(sendmsg(pair[1], &out, 0));
        cqe = take(&r);
        char *chosen = pool[cqe.flags >> IORING_CQE_BUFFER_SHIFT];
        struct io_uring_recvmsg_out { uint32_t namelen, controllen, payloadlen, flags; } *head = (void *)chosen;
        printf("layout: %d more %d: name %u control %u bytes %u flags 0x%x: %c\n", cqe.res, !!(cqe.flags & IORING_CQE_F_MORE),
               head->namelen, head->controllen, head->payloadlen, head->flags & ~(unsigned)MSG_CMSG_CLOEXEC,
               chosen[sizeof *head + 32]);
    }
    close(pair[1]);
    show_results(&r, "layout ends", 1);

    // Sockets straight into slots.
    struct sockaddr_un name = {AF_UNIX, "socket"};
    int listener = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(bind(listener, (struct sockaddr *)&name, sizeof name));
    MUST(listen(listener, 4));
    int empty[3] = {-1, -1, -1};
    TRY(ring_register(r.fd, IORING_REGISTER_FILES, empty, 3));
    next_entry(&r, IORING_OP_SOCKET, AF_UNIX, NULL, 0, SOCK_STREAM, 1)->file_index = 1;
    run(&r, "socket into a slot");
    next_entry(&r, IORING_OP_ACCEPT, listener, NULL, 0, 0, 2)->file_index = 2;
    next_entry(&r, IORING_OP_CONNECT, 0, &name, 0, sizeof name, 3)->flags = IOSQE_FIXED_FILE;
    run(&r, "both ends in slots");
    next_entry(&r, IORING_OP_SEND, 0, "direct", 6, 0, 1)->flags = IOSQE_FIXED_FILE;
    next_entry(&r, IORING_OP_RECV, 1, buffer, 6, 0, 2)->flags = IOSQE_FIXED_FILE;
    run(&r, "direct");
    printf("%.6s\n", buffer);
    sqe = next_entry(&r, IORING_OP_SPLICE, others[1], NULL, 4, (uint64_t)-1, 1);
    sqe->splice_fd_in = 0, sqe->splice_off_in = (uint64_t)-1, sqe->splice_flags = SPLICE_F_FD_IN_FIXED;
    FACT(submit(&r, 0));
    next_entry(&r, IORING_OP_SEND, 1, "tube", 4, 0, 2)->flags = IOSQE_FIXED_FILE;
    FACT(submit(&r, 2));
    show_results(&r, "splice from a slot", 2);

    // Cancelling by the call that waits for it.
    next_entry(&r, IORING_OP_READ, ends[0], buffer, 4, 0, 7);
    FACT(submit(&r, 0));
    struct io_uring_sync_cancel_reg cancel = {.addr = 7, .timeout = {-1, -1}};
    TRY(ring_register(r.fd, IORING_REGISTER_SYNC_CANCEL, &cancel, 1));
    show_results(&r, "cancelled", 1);
    TRY(ring_register(r.fd, IORING_REGISTER_SYNC_CANCEL, &cancel, 1));

    // Tags tell when a resource is gone.
    TRY(ring_register(r.fd, IORING_UNREGISTER_FILES, NULL, 0));
    uint64_t tags[1] = {99};
    struct io_uring_rsrc_register tagged = {.nr = 1, .data = (uintptr_t)&fd, .tags = (uintptr_t)tags};
    TRY(ring_register(r.fd, IORING_REGISTER_FILES2, &tagged, sizeof tagged));
    TRY(ring_register(r.fd, IORING_UNREGISTER_FILES, NULL, 0));
    show_results(&r, "gone", 1);

    // A ring can't be sent to others.
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr head; } rights = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&rights.head), &r.fd, sizeof r.fd);
    struct iovec byte = {"x", 1};
    struct msghdr carrying = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = rights.bytes, .msg_controllen = sizeof rights};
    TRY(sendmsg(pair[0], &carrying, 0));

    // Wrong entries.
    next_entry(&r, IORING_OP_READ, fd, buffer, 4, 0, 1)->flags = IOSQE_FIXED_FILE;
    run(&r, "no files are registered");
    next_entry(&r, IORING_OP_NOP, -1, NULL, 0, 0, 1)->flags = IOSQE_BUFFER_SELECT;
    run(&r, "nothing to choose a buffer for");
    next_entry(&r, IORING_OP_FSYNC, fd, NULL, 0, 0, 1)->ioprio = 1;
    run(&r, "no priority");
    next_entry(&r, IORING_OP_ACCEPT, fd, NULL, 0, 0, 1)->ioprio = 0x100;
    run(&r, "unknown way to accept");
    next_entry(&r, IORING_OP_RECV, others[0], buffer, 0, 0, 1)->ioprio = IORING_RECV_MULTISHOT;
    run(&r, "multishot without buffers");
    return 0;
}
