// Sockets on 127.0.0.1 or ::1 whose ports the system chooses.
#ifndef LOOPBACK_H
#define LOOPBACK_H

#include "../claim.h"

#include <netinet/in.h>

union inet_name {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

// Binds a socket of a family; the name that it got, and its size.
static inline socklen_t bind_family(int fd, int family, union inet_name *name) {
    socklen_t size = family == AF_INET ? sizeof name->in : sizeof name->in6;
    memset(name, 0, sizeof *name);
    name->any.sa_family = family;
    if (family == AF_INET) name->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else name->in6.sin6_addr = in6addr_loopback;
    MUST(bind(fd, &name->any, size));
    MUST(getsockname(fd, &name->any, &size));
    return size;
}

// Binds a socket of version 4; the name that it got.
static inline struct sockaddr_in bind_anywhere(int fd) {
    union inet_name name;
    bind_family(fd, AF_INET, &name);
    return name.in;
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
