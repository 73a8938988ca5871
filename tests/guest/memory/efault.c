// A bad pointer is EFAULT, never a crash, and what came before it counts.
#include "../claim.h"

#include <sys/utsname.h>
int main(void) {
    begin();
    fresh_directory();
    put("file", "0123456789");
    char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(two + 4096, 4096);
    char *edge = two + 4096 - 4;
    void *volatile nowhere = (void *)0x10;
    int fd = MUST(open("file", O_RDWR)), ends[2];
    MUST(pipe(ends));
    TRY(read(fd, nowhere, 4));
    TRY(write(ends[1], nowhere, 4));
    TRY(pread(fd, edge, 4, 0));
    memcpy(edge, "abcd", 4);
    TRY(write(ends[1], edge, 4));
    TRY(syscall(SYS_stat, nowhere, two));
    TRY(syscall(SYS_stat, "file", nowhere));
    TRY(syscall(SYS_fstat, fd, nowhere));
    TRY(syscall(SYS_pipe, nowhere));
    TRY(syscall(SYS_getcwd, nowhere, 100));
    TRY(uname(nowhere));
    TRY(open(nowhere, O_RDONLY));
    memcpy(edge, "file", 4);
    TRY(open(edge, O_RDONLY));
    TRY(readv(fd, nowhere, 1));
    struct iovec parts[2] = {{two, 2}, {nowhere, 2}};
    TRY(writev(ends[1], parts, 2) > 0);
    TRY(syscall(SYS_nanosleep, nowhere, NULL));
    TRY(poll(nowhere, 1, 0));
    TRY(syscall(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, nowhere));
    TRY(read(fd, (void *)-4096L, 4));
    TRY(write(fd, (void *)0xffff800000000000, 4));
    return 0;
}
