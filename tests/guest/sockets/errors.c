// The queue of errors: notifications of MSG_ZEROCOPY, and IP_RECVERR for datagrams that found nobody.
#include "loopback.h"
#include "version6.h"

#include <linux/errqueue.h>

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif

static uint16_t port;

static void take(int fd, int flags) {
    char text[64] = "", control[256];
    struct sockaddr_storage from = {0};
    struct iovec part = {text, sizeof text};
    struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1,
                             .msg_control = control, .msg_controllen = sizeof control};
    errno = 0;
    long count = recvmsg(fd, &message, flags | MSG_DONTWAIT);
    if (count < 0) {
        printf("  recvmsg %x: %s\n", flags, errno_name(errno));
        return;
    }
    struct sockaddr_in *name = (void *)&from;
    printf("  recvmsg %x: %ld \"%.*s\", flags %x, name %d", flags, count, (int)count, text, message.msg_flags,
           message.msg_namelen ? from.ss_family : -1);
    if (message.msg_namelen && from.ss_family == AF_INET)
        printf(" %x port %s", ntohl(name->sin_addr.s_addr), name->sin_port == port ? "ours" : "another");
    puts("");
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
        struct sock_extended_err *told = (void *)CMSG_DATA(head);
        printf("  level %d type %d size %d: %s, origin %d type %d code %d info %u data %u, offender %d\n",
               head->cmsg_level, head->cmsg_type, (int)(head->cmsg_len - CMSG_LEN(0)), errno_name(told->ee_errno),
               told->ee_origin, told->ee_type, told->ee_code, told->ee_info, told->ee_data,
               SO_EE_OFFENDER(told)->sa_family);
    }
}

static void state(int fd, short events) {
    struct pollfd one = {fd, events, 0};
    MUST(poll(&one, 1, 1000));
    int error = -1;
    socklen_t size = sizeof error;
    MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
    printf("  events %x, error %s\n", one.revents & ~POLLOUT, errno_name(error));
}

static void zero_copy(int family) {
    printf("without a copy, family %d\n", family);
    int listener = MUST(socket(family, SOCK_STREAM, 0));
    struct sockaddr_in6 name = {.sin6_family = family};
    socklen_t size = sizeof name;
    MUST(bind(listener, (void *)&name, family == AF_INET ? sizeof(struct sockaddr_in) : sizeof name));
    MUST(getsockname(listener, (void *)&name, &size));
    MUST(listen(listener, 1));
    int fd = MUST(socket(family, SOCK_STREAM, 0));
    MUST(connect(fd, (void *)&name, size));
    int peer = MUST(accept(listener, NULL, NULL));
    // Without the option the flag means nothing.
    TRY(send(fd, "one", 3, MSG_ZEROCOPY));
    take(fd, MSG_ERRQUEUE);
    TRY(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &(int){2}, sizeof(int)));
    TRY(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &(int){1}, sizeof(int)));
    TRY(send(fd, "two", 3, MSG_ZEROCOPY));
    state(fd, 0);
    take(fd, MSG_ERRQUEUE);
    take(fd, MSG_ERRQUEUE);
    TRY(send(fd, "plain", 5, 0));
    for (int i = 0; i < 3; i++) {
        MUST(send(fd, "more", 4, MSG_ZEROCOPY));
        char text[16];
        MUST(recv(peer, text, sizeof text, 0));
        MUST(poll(&(struct pollfd){fd, 0, 0}, 1, 1000));
    }
    take(fd, MSG_ERRQUEUE);
    close(fd);
    close(peer);
    close(listener);
}

static void refused(void) {
    puts("refused");
    int fd = MUST(socket(AF_INET, SOCK_DGRAM, 0)), gone = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in name = bind_anywhere(gone);
    socklen_t size = sizeof name;
    port = name.sin_port;
    close(gone);
    TRY(sendto(fd, "unheard", 7, 0, (void *)&name, size));
    take(fd, 0);
    TRY(setsockopt(fd, SOL_IP, IP_RECVERR, &(int){1}, sizeof(int)));
    TRY(sendto(fd, "heard", 5, 0, (void *)&name, size));
    take(fd, 0);
    take(fd, MSG_ERRQUEUE);
    take(fd, MSG_ERRQUEUE);
    TRY(sendto(fd, "again", 5, 0, (void *)&name, size));
    state(fd, POLLIN);
    state(fd, POLLIN);
    take(fd, MSG_ERRQUEUE);
    static char large[3000];
    char part[4000];
    TRY(sendto(fd, large, sizeof large, 0, (void *)&name, size));
    TRY(recv(fd, part, sizeof part, MSG_ERRQUEUE | MSG_DONTWAIT));
    close(fd);
}

int main(void) {
    begin();
    need_version6();
    zero_copy(AF_INET);
    zero_copy(AF_INET6);
    refused();
    return 0;
}
