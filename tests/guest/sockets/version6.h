// For claims that need IPv6, which a host may lack; a LibOS always has it.
#ifndef VERSION6_H
#define VERSION6_H

#include "../claim.h"

#include <netinet/in.h>

#define CANT_SAY 98

static inline void need_version6(void) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, (void *)&name, sizeof name) < 0) exit(CANT_SAY);
    close(fd);
}
#endif
