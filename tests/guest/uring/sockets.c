// Sockets through a ring: accept, connect, send, receive, messages, multishot, zero-copy, buffers to choose from.
#include "ring.h"
#include <netinet/in.h>

#define GROUP 7
static struct ring r;

static void provide(char *memory, int size, int count, int first) {
    next_entry(&r, IORING_OP_PROVIDE_BUFFERS, count, memory, (unsigned)size, (uint64_t)first, 90)->buf_group = GROUP;
    run(&r, "provide");
}

int main(void) {
    begin();
    r = ring_make(32, 0, 0);
    fresh_directory();
    char buffer[64] = "", pool[8][16];

    // A listener, and both ends made by requests.
    struct sockaddr_un name = {AF_UNIX, "socket"};
    next_entry(&r, IORING_OP_SOCKET, AF_UNIX, NULL, 0, SOCK_STREAM, 1);
    submit(&r, 1);
    int listener = take(&r).res;
    MUST(bind(listener, (struct sockaddr *)&name, sizeof name));
    MUST(listen(listener, 8));
    int client = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    next_entry(&r, IORING_OP_ACCEPT, listener, NULL, 0, 0, 1)->accept_flags = SOCK_CLOEXEC;
    next_entry(&r, IORING_OP_CONNECT, client, &name, 0, sizeof name, 2);
    FACT(submit(&r, 2));
    struct io_uring_cqe a = take(&r), b = take(&r);
    int server = a.user_data == 1 ? a.res : b.res;
    FACT(server > 0);
    FACT((a.user_data == 2 ? a.res : b.res));
    FACT(fcntl(server, F_GETFD));

    next_entry(&r, IORING_OP_SEND, client, "hello", 5, 0, 1);
    next_entry(&r, IORING_OP_RECV, server, buffer, sizeof buffer, 0, 2);
    run(&r, "send and receive");
    puts(buffer);
    next_entry(&r, IORING_OP_RECV, server, buffer, sizeof buffer, 0, 2)->msg_flags = MSG_DONTWAIT;
    run(&r, "not now");
    next_entry(&r, IORING_OP_RECV, server, buffer, 8, 0, 2)->msg_flags = MSG_WAITALL;
    FACT(submit(&r, 0));
    MUST(write(client, "1234", 4));
    pause_ms(5);
    FACT(ready(&r));
    MUST(write(client, "5678", 4));
    show_results(&r, "all of it", 1);

    // A non-blocking socket is waited for; so is one that is read with READ.
    MUST(fcntl(server, F_SETFL, O_NONBLOCK));
    next_entry(&r, IORING_OP_READ, server, buffer, 4, 0, 1);
    FACT(submit(&r, 0));
    FACT(ready(&r));
    MUST(write(client, "data", 4));
    show_results(&r, "non-blocking", 1);

    // Messages.
    struct iovec out = {"message", 7}, in[2] = {{buffer, 3}, {buffer + 8, 20}};
    struct msghdr sent = {.msg_iov = &out, .msg_iovlen = 1}, got = {.msg_iov = in, .msg_iovlen = 2};
    next_entry(&r, IORING_OP_SENDMSG, client, &sent, 1, 0, 1);
    next_entry(&r, IORING_OP_RECVMSG, server, &got, 1, 0, 2);
    run(&r, "messages");
    printf("%.3s %.4s\n", buffer, buffer + 8);

    // Buffers to choose from.
    next_entry(&r, IORING_OP_RECV, server, NULL, 0, 0, 1)->flags = IOSQE_BUFFER_SELECT;
    r.sqes[*r.sq_tail & *r.sq_mask].buf_group = GROUP;
    MUST(write(client, "x", 1));
    run(&r, "no group yet");
    provide(pool[0], 16, 4, 10);
    for (int i = 0; i < 2; i++) {
        next_entry(&r, IORING_OP_RECV, server, NULL, 0, 0, 1)->flags = IOSQE_BUFFER_SELECT;
        r.sqes[*r.sq_tail & *r.sq_mask].buf_group = GROUP;
        if (i) MUST(write(client, "second", 6));
        submit(&r, 1);
        struct io_uring_cqe cqe = take(&r);
        int id = (int)(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
        printf("chosen: %d in a buffer of ours %d: %.*s\n", cqe.res, id >= 10 && id < 14, cqe.res, pool[id - 10]);
    }
    next_entry(&r, IORING_OP_REMOVE_BUFFERS, 8, NULL, 0, 0, 1)->buf_group = GROUP;
    run(&r, "two are left");
    next_entry(&r, IORING_OP_FSYNC, server, NULL, 0, 0, 1)->flags = IOSQE_BUFFER_SELECT;
    run(&r, "not for every operation");

    // A ring of buffers, and a receive that goes on.
    struct io_uring_buf_ring *buffers = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct io_uring_buf_reg registration = {.ring_addr = (uintptr_t)buffers, .ring_entries = 8, .bgid = 3};
    TRY(ring_register(r.fd, IORING_REGISTER_PBUF_RING, &registration, 1));
    TRY(ring_register(r.fd, IORING_REGISTER_PBUF_RING, &registration, 1));
    struct io_uring_buf *entries = (struct io_uring_buf *)buffers;
    for (int i = 0; i < 3; i++) entries[i].addr = (uintptr_t)pool[i], entries[i].len = 16, entries[i].bid = (uint16_t)(20 + i);
    __atomic_store_n(&buffers->tail, 3, __ATOMIC_RELEASE);
    struct io_uring_sqe *sqe = next_entry(&r, IORING_OP_RECV, server, NULL, 0, 0, 5);
    sqe->ioprio = IORING_RECV_MULTISHOT, sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = 3;
    FACT(submit(&r, 0));
    for (int i = 0; i < 3; i++) {
        MUST(write(client, "again", (size_t)i + 2));
        show_results(&r, "multishot", 1);
        printf("%.*s\n", i + 2, pool[i]);
    }
    MUST(write(client, "more", 4));
    show_results(&r, "no buffers left", 1);
    MUST(read(server, buffer, 4));
    TRY(ring_register(r.fd, IORING_UNREGISTER_PBUF_RING, &registration, 1));
    TRY(ring_register(r.fd, IORING_UNREGISTER_PBUF_RING, &registration, 1));

    // Accept that goes on.
    next_entry(&r, IORING_OP_ACCEPT, listener, NULL, 0, 0, 6)->ioprio = IORING_ACCEPT_MULTISHOT;
    FACT(submit(&r, 0));
    for (int i = 0; i < 3; i++) {
        int another = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
        MUST(connect(another, (struct sockaddr *)&name, sizeof name));
        struct io_uring_cqe cqe = take(&r);
        printf("accepted %d flags %u\n", cqe.res > 0, cqe.flags);
        close(another);
    }
    next_entry(&r, IORING_OP_ASYNC_CANCEL, -1, (void *)6, 0, 0, 7);
    FACT(submit(&r, 2));
    show_results(&r, "no more", 2);

    // Sends without copies tell twice.
    next_entry(&r, IORING_OP_SHUTDOWN, client, NULL, SHUT_WR, 0, 1);
    run(&r, "shutdown");
    next_entry(&r, IORING_OP_RECV, server, buffer, 10, 0, 1);
    run(&r, "end");
    close(client);
    next_entry(&r, IORING_OP_SEND, server, "lost", 4, 0, 1);
    run(&r, "no SIGPIPE");
    next_entry(&r, IORING_OP_SEND, 0x7FFF, "lost", 4, 0, 1);
    next_entry(&r, IORING_OP_RECV, r.fd, buffer, 4, 0, 2);
    run(&r, "no socket");

    // TCP, where a name is given and a peer refuses.
    struct sockaddr_in address = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
    socklen_t length = sizeof address;
    int tcp = MUST(socket(AF_INET, SOCK_STREAM, 0)), peer = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    MUST(bind(tcp, (struct sockaddr *)&address, sizeof address));
    MUST(getsockname(tcp, (struct sockaddr *)&address, &length));
    next_entry(&r, IORING_OP_CONNECT, peer, &address, 0, sizeof address, 1);
    run(&r, "refused");
    close(peer);
    MUST(listen(tcp, 4));
    peer = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    struct sockaddr_in from = {0};
    socklen_t from_length = sizeof from;
    next_entry(&r, IORING_OP_ACCEPT, tcp, &from, 0, (uintptr_t)&from_length, 1);
    next_entry(&r, IORING_OP_CONNECT, peer, &address, 0, sizeof address, 2);
    FACT(submit(&r, 2));
    a = take(&r), b = take(&r);
    server = a.user_data == 1 ? a.res : b.res;
    FACT((a.user_data == 2 ? a.res : b.res));
    FACT(from_length);
    FACT(from.sin_family == AF_INET && from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    next_entry(&r, IORING_OP_SEND_ZC, server, "no copies", 9, 0, 1);
    FACT(submit(&r, 2));
    struct io_uring_cqe first = take(&r), second = take(&r);
    print_result("zero-copy", first);
    print_result("zero-copy", second);
    next_entry(&r, IORING_OP_RECV, peer, buffer, 64, 0, 2);
    run(&r, "received");
    return 0;
}
