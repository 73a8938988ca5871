// A connection that is over before it is accepted is accepted all the same, with its peer's address.
#include "../claim.h"
#include <netinet/in.h>

static void accept_gone(int domain, struct sockaddr *name, socklen_t length, int reset) {
    int listener = MUST(socket(domain, SOCK_STREAM, 0)), client = MUST(socket(domain, SOCK_STREAM, 0));
    MUST(bind(listener, name, length));
    MUST(getsockname(listener, name, &length));
    MUST(listen(listener, 4));
    MUST(connect(client, name, length));
    if (reset) {
        struct linger linger = {1, 0};
        MUST(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    } else {
        MUST(write(client, "left behind", 11));
    }
    close(client);
    struct sockaddr_storage from = {0};
    socklen_t room = sizeof from;
    int fd = accept(listener, (struct sockaddr *)&from, &room);
    printf("accepted %d: family %d, %u bytes\n", fd >= 0, from.ss_family, room);
    if (domain == AF_INET) FACT(((struct sockaddr_in *)&from)->sin_port != 0);
    char text[16] = "";
    TRY(read(fd, text, sizeof text - 1));
    puts(text);
    TRY(read(fd, text, sizeof text - 1));
    TRY(getpeername(fd, (struct sockaddr *)&from, &room));
    close(fd);
    close(listener);
}

int main(void) {
    begin();
    fresh_directory();
    for (int reset = 0; reset < 2; reset++) {
        struct sockaddr_in inet = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
        accept_gone(AF_INET, (struct sockaddr *)&inet, sizeof inet, reset);
    }
    struct sockaddr_un local = {AF_UNIX, "socket"};
    accept_gone(AF_UNIX, (struct sockaddr *)&local, sizeof local, 0);
    return 0;
}
