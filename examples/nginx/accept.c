// How fast connections are accepted, and nothing else.
//
//   accept server PORT               accepts and closes, until it is killed
//   accept client PORT CHILDREN N    that many processes connect N times each, one after the other; prints connections/s

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in address = {.sin_family = AF_INET};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void serve(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
    if (listen(listener, 1024) != 0) fail("listen");
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) fail("accept");
        close(connection);
    }
}

// Each is reset once the server has closed it: no port waits for late packets.
static void connect_often(int count) {
    struct linger reset = {1, 0};
    char byte;
    while (count--) {
        int connection = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(connection, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
        if (read(connection, &byte, 1) != 0) fail("read");
        close(connection);
    }
}

int main(int argc, char **argv) {
    int is_server = argc == 3 && strcmp(argv[1], "server") == 0;
    if (!is_server && (argc != 5 || strcmp(argv[1], "client") != 0)) {
        fprintf(stderr, "usage: %s server PORT | client PORT CHILDREN N\n", argv[0]);
        return 2;
    }
    address.sin_port = htons(atoi(argv[2]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (is_server) serve();
    int children = atoi(argv[3]), count = atoi(argv[4]), status, failed = 0;
    double start = now();
    for (int i = 0; i < children; i++) {
        if (fork() != 0) continue;
        connect_often(count);
        exit(0);
    }
    while (wait(&status) > 0) failed |= status;
    printf("%.1f\n", children * count / (now() - start));
    return failed != 0;
}
