// Sockets on 127.0.0.1 whose ports the system chooses.
#ifndef LOOPBACK_H
#define LOOPBACK_H

#include "../claim.h"

#include <netinet/in.h>

// Binds a socket; the name that it got.
static inline struct sockaddr_in bind_anywhere(int fd) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof name;
    MUST(bind(fd, (void *)&name, size));
    MUST(getsockname(fd, (void *)&name, &size));
    return name;
}

// Both ends of a connection by way of a listener, which may have options already and is closed.
static inline void connect_by(int listener, int *client, int *server) {
    struct sockaddr_in name = bind_anywhere(listener);
    MUST(listen(listener, 1));
    *client = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(*client, (void *)&name, sizeof name));
    *server = MUST(accept(listener, NULL, NULL));
    close(listener);
}
#endif
