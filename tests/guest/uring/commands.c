// What an io_uring asks of sockets by URING_CMD (io_uring_prep_cmd_sock of liburing): bytes that wait, and options.
#include "../sockets/loopback.h"
#include "ring.h"
#include <netinet/tcp.h>

// Of Linux 6.7; that the host has all of them is told by an operation that came soon after.
enum { INQ, OUTQ, GET_OPTION, SET_OPTION, LATER_OPERATION = 55, COMMAND = 46 };

static struct ring r;

static struct io_uring_sqe *command(int fd, uint32_t what, uint32_t level, uint32_t name, void *value, uint32_t size) {
    struct io_uring_sqe *sqe = next_entry(&r, COMMAND, fd, (void *)((uint64_t)name << 32 | level), 0, what, what);
    sqe->file_index = size;
    *(uint64_t *)((char *)sqe + 48) = (uint64_t)value;
    return sqe;
}

static void connect_pair(int *client, int *server) {
    int listener = MUST(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in name = bind_anywhere(listener);
    MUST(listen(listener, 1));
    *client = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(*client, (void *)&name, sizeof name));
    *server = MUST(accept(listener, NULL, NULL));
    command(listener, INQ, 0, 0, NULL, 0);
    run(&r, "bytes that wait at a listener");
    close(listener);
}

int main(void) {
    begin();
    r = ring_make(8, 0, 0);
    need_operation(&r, LATER_OPERATION);
    int client, server, value = -1;
    connect_pair(&client, &server);
    MUST(write(client, "hello", 5));
    struct pollfd there = {server, POLLIN, 0};
    MUST(poll(&there, 1, 1000));
    command(server, INQ, 0, 0, NULL, 0);
    run(&r, "bytes that wait");
    command(server, OUTQ, 0, 0, NULL, 0);
    run(&r, "bytes that were not taken");
    command(server, GET_OPTION, SOL_SOCKET, SO_TYPE, &value, sizeof value);
    run(&r, "the type");
    FACT(value);
    command(server, GET_OPTION, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value);
    run(&r, "an option of TCP is not read");
    command(server, GET_OPTION, SOL_SOCKET, SO_TYPE, &value, 2);
    run(&r, "a short one");
    command(server, GET_OPTION, SOL_SOCKET, SO_TYPE, &value, (uint32_t)-1);
    run(&r, "a length that can't be");
    command(server, GET_OPTION, SOL_SOCKET, 9999, &value, sizeof value);
    run(&r, "no such option");
    command(server, GET_OPTION, SOL_SOCKET, SO_TYPE, (void *)8, sizeof value);
    run(&r, "nowhere");
    value = 1;
    command(server, SET_OPTION, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value);
    run(&r, "set");
    command(server, SET_OPTION, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value);
    run(&r, "set one of TCP");
    command(server, SET_OPTION, SOL_SOCKET, SO_KEEPALIVE, &value, 1);
    run(&r, "set a short one");
    command(server, SET_OPTION, SOL_SOCKET, SO_KEEPALIVE, (void *)8, sizeof value);
    run(&r, "set from nowhere");
    value = -1;
    socklen_t size = sizeof value;
    MUST(getsockopt(server, IPPROTO_TCP, TCP_NODELAY, &value, &size));
    FACT(value);
    command(server, 77, 0, 0, NULL, 0);
    run(&r, "no such command");
    command(server, INQ, 0, 0, NULL, 0)->off |= 1UL << 32;
    run(&r, "with what must be 0");
    int ends[2], pair[2];
    MUST(pipe(ends));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    command(ends[0], INQ, 0, 0, NULL, 0);
    run(&r, "of a pipe");
    command(pair[0], INQ, 0, 0, NULL, 0);
    run(&r, "of a unix socket");
    command(pair[0], GET_OPTION, SOL_SOCKET, SO_TYPE, &value, sizeof value);
    run(&r, "an option of a unix socket");
    command(99, INQ, 0, 0, NULL, 0);
    run(&r, "of nothing");
    int slot = server;
    MUST(ring_register(r.fd, IORING_REGISTER_FILES, &slot, 1));
    command(0, INQ, 0, 0, NULL, 0)->flags = IOSQE_FIXED_FILE;
    run(&r, "of a registered socket");
    return 0;
}
