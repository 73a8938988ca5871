// Positioned and vectored reads and writes; offsets shared by dup(2).
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0644)), twin = MUST(dup(fd));
    char a[4] = "", b[4] = "";
    TRY(write(fd, "0123456789", 10));
    TRY(pread(fd, a, 3, 4));
    puts(a);
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(pwrite(fd, "AB", 2, 12));
    TRY(lseek(twin, 2, SEEK_SET));
    struct iovec parts[2] = {{a, 3}, {b, 3}};
    TRY(readv(fd, parts, 2));
    printf("%s %s\n", a, b);
    TRY(lseek(twin, 0, SEEK_CUR));
    TRY(writev(fd, parts, 2));
    TRY(preadv(fd, parts, 2, 0));
    printf("%s %s\n", a, b);
    TRY(pread(fd, a, 3, 100));
    TRY(pread(fd, a, 3, -1));
    TRY(readv(fd, parts, -1));
    TRY(readv(fd, parts, 2000));
    TRY(readv(fd, parts, 0));
    TRY(read(fd, a, 0));
    TRY(dup2(fd, fd) == fd);
    TRY(dup3(fd, fd, 0));
    TRY(dup2(77, 5));
    TRY(dup2(fd, -1));
    TRY(fcntl(fd, F_DUPFD, 30));
    TRY(fcntl(fd, F_DUPFD_CLOEXEC, 30));
    TRY(fcntl(31, F_GETFD));
    TRY(close(31));
    TRY(close(31));
    TRY(syscall(SYS_close_range, 30, 40, 0));
    TRY(fcntl(30, F_GETFD));
    TRY(fcntl(fd, 9999));
    int reader = MUST(open("file", O_RDONLY));
    TRY(write(reader, "x", 1));
    TRY(fsync(fd));
    TRY(fdatasync(fd));
    return 0;
}
