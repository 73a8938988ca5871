// A descriptor that is closed, or a process that forks, while a thread waits on the socket: the wait goes on, as the
// call holds the socket, and no byte is lost or comes twice.
#include "loopback.h"
#include "../asleep.h"

#include <sys/epoll.h>

static int client, server;
static pthread_t thread;
static char got[256];
static long result;
static int failure;

static void connect_pair(void) {
    connect_by(MUST(socket(AF_INET, SOCK_STREAM, 0)), &client, &server);
}

static void *receive(void *argument) {
    (void)argument;
    memset(got, 0, sizeof got);
    about_to_wait();
    result = recv(server, got, sizeof got, 0);
    failure = errno;
    return NULL;
}

static void *read_some(void *argument) {
    static char large[100000];
    (void)argument;
    about_to_wait();
    result = read(server, large, sizeof large);
    failure = errno;
    memcpy(got, large, sizeof got);
    return NULL;
}

static void *receive_all(void *argument) {
    (void)argument;
    memset(got, 0, sizeof got);
    about_to_wait();
    result = recv(server, got, 10, MSG_WAITALL);
    failure = errno;
    return NULL;
}

static void *accept_one(void *argument) {
    about_to_wait();
    result = accept(*(int *)argument, NULL, NULL);
    failure = errno;
    return NULL;
}

static void start(void *(*what)(void *), void *argument) {
    nobody_waits();
    pthread_create(&thread, NULL, what, argument);
    wait_until_asleep();
}

static void finish(const char *what) {
    pthread_join(thread, NULL);
    if (result < 0) printf("%s: %s\n", what, errno_name(failure));
    else printf("%s: %ld \"%s\"\n", what, result, got);
}

static void closed_while_receiving(void) {
    connect_pair();
    start(receive, NULL);
    close(server);
    TRY(send(client, "still there", 11, MSG_NOSIGNAL));
    finish("recv");
    // The last reference is gone with the call: now the other side sees the end.
    TRY(recv(client, got, 1, 0));
    close(client);
    connect_pair();
    start(read_some, NULL);
    close(server);
    TRY(send(client, "and here", 8, MSG_NOSIGNAL));
    finish("read");
    TRY(recv(client, got, 1, 0));
    close(client);
    connect_pair();
    start(receive_all, NULL);
    TRY(send(client, "01234", 5, 0));
    close(server);
    TRY(send(client, "56789", 5, MSG_NOSIGNAL));
    finish("recv of all");
    close(client);
}

static void shut_while_receiving(void) {
    connect_pair();
    start(receive, NULL);
    TRY(shutdown(server, SHUT_RDWR));
    finish("recv of a socket shut down");
    TRY(recv(client, got, 1, 0));
    close(client);
    close(server);
}

static int listen_anywhere(struct sockaddr_in *name) {
    int listener = MUST(socket(AF_INET, SOCK_STREAM, 0));
    *name = bind_anywhere(listener);
    MUST(listen(listener, 16));
    return listener;
}

static void closed_while_accepting(void) {
    struct sockaddr_in name;
    int listener = listen_anywhere(&name), kept = listener;
    start(accept_one, &kept);
    close(listener);
    client = MUST(socket(AF_INET, SOCK_STREAM, 0));
    TRY(connect(client, (void *)&name, sizeof name));
    pthread_join(thread, NULL);
    FACT(result >= 0);
    close(client);
    if (result >= 0) close(result);
    client = MUST(socket(AF_INET, SOCK_STREAM, 0));
    TRY(connect(client, (void *)&name, sizeof name));
    close(client);
    listener = kept = listen_anywhere(&name);
    start(accept_one, &kept);
    TRY(shutdown(listener, SHUT_RD));
    finish("accept of a socket shut down");
    close(listener);
}

static void closed_while_sending(void) {
    connect_pair();
    int size = 20000;
    setsockopt(client, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    pid_t child = fork();
    if (child == 0) {
        close(client);
        unsigned sum = 0, count = 0;
        static unsigned char bytes[65536];
        long part;
        while ((part = recv(server, bytes, sizeof bytes, 0)) > 0)
            for (long i = 0; i < part; i++) sum = sum * 31 + bytes[i], count++;
        printf("received %u bytes, sum %x, end %ld\n", count, sum, part);
        fflush(stdout);
        _exit(0);
    }
    close(server);
    static unsigned char bytes[2000000];
    unsigned sum = 0;
    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = i * 7 + (i >> 8), sum = sum * 31 + bytes[i];
    int copy = dup(client);
    close(client);
    printf("sent %zd bytes, sum %x\n", send(copy, bytes, sizeof bytes, 0), sum);
    fflush(stdout);
    close(copy);
    MUST(waitpid(child, NULL, 0));
}

// Several processes read one socket: every byte goes to one of them.
static void forked_while_receiving(void) {
    connect_pair();
    int pipes[2];
    MUST(pipe(pipes));
    start(receive, NULL);
    pid_t child = fork();
    if (child == 0) {
        close(client);
        char byte;
        while (recv(server, &byte, 1, 0) == 1) MUST(write(pipes[1], &byte, 1));
        _exit(0);
    }
    close(pipes[1]);
    for (char letter = 'a'; letter <= 'z'; letter++) MUST(send(client, &letter, 1, 0));
    shutdown(client, SHUT_WR);
    pthread_join(thread, NULL);
    static char all[64];
    long count = result < 0 ? 0 : result;
    memcpy(all, got, count);
    char byte;
    while (recv(server, &byte, 1, 0) == 1) all[count++] = byte;
    while (read(pipes[0], &byte, 1) == 1) all[count++] = byte;
    MUST(waitpid(child, NULL, 0));
    int seen[256] = {0}, wrong = 0;
    for (long i = 0; i < count; i++) seen[(unsigned char)all[i]]++;
    for (int letter = 'a'; letter <= 'z'; letter++) wrong += seen[letter] != 1;
    FACT(count);
    FACT(wrong);
    close(client);
    close(server);
}

static void closed_in_epoll(void) {
    connect_pair();
    int epoll = MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN, .data.fd = server};
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, server, &event));
    int copy = dup(server);
    close(server);
    MUST(send(client, "x", 1, 0));
    TRY(epoll_wait(epoll, &event, 1, 5000));
    close(copy);
    TRY(epoll_wait(epoll, &event, 1, 0));
    TRY(recv(client, got, 1, 0));
    close(client);
    close(epoll);
}

int main(void) {
    begin();
    setvbuf(stdout, NULL, _IOLBF, 0);
    closed_while_receiving();
    shut_while_receiving();
    closed_while_accepting();
    closed_while_sending();
    forked_while_receiving();
    closed_in_epoll();
    return 0;
}
