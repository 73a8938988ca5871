// End of file, EPIPE, capacity and non-blocking pipes.
#include "../claim.h"

int main(void) {
    begin();
    signal(SIGPIPE, SIG_IGN);
    int ends[2];
    MUST(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    char text[8] = "";
    TRY(read(ends[0], text, 8));
    TRY(write(ends[1], "abc", 3));
    int waiting = 0;
    TRY(ioctl(ends[0], FIONREAD, &waiting));
    FACT(waiting);
    TRY(read(ends[0], text, 2));
    TRY(read(ends[0], text, 8));
    TRY(fcntl(ends[0], F_GETPIPE_SZ));
    static char page[4096];
    long total = 0, part;
    while ((part = write(ends[1], page, sizeof page)) > 0) total += part;
    FACT(total);
    TRY(fcntl(ends[0], F_SETPIPE_SZ, 8192));
    while (read(ends[0], page, sizeof page) > 0) {}
    TRY(fcntl(ends[0], F_SETPIPE_SZ, 8192));
    TRY(fcntl(ends[0], F_SETPIPE_SZ, 5000));
    TRY(lseek(ends[0], 0, SEEK_CUR));
    TRY(write(ends[0], "x", 1));
    TRY(read(ends[1], text, 1));
    struct stat st;
    fstat(ends[0], &st);
    FACT(S_ISFIFO(st.st_mode));
    close(ends[1]);
    TRY(read(ends[0], text, 1));
    MUST(pipe(ends));
    close(ends[0]);
    TRY(write(ends[1], "x", 1));
    TRY(pipe2(ends, 0x1));
    return 0;
}
