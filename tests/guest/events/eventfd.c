// eventfd(2) counts, blocks and splits.
#include "../claim.h"

#include <sys/eventfd.h>
int main(void) {
    begin();
    int fd = MUST(eventfd(3, EFD_NONBLOCK));
    uint64_t value = 0;
    TRY(read(fd, &value, 4));
    TRY(read(fd, &value, 8));
    FACT(value);
    TRY(read(fd, &value, 8));
    value = UINT64_MAX - 1;
    TRY(write(fd, &value, 8));
    value = 1;
    TRY(write(fd, &value, 8));
    value = UINT64_MAX;
    TRY(write(fd, &value, 8));
    struct pollfd item = {fd, POLLIN | POLLOUT, 0};
    poll(&item, 1, 0);
    FACT(item.revents);
    fd = MUST(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
    TRY(read(fd, &value, 8));
    FACT(value);
    TRY(read(fd, &value, 8));
    TRY(read(fd, &value, 8));
    poll(&item, 1, 0);
    FACT(eventfd(0, 0x4) == -1);
    fd = MUST(eventfd(0, 0));
    pid_t child = MUST(fork());
    if (child == 0) {
        value = 7;
        write(fd, &value, 8);
        _exit(0);
    }
    TRY(read(fd, &value, 8));
    FACT(value);
    return 0;
}
