// A guest that wants to reach what the network policy forbids: a TCP port, argument 2, and a UDP port, argument 3, of
// the host's loopback interface, IPv4 and IPv6. Argument 1: "forbidden" tries every way there is, one line each;
// "flip" changes the address while the kernel reads it, between the forbidden port and the allowed one, argument 4;
// "address" connects to argument 5; "sockets" fills sockets without end.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static uint16_t tcp_port, udp_port;
static char loot[] = "loot";

static void told(const char *way, long result) {
    printf("%s: %s\n", way, result < 0 ? strerrorname_np(errno) : "done");
}

static struct sockaddr_in in4(uint32_t host, uint16_t port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(host)}};
}

static struct sockaddr_in6 in6(const char *host, uint32_t last, uint16_t port) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (host[0]) memset(&address.sin6_addr.s6_addr[10], 0xff, 2);
    uint32_t word = htonl(last);
    memcpy(&address.sin6_addr.s6_addr[12], &word, 4);
    return address;
}

#define LOOPBACK4 in4(INADDR_LOOPBACK, tcp_port)

// Connect, and send a little if that works.
static void reach(const char *way, int fd, const void *address, socklen_t size) {
    int result = connect(fd, address, size);
    told(way, result);
    if (result == 0) (void)!send(fd, loot, 4, MSG_NOSIGNAL);
}

// -- requests through an io_uring -------------------------------------------------

static int ring, ring_index;
static uint8_t *rings;
static struct io_uring_sqe *entries;
static struct io_uring_params setup;

static void open_ring(void) {
    ring = (int)syscall(__NR_io_uring_setup, 8, &setup);
    if (ring < 0) exit(99);
    size_t size = setup.sq_off.array + setup.sq_entries * 4;
    rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    entries = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
}

