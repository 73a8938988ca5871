// Socket options: what each holds from the start, which values it takes, and what it gives back, for a fresh socket, a
// listening one, a connected one, and datagram sockets of both families.
#include "loopback.h"
#include "version6.h"

#include <netinet/tcp.h>
#include <netinet/udp.h>

struct option {
    const char *text;
    int level, name;
};
#define OPTION(level, name) {#name, level, name}

static const struct option general[] = {
    OPTION(SOL_SOCKET, SO_REUSEADDR), OPTION(SOL_SOCKET, SO_REUSEPORT), OPTION(SOL_SOCKET, SO_KEEPALIVE),
    OPTION(SOL_SOCKET, SO_BROADCAST), OPTION(SOL_SOCKET, SO_OOBINLINE), OPTION(SOL_SOCKET, SO_DONTROUTE),
    OPTION(SOL_SOCKET, SO_TYPE), OPTION(SOL_SOCKET, SO_DOMAIN), OPTION(SOL_SOCKET, SO_PROTOCOL),
    OPTION(SOL_SOCKET, SO_ACCEPTCONN), OPTION(SOL_SOCKET, SO_TIMESTAMP),
    OPTION(SOL_SOCKET, SO_SNDLOWAT), OPTION(SOL_SOCKET, SO_BUSY_POLL), OPTION(SOL_SOCKET, 9999),
};
static const struct option ip[] = {
    OPTION(SOL_IP, IP_TTL), OPTION(SOL_IP, IP_TOS), OPTION(SOL_IP, IP_PKTINFO), OPTION(SOL_IP, IP_RECVTTL),
    OPTION(SOL_IP, IP_RECVTOS), OPTION(SOL_IP, IP_RECVERR), OPTION(SOL_IP, IP_MTU_DISCOVER),
    OPTION(SOL_IP, IP_FREEBIND), OPTION(SOL_IP, IP_MINTTL), OPTION(SOL_IP, IP_MULTICAST_TTL),
    OPTION(SOL_IP, IP_MULTICAST_LOOP), OPTION(SOL_IP, IP_UNICAST_IF),
    OPTION(SOL_IP, IP_BIND_ADDRESS_NO_PORT),
};
static const struct option ip6[] = {
    OPTION(SOL_IPV6, IPV6_V6ONLY), OPTION(SOL_IPV6, IPV6_UNICAST_HOPS), OPTION(SOL_IPV6, IPV6_MULTICAST_HOPS),
    OPTION(SOL_IPV6, IPV6_MULTICAST_LOOP), OPTION(SOL_IPV6, IPV6_RECVPKTINFO), OPTION(SOL_IPV6, IPV6_RECVHOPLIMIT),
    OPTION(SOL_IPV6, IPV6_RECVTCLASS), OPTION(SOL_IPV6, IPV6_TCLASS), OPTION(SOL_IPV6, IPV6_RECVERR),
    OPTION(SOL_IPV6, IPV6_MTU_DISCOVER), OPTION(SOL_IPV6, 250),
};
static const struct option tcp[] = {
    OPTION(SOL_TCP, TCP_NODELAY), OPTION(SOL_TCP, TCP_CORK), OPTION(SOL_TCP, TCP_KEEPIDLE),
    OPTION(SOL_TCP, TCP_KEEPINTVL), OPTION(SOL_TCP, TCP_KEEPCNT), OPTION(SOL_TCP, TCP_SYNCNT),
    OPTION(SOL_TCP, TCP_LINGER2), OPTION(SOL_TCP, TCP_DEFER_ACCEPT), OPTION(SOL_TCP, TCP_QUICKACK),
    OPTION(SOL_TCP, TCP_USER_TIMEOUT), OPTION(SOL_TCP, TCP_FASTOPEN), OPTION(SOL_TCP, TCP_FASTOPEN_CONNECT),
    OPTION(SOL_TCP, TCP_NOTSENT_LOWAT), OPTION(SOL_TCP, TCP_INQ), OPTION(SOL_TCP, TCP_SAVE_SYN),
    OPTION(SOL_TCP, 99),
};
static const struct option udp[] = {OPTION(SOL_UDP, UDP_CORK), OPTION(SOL_UDP, 77)};

static void get(int fd, const struct option *one) {
    int value[4] = {0};
    socklen_t size = sizeof value;
    if (getsockopt(fd, one->level, one->name, value, &size) < 0) printf(" %s", errno_name(errno));
    else printf(" %d/%d", size >= 4 ? value[0] : value[0] & 255, size);
}

static void try_all(const char *what, int fd, const struct option *options, int count) {
    static const int values[] = {0, 1, 3, 7, 255, 256, -1, 40000};
    for (int i = 0; i < count; i++) {
        printf("%s %s:", what, options[i].text);
        get(fd, &options[i]);
        for (unsigned j = 0; j < sizeof values / sizeof values[0]; j++) {
            printf(", %d", values[j]);
            // What Linux gives back in more than an int, or doubles, differs between its versions.
            if (setsockopt(fd, options[i].level, options[i].name, &values[j], sizeof values[j]) < 0)
                printf(" %s", errno_name(errno));
            else get(fd, &options[i]);
        }
        short brief = 1;
        int result = setsockopt(fd, options[i].level, options[i].name, &brief, sizeof brief);
        printf(", short %s\n", result < 0 ? errno_name(errno) : "ok");
    }
}
#define TRY_ALL(fd, options) try_all(what, fd, options, sizeof options / sizeof options[0])

static void all_of(const char *what, int fd) {
    TRY_ALL(fd, ip);
    TRY_ALL(fd, ip6);
    TRY_ALL(fd, tcp);
    TRY_ALL(fd, udp);
    TRY_ALL(fd, general);
}

int main(void) {
    begin();
    need_version6();
    // As root some more is allowed, which a container would not: ask as anybody does.
    if (geteuid() == 0) MUST(setresuid(1000, 1000, 1000));
    int listener = MUST(socket(AF_INET, SOCK_STREAM, 0)), client = MUST(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in name = bind_anywhere(listener);
    MUST(listen(listener, 5));
    MUST(connect(client, (void *)&name, sizeof name));
    all_of("fresh", MUST(socket(AF_INET, SOCK_STREAM, 0)));
    all_of("listening", listener);
    all_of("connected", client);
    all_of("version 6", MUST(socket(AF_INET6, SOCK_STREAM, 0)));
    all_of("datagram", MUST(socket(AF_INET, SOCK_DGRAM, 0)));
    all_of("datagram 6", MUST(socket(AF_INET6, SOCK_DGRAM, 0)));
    return 0;
}
