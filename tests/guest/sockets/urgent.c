// TCP's urgent data: MSG_OOB, SO_OOBINLINE, SIOCATMARK, POLLPRI, select's third set, and SIGURG for the owner.
#include "loopback.h"

#include <sys/select.h>

static int client, server;
static volatile sig_atomic_t signals;

static void count(int signo) {
    (void)signo;
    signals++;
}

static void connect_pair(int in_line) {
    int listener = MUST(socket(AF_INET, SOCK_STREAM, 0));
    if (in_line) MUST(setsockopt(listener, SOL_SOCKET, SO_OOBINLINE, &in_line, sizeof in_line));
    connect_by(listener, &client, &server);
}

static void send_urgent(const char *text) {
    MUST(send(client, text, strlen(text), MSG_OOB));
    struct pollfd one = {server, POLLPRI, 0};
    MUST(poll(&one, 1, 5000));
}

static void state(void) {
    struct pollfd one = {server, POLLIN | POLLPRI, 0};
    int mark = -1, unread = -1;
    MUST(poll(&one, 1, 0));
    MUST(ioctl(server, SIOCATMARK, &mark));
    MUST(ioctl(server, FIONREAD, &unread));
    printf("events %x, at mark %d, unread %d\n", one.revents, mark, unread);
}

static void take(int flags) {
    char text[64] = "";
    errno = 0;
    long count = recv(server, text, sizeof text - 1, flags | MSG_DONTWAIT);
    if (count < 0) printf("recv %x: %s\n", flags, errno_name(errno));
    else printf("recv %x: %ld \"%s\"\n", flags, count, text);
}

static void apart(void) {
    connect_pair(0);
    state();
    take(MSG_OOB);
    MUST(send(client, "before", 6, 0));
    send_urgent("in!");
    MUST(send(client, "after", 5, 0));
    state();
    take(MSG_OOB | MSG_PEEK);
    take(MSG_OOB);
    take(MSG_OOB);
    take(MSG_PEEK);
    take(0);
    state();
    take(0);
    state();
    take(0);
    // One that nobody takes is gone when the reader has passed it.
    send_urgent("lost?");
    take(0);
    MUST(send(client, "next", 4, 0));
    take(0);
    take(MSG_OOB);
}

static void in_line(void) {
    connect_pair(1);
    MUST(send(client, "one", 3, 0));
    send_urgent("!");
    MUST(send(client, "two", 3, 0));
    state();
    take(MSG_OOB);
    take(0);
    state();
    take(0);
    state();
}

static void told(void) {
    connect_pair(0);
    signal(SIGURG, count);
    TRY(fcntl(server, F_SETOWN, getpid()));
    FACT(fcntl(server, F_GETOWN) == getpid());
    send_urgent("x");
    while (!signals) usleep(1000);
    FACT(signals);
    fd_set urgent;
    FD_ZERO(&urgent);
    FD_SET(server, &urgent);
    TRY(select(server + 1, NULL, NULL, &urgent, &(struct timeval){5, 0}));
    FACT(FD_ISSET(server, &urgent));
    take(MSG_OOB);
    MUST(send(client, "plain", 5, 0));
    MUST(poll(&(struct pollfd){server, POLLIN, 0}, 1, 5000));
    FACT(signals);
    int owner = 0;
    TRY(ioctl(server, SIOCSPGRP, &owner));
    send_urgent("y");
    FACT(signals);
}

int main(void) {
    begin();
    apart();
    in_line();
    told();
    return 0;
}