static long by_ring(int opcode, int fd, const void *address, uint64_t offset, unsigned length) {
    unsigned place = ring_index++ & (setup.sq_entries - 1);
    memset(&entries[place], 0, sizeof *entries);
    entries[place].opcode = opcode;
    entries[place].fd = fd;
    entries[place].addr = (uintptr_t)address;
    entries[place].off = offset;
    entries[place].len = length;
    ((uint32_t *)(rings + setup.sq_off.array))[place] = place;
    __atomic_add_fetch((uint32_t *)(rings + setup.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (syscall(__NR_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0) return -1;
    uint32_t *head = (uint32_t *)(rings + setup.cq_off.head);
    struct io_uring_cqe *all = (struct io_uring_cqe *)(rings + setup.cq_off.cqes);
    int result = all[*head & (setup.cq_entries - 1)].res;
    __atomic_add_fetch(head, 1, __ATOMIC_RELEASE);
    errno = result < 0 ? -result : 0;
    return result < 0 ? -1 : result;
}

// -- streams ----------------------------------------------------------------------

static int tcp(void) { return socket(AF_INET, SOCK_STREAM, 0); }
static int tcp6(void) { return socket(AF_INET6, SOCK_STREAM, 0); }

static void streams(void) {
    struct sockaddr_in plain = LOOPBACK4, any = in4(0, tcp_port), other = in4(0x7f000002, tcp_port);
    struct sockaddr_in6 mapped = in6("m", INADDR_LOOPBACK, tcp_port), mapped_any = in6("m", 0, tcp_port);
    struct sockaddr_in6 wild = in6("", 0, tcp_port), one = in6("", 1, tcp_port);
    struct sockaddr_in6 compatible = in6("", INADDR_LOOPBACK, tcp_port);
    reach("connect", tcp(), &plain, sizeof plain);
    reach("0.0.0.0", tcp(), &any, sizeof any);
    reach("mapped", tcp6(), &mapped, sizeof mapped);
    reach("mapped 0.0.0.0", tcp6(), &mapped_any, sizeof mapped_any);
    reach("::", tcp6(), &wild, sizeof wild);
    reach("::1", tcp6(), &one, sizeof one);
    reach("::127.0.0.1", tcp6(), &compatible, sizeof compatible);
    reach("127.0.0.2", tcp(), &other, sizeof other);

    int fd = tcp(), error = 0;
    socklen_t size = sizeof error;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    told("without waiting", connect(fd, (void *)&plain, sizeof plain));
    poll(&(struct pollfd){fd, POLLOUT, 0}, 1, 5000);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    told("and then", error ? -1 : 0);
    reach("again", fd, &plain, sizeof plain);
    connect(fd, &(struct sockaddr){AF_UNSPEC, {0}}, sizeof(struct sockaddr));
    fcntl(fd, F_SETFL, 0);
    reach("after AF_UNSPEC", fd, &plain, sizeof plain);

    fd = tcp();
    told("bound to lo", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
    reach("through lo", fd, &plain, sizeof plain);
    fd = tcp();
    struct sockaddr_in source = in4(INADDR_LOOPBACK, 0);
    told("bind", bind(fd, (void *)&source, sizeof source));
    reach("from a bound socket", fd, &plain, sizeof plain);
    told("fast open", sendto(tcp(), loot, 4, MSG_FASTOPEN | MSG_NOSIGNAL, (void *)&plain, sizeof plain));
    fd = tcp();
    setsockopt(fd, SOL_TCP, TCP_FASTOPEN_CONNECT, &(int){1}, sizeof(int));
    reach("fast open connect", fd, &plain, sizeof plain);
    told("send without connect", sendto(tcp(), loot, 4, MSG_NOSIGNAL, (void *)&plain, sizeof plain));
    told("by a ring", by_ring(IORING_OP_CONNECT, tcp(), &plain, sizeof plain, 0));
    told("by a ring, mapped", by_ring(IORING_OP_CONNECT, tcp6(), &mapped, sizeof mapped, 0));
}

// A socket that a child has made and sent.
static void passed(void) {
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {loot, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (fork() == 0) {
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        *head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        *(int *)CMSG_DATA(head) = tcp();
        sendmsg(pair[0], &message, 0);
        _exit(0);
    }
    recvmsg(pair[1], &message, 0);
    struct sockaddr_in plain = LOOPBACK4;
    reach("a socket that was sent", *(int *)CMSG_DATA(CMSG_FIRSTHDR(&message)), &plain, sizeof plain);
    wait(NULL);
}

// -- datagrams --------------------------------------------------------------------

static int udp(void) { return socket(AF_INET, SOCK_DGRAM, 0); }

static long send_message(int fd, const void *address, socklen_t size) {
    struct iovec part = {loot, 4};
    struct msghdr message = {.msg_name = (void *)address, .msg_namelen = size, .msg_iov = &part, .msg_iovlen = 1};
    return sendmsg(fd, &message, 0);
}

static void datagrams(uint16_t allowed) {
    struct sockaddr_in plain = in4(INADDR_LOOPBACK, udp_port), any = in4(0, udp_port);
    struct sockaddr_in fine = in4(INADDR_LOOPBACK, allowed);
    struct sockaddr_in6 mapped = in6("m", INADDR_LOOPBACK, udp_port), one = in6("", 1, udp_port);
    int six = socket(AF_INET6, SOCK_DGRAM, 0);
    told("sendto", sendto(udp(), loot, 4, 0, (void *)&plain, sizeof plain));
    told("sendto 0.0.0.0", sendto(udp(), loot, 4, 0, (void *)&any, sizeof any));
    told("sendto mapped", sendto(six, loot, 4, 0, (void *)&mapped, sizeof mapped));
    told("sendto ::1", sendto(six, loot, 4, 0, (void *)&one, sizeof one));
    told("sendto plain on IPv6", sendto(six, loot, 4, 0, (void *)&plain, sizeof plain));
    reach("connect a datagram socket", udp(), &plain, sizeof plain);

    int fd = udp();
    told("connect to what is allowed", connect(fd, (void *)&fine, sizeof fine));
    told("send there", send(fd, loot, 4, 0));
    told("sendto elsewhere", sendto(fd, loot, 4, 0, (void *)&plain, sizeof plain));
    told("sendmsg elsewhere", send_message(fd, &plain, sizeof plain));
    reach("connect elsewhere", fd, &plain, sizeof plain);
    told("AF_UNSPEC", connect(fd, &(struct sockaddr){AF_UNSPEC, {0}}, sizeof(struct sockaddr)));
    told("sendto after AF_UNSPEC", sendto(fd, loot, 4, 0, (void *)&plain, sizeof plain));

    struct iovec part = {loot, 4};
    struct mmsghdr two[2] = {
        {.msg_hdr = {.msg_name = &fine, .msg_namelen = sizeof fine, .msg_iov = &part, .msg_iovlen = 1}},
        {.msg_hdr = {.msg_name = &plain, .msg_namelen = sizeof plain, .msg_iov = &part, .msg_iovlen = 1}},
    };
    printf("sendmmsg: %d\n", sendmmsg(udp(), two, 2, 0));
    told("its second again", sendmmsg(udp(), two + 1, 1, 0));

    fd = udp();
    setsockopt(fd, SOL_UDP, UDP_CORK, &(int){1}, sizeof(int));
    sendto(fd, loot, 4, 0, (void *)&fine, sizeof fine);
    setsockopt(fd, SOL_UDP, UDP_CORK, &(int){0}, sizeof(int));
    told("corked", sendto(fd, loot, 4, 0, (void *)&plain, sizeof plain));
    struct msghdr message = two[1].msg_hdr;
    told("by a ring", by_ring(IORING_OP_SENDMSG, udp(), &message, 0, 1));
}

// -- other ways -------------------------------------------------------------------

static void others(const char *abstract) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path + 1, abstract);
    reach("the host's abstract name", socket(AF_UNIX, SOCK_STREAM, 0), &name, 3 + strlen(abstract));
    told("raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    told("ping", socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
    told("ping by IPv6", socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6));
    told("packet", socket(AF_PACKET, SOCK_RAW, htons(3)));
    told("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
    told("tipc", socket(AF_TIPC, SOCK_STREAM, 0));
    struct sockaddr_in foreign = in4(0xc0000201, 0), forbidden = in4(INADDR_LOOPBACK, tcp_port);
    int fd = tcp();
    setsockopt(fd, SOL_IP, IP_FREEBIND, &(int){1}, sizeof(int));
    told("bind to another's address", bind(fd, (void *)&foreign, sizeof foreign));
    fd = tcp();
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int));
    told("share a port of the host's", bind(fd, (void *)&forbidden, sizeof forbidden));
    told("listen without a name", listen(tcp(), 5));
}

// -- changing the address while it is read ----------------------------------------

static struct sockaddr_in flipping;
static volatile int over;
static uint16_t ports[2];

static void *flip(void *argument) {
    while (!over) {
        *(volatile uint16_t *)&flipping.sin_port = ports[0];
        *(volatile uint16_t *)&flipping.sin_port = ports[1];
    }
    return argument;
}

static void race(uint16_t allowed) {
    flipping = in4(INADDR_LOOPBACK, allowed);
    ports[0] = htons(tcp_port), ports[1] = htons(allowed);
    pthread_t thread;
    pthread_create(&thread, NULL, flip, NULL);
    int fine = 0, refused = 0;
    for (int i = 0; i < 400; i++) {
        int fd = tcp();
        if (connect(fd, (void *)&flipping, sizeof flipping) == 0) fine++;
        else if (errno == ECONNREFUSED) refused++;
        close(fd);
    }
    over = 1;
    pthread_join(thread, NULL);
    printf("%s\n", fine + refused == 400 ? "flipped" : "strange");
}

static void reach_address(const char *text) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(tcp_port)};
    if (inet_pton(AF_INET, text, &address.sin_addr) != 1) exit(98);
    reach("by name", tcp(), &address, sizeof address);
}

