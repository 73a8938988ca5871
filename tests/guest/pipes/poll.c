// What poll(2) says of a pipe's ends.
#include "../claim.h"

static void show_events(const char *what, int fd) {
    struct pollfd item = {fd, POLLIN | POLLOUT, 0};
    int result = poll(&item, 1, 0);
    printf("%s: %d %#x\n", what, result, (unsigned)item.revents);
}
int main(void) {
    begin();
    int ends[2];
    MUST(pipe2(ends, O_NONBLOCK));
    show_events("empty, read end", ends[0]);
    show_events("empty, write end", ends[1]);
    static char page[65536];
    write(ends[1], page, sizeof page);
    show_events("full, read end", ends[0]);
    show_events("full, write end", ends[1]);
    read(ends[0], page, 100);
    show_events("100 bytes free, write end", ends[1]);
    read(ends[0], page, 4096);
    show_events("a page free, write end", ends[1]);
    close(ends[1]);
    show_events("no writer, data", ends[0]);
    while (read(ends[0], page, sizeof page) > 0) {}
    show_events("no writer, empty", ends[0]);
    MUST(pipe(ends));
    close(ends[0]);
    show_events("no reader", ends[1]);
    show_events("closed", ends[0]);
    show_events("negative", -1);
    return 0;
}
