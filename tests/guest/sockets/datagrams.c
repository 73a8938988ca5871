// Unix datagram and seqpacket sockets keep messages apart; abstract names.
#include "../claim.h"

int main(void) {
    begin();
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_un address = {AF_UNIX, ""};
    int size = sprintf(address.sun_path + 1, "claim-%d", getpid());
    socklen_t length = sizeof(sa_family_t) + 1 + size;
    int receiver = MUST(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)), sender = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    TRY(sendto(sender, "x", 1, 0, (struct sockaddr *)&address, length));
    TRY(bind(receiver, (struct sockaddr *)&address, length));
    TRY(bind(sender, (struct sockaddr *)&address, length));
    TRY(sendto(sender, "first", 5, 0, (struct sockaddr *)&address, length));
    TRY(sendto(sender, "", 0, 0, (struct sockaddr *)&address, length));
    TRY(sendto(sender, "second", 6, 0, (struct sockaddr *)&address, length));
    char text[16] = "";
    TRY(recv(receiver, text, 2, MSG_TRUNC));
    TRY(recv(receiver, text, 16, 0));
    TRY(recv(receiver, text, 16, 0));
    TRY(recv(receiver, text, 16, 0));
    TRY(send(sender, "x", 1, 0));
    sa_family_t family = AF_UNIX;
    int automatic = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    TRY(bind(automatic, (struct sockaddr *)&family, sizeof family));
    struct sockaddr_un name;
    length = sizeof name;
    TRY(getsockname(automatic, (struct sockaddr *)&name, &length));
    FACT(length);
    FACT(name.sun_path[0]);
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
    TRY(send(pair[0], "one", 3, 0));
    TRY(send(pair[0], "two", 3, 0));
    struct iovec part = {text, 2};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    TRY(recvmsg(pair[1], &message, 0));
    FACT((message.msg_flags & MSG_TRUNC) != 0);
    TRY(recv(pair[1], text, 16, 0));
    close(pair[0]);
    TRY(recv(pair[1], text, 16, 0));
    TRY(send(pair[1], "x", 1, 0));
    return 0;
}