// -- taking all memory --------------------------------------------------------------

static void fill_sockets(void) {
    static char bytes[1 << 20];
    for (int i = 0; i < 16; i++) {
        if (fork() != 0) continue;
        int listener = tcp(), pair[2];
        struct sockaddr_in name = in4(INADDR_LOOPBACK, 0);
        socklen_t size = sizeof name;
        bind(listener, (void *)&name, sizeof name);
        listen(listener, 4096);
        getsockname(listener, (void *)&name, &size);
        for (;;) {
            int fd = socket(AF_INET, SOCK_STREAM, 0);
            if (fd < 0 || connect(fd, (void *)&name, sizeof name) < 0) break;
            while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {}
            if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0) break;
            while (send(pair[0], bytes, 100000, MSG_DONTWAIT) > 0) {}
        }
        (void)!write(1, "full\n", 5);
        pause();
    }
    while (wait(NULL) > 0) {}
}

int main(int count, char **arguments) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count < 6) return 99;
    tcp_port = atoi(arguments[2]), udp_port = atoi(arguments[3]);
    uint16_t allowed = atoi(arguments[4]);
    if (!strcmp(arguments[1], "forbidden")) {
        open_ring();
        streams();
        passed();
        datagrams(allowed);
        others(arguments[5]);
    } else if (!strcmp(arguments[1], "flip")) race(allowed);
    else if (!strcmp(arguments[1], "address")) reach_address(arguments[5]);
    else if (!strcmp(arguments[1], "sockets")) fill_sockets();
    return 0;
}
