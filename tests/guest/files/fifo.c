// Opening a FIFO waits for the other side.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    MUST(mkfifo("fifo", 0644));
    TRY(mkfifo("fifo", 0644));
    TRY(open("fifo", O_WRONLY | O_NONBLOCK));
    int fd = MUST(open("fifo", O_RDONLY | O_NONBLOCK));
    char text[16] = "";
    TRY(read(fd, text, 5));
    close(fd);
    pid_t child = MUST(fork());
    if (child == 0) {
        fd = MUST(open("fifo", O_WRONLY));
        write(fd, "through", 7);
        _exit(0);
    }
    fd = MUST(open("fifo", O_RDONLY));
    FACT(read(fd, text, 15));
    puts(text);
    FACT(read(fd, text, 15));
    reap("writer", child);
    TRY(lseek(fd, 0, SEEK_SET));
    int both = MUST(open("fifo", O_RDWR));
    TRY(write(both, "x", 1));
    TRY(read(fd, text, 1));
    return 0;
}
