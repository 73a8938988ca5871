// What poll(2) says of sockets.
#include "../claim.h"

static void show_events(const char *what, int fd) {
    struct pollfd item = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    poll(&item, 1, 0);
    printf("%s: %#x\n", what, (unsigned)item.revents);
}
int main(void) {
    begin();
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    show_events("fresh", pair[0]);
    write(pair[1], "x", 1);
    show_events("data", pair[0]);
    shutdown(pair[1], SHUT_WR);
    show_events("half closed", pair[0]);
    close(pair[1]);
    show_events("closed", pair[0]);
    show_events("unconnected", MUST(socket(AF_UNIX, SOCK_STREAM, 0)));
    show_events("datagram", MUST(socket(AF_UNIX, SOCK_DGRAM, 0)));
    int server = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    sa_family_t family = AF_UNIX;
    bind(server, (struct sockaddr *)&family, sizeof family);
    listen(server, 1);
    show_events("listening", server);
    struct sockaddr_un name;
    socklen_t length = sizeof name;
    getsockname(server, (struct sockaddr *)&name, &length);
    int client = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    TRY(connect(client, (struct sockaddr *)&name, length));
    show_events("with a client", server);
    show_events("client", client);
    close(server);
    show_events("server gone", client);
    return 0;
}
