// What a datagram tells beside its bytes (IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IPv6's own), and what a sender may ask
// for in control messages.
#include "loopback.h"
#include "version6.h"

#include <netinet/udp.h>

static int receiver, sender;
static union inet_name name;
static socklen_t size;

static void receive(void) {
    char text[64], control[256];
    struct sockaddr_storage from;
    struct iovec part = {text, sizeof text};
    struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1,
                             .msg_control = control, .msg_controllen = sizeof control};
    long count = recvmsg(receiver, &message, MSG_DONTWAIT);
    if (count < 0) {
        puts("nothing came");
        return;
    }
    printf("%ld bytes from %d, flags %x\n", count, ((uint8_t *)&from)[7], message.msg_flags);
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
        printf("  level %d type %d:", head->cmsg_level, head->cmsg_type);
        for (unsigned i = 0; i < head->cmsg_len - CMSG_LEN(0); i++) {
            // The port of the original destination differs between two runs.
            if (head->cmsg_type == IP_RECVORIGDSTADDR && (i == 2 || i == 3)) continue;
            printf(" %02x", CMSG_DATA(head)[i]);
        }
        puts("");
    }
}

static void open_pair(int family) {
    receiver = MUST(socket(family, SOCK_DGRAM, 0));
    sender = MUST(socket(family, SOCK_DGRAM, 0));
    size = bind_family(receiver, family, &name);
}

static void set(int fd, int level, int option, int value) {
    MUST(setsockopt(fd, level, option, &value, sizeof value));
}

// Send with one control message.
static void send_with(int level, int type, const void *data, size_t length) {
    char control[64] = {0};
    struct iovec part = {"hello", 5};
    struct msghdr message = {.msg_name = &name, .msg_namelen = size, .msg_iov = &part, .msg_iovlen = 1,
                             .msg_control = control, .msg_controllen = CMSG_SPACE(length)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_len = CMSG_LEN(length), head->cmsg_level = level, head->cmsg_type = type;
    memcpy(CMSG_DATA(head), data, length);
    errno = 0;
    long result = sendmsg(sender, &message, 0);
    printf("sendmsg with %d, %d: %s\n", level, type, result < 0 ? errno_name(errno) : "sent");
    if (result >= 0) receive();
}

static void version4(void) {
    open_pair(AF_INET);
    set(receiver, SOL_IP, IP_PKTINFO, 1);
    set(receiver, SOL_IP, IP_RECVTTL, 1);
    set(receiver, SOL_IP, IP_RECVTOS, 1);
    TRY(sendto(sender, "plain", 5, 0, &name.any, size));
    receive();
    set(sender, SOL_IP, IP_TTL, 33);
    set(sender, SOL_IP, IP_TOS, 0x28);
    TRY(sendto(sender, "marked", 6, 0, &name.any, size));
    receive();
    send_with(SOL_IP, IP_TTL, &(int){7}, 4);
    send_with(SOL_IP, IP_TTL, &(int){0}, 4);
    send_with(SOL_IP, IP_TTL, &(int){256}, 4);
    send_with(SOL_IP, IP_TOS, &(int){0x10}, 4);
    send_with(SOL_IP, IP_TOS, &(char){0x08}, 1);
    struct in_pktinfo info = {.ipi_spec_dst = {htonl(0x7f000005)}};
    send_with(SOL_IP, IP_PKTINFO, &info, sizeof info);
    info = (struct in_pktinfo){.ipi_ifindex = 1};
    send_with(SOL_IP, IP_PKTINFO, &info, sizeof info);
    info.ipi_ifindex = 7777;
    send_with(SOL_IP, IP_PKTINFO, &info, sizeof info);
    send_with(SOL_IP, IP_PKTINFO, &info, 4);
    send_with(SOL_IP, 77, &(int){1}, 4);
    send_with(IPPROTO_TCP, 1, &(int){1}, 4);
    send_with(SOL_SOCKET, 1234, &(int){1}, 4);
    set(receiver, SOL_IP, IP_PKTINFO, 0);
    set(receiver, SOL_IP, IP_RECVTTL, 0);
    set(receiver, SOL_IP, IP_RECVTOS, 0);
    set(receiver, SOL_IP, IP_RECVORIGDSTADDR, 1);
    TRY(sendto(sender, "whom", 4, 0, &name.any, size));
    receive();
}

static void version6(void) {
    open_pair(AF_INET6);
    set(receiver, SOL_IPV6, IPV6_RECVPKTINFO, 1);
    set(receiver, SOL_IPV6, IPV6_RECVHOPLIMIT, 1);
    set(receiver, SOL_IPV6, IPV6_RECVTCLASS, 1);
    TRY(sendto(sender, "plain", 5, 0, &name.any, size));
    receive();
    set(sender, SOL_IPV6, IPV6_UNICAST_HOPS, 9);
    set(sender, SOL_IPV6, IPV6_TCLASS, 0x20);
    TRY(sendto(sender, "marked", 6, 0, &name.any, size));
    receive();
    send_with(SOL_IPV6, IPV6_HOPLIMIT, &(int){3}, 4);
    send_with(SOL_IPV6, IPV6_HOPLIMIT, &(int){-1}, 4);
    send_with(SOL_IPV6, IPV6_HOPLIMIT, &(int){300}, 4);
    send_with(SOL_IPV6, IPV6_TCLASS, &(int){0x41}, 4);
    struct in6_pktinfo info = {.ipi6_addr = IN6ADDR_LOOPBACK_INIT};
    send_with(SOL_IPV6, IPV6_PKTINFO, &info, sizeof info);
    info.ipi6_ifindex = 7777;
    send_with(SOL_IPV6, IPV6_PKTINFO, &info, sizeof info);
}

int main(void) {
    begin();
    need_version6();
    version4();
    version6();
    return 0;
}
