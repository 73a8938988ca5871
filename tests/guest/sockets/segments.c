// UDP_SEGMENT cuts one send into datagrams, within limits; UDP_GRO receives them in one piece and tells their size.
// Some limits depend on Linux's version: 64 or 128 pieces, and whether a piece too long for the interface is an error
// where nothing is cut.
#include "loopback.h"
#include "version6.h"

#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static int receiver, sender;
static char bytes[1 << 17];

static void show_option(int fd, int option) {
    int value = -1;
    socklen_t size = sizeof value;
    long result = getsockopt(fd, IPPROTO_UDP, option, &value, &size);
    printf("option %d: %ld %d %u\n", option, result, value, size);
}

static int set(int fd, int option, int value) {
    return setsockopt(fd, IPPROTO_UDP, option, &value, sizeof value);
}

// Read all that came: how many datagrams, how long the last ones are, what is told of them.
static void receive(size_t room) {
    char control[64];
    long lengths[3] = {-1, -1, -1};
    int count = 0;
    for (;;) {
        struct iovec part = {bytes, room};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                                 .msg_controllen = sizeof control};
        long length = recvmsg(receiver, &message, MSG_DONTWAIT);
        if (length < 0) break;
        count++;
        lengths[0] = lengths[1], lengths[1] = lengths[2], lengths[2] = length;
        for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
            int segment;
            memcpy(&segment, CMSG_DATA(head), sizeof segment);
            printf("  %ld bytes, flags %x, level %d type %d size %zu: %d\n", length, message.msg_flags, head->cmsg_level,
                   head->cmsg_type, (size_t)head->cmsg_len - CMSG_LEN(0), segment);
        }
    }
    printf("  %d came, the last of %ld %ld %ld\n", count, lengths[0], lengths[1], lengths[2]);
}

static void send_with(int type, const void *data, size_t length) {
    char control[64] = {0};
    struct iovec part = {bytes, 250};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = CMSG_SPACE(length)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = IPPROTO_UDP;
    head->cmsg_type = type;
    head->cmsg_len = CMSG_LEN(length);
    memcpy(CMSG_DATA(head), data, length);
    TRY(sendmsg(sender, &message, 0));
    receive(sizeof bytes);
}

static void limits(void) {
    static const int tries[][2] = {
        {100, 50}, {100, 100}, {100, 101}, {100, 250}, {100, 6400}, {100, 12801}, {1, 64}, {1, 129}, {1472, 65507},
        {1472, 65508}, {1472, 65528}, {65000, 65001}, {9000, 20000}, {0, 1000},
    };
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        MUST(set(sender, UDP_SEGMENT, tries[i][0]));
        printf("%d bytes in pieces of %d\n", tries[i][1], tries[i][0]);
        TRY(send(sender, bytes, tries[i][1], 0));
        receive(sizeof bytes);
    }
}

static void claims(int family) {
    receiver = MUST(socket(family, SOCK_DGRAM, 0));
    sender = MUST(socket(family, SOCK_DGRAM, 0));
    union inet_name name;
    socklen_t size = bind_family(receiver, family, &name);
    MUST(connect(sender, &name.any, size));
    show_option(sender, UDP_SEGMENT);
    show_option(receiver, UDP_GRO);
    static const int values[] = {-1, 0, 1, 2, 65535, 65536};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        TRY(set(sender, UDP_SEGMENT, values[i]));
        show_option(sender, UDP_SEGMENT);
        TRY(set(receiver, UDP_GRO, values[i]));
        show_option(receiver, UDP_GRO);
    }
    TRY(setsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, "\1\0", 2));
    TRY(set(receiver, 99, 1));
    MUST(set(receiver, UDP_GRO, 0));
    limits();
    uint16_t short_one = 100, nothing = 0;
    int long_one = 100;
    MUST(set(sender, UDP_SEGMENT, 60));
    send_with(UDP_SEGMENT, &short_one, sizeof short_one);
    send_with(UDP_SEGMENT, &nothing, sizeof nothing);
    send_with(UDP_SEGMENT, &long_one, sizeof long_one);
    send_with(UDP_GRO, &long_one, sizeof long_one);
    MUST(set(receiver, UDP_GRO, 1));
    MUST(set(sender, UDP_SEGMENT, 100));
    TRY(send(sender, bytes, 350, 0));
    receive(sizeof bytes);
    TRY(send(sender, bytes, 350, 0));
    receive(150);
    TRY(send(sender, bytes, 100, 0));
    receive(sizeof bytes);
    MUST(set(receiver, UDP_GRO, 0));
    TRY(send(sender, bytes, 150, MSG_MORE));
    receive(sizeof bytes);
    TRY(send(sender, bytes, 150, 0));
    receive(sizeof bytes);
    MUST(set(sender, UDP_CORK, 1));
    TRY(send(sender, bytes, 20000, 0));
    receive(sizeof bytes);
    TRY(set(sender, UDP_CORK, 0));
    receive(sizeof bytes);
    int on = 1;
    MUST(setsockopt(sender, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on));
    TRY(send(sender, bytes, 250, 0));
    receive(sizeof bytes);
    close(receiver), close(sender);
}

int main(void) {
    alarm(TIME_LIMIT);
    need_version6();
    claims(AF_INET);
    claims(AF_INET6);
    return 0;
}
