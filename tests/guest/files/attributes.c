// stat, chmod, times with nanoseconds, statx, truncate.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    put("file", "12345");
    struct stat st;
    struct timespec times[2] = {{1000000000, 123456789}, {1500000000, 987654321}};
    TRY(utimensat(AT_FDCWD, "file", times, 0));
    stat("file", &st);
    printf("%lld.%09ld %lld.%09ld\n", (long long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long long)st.st_mtim.tv_sec,
           st.st_mtim.tv_nsec);
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_nsec = UTIME_NOW;
    TRY(utimensat(AT_FDCWD, "file", times, 0));
    stat("file", &st);
    printf("%lld, now %d\n", (long long)st.st_atim.tv_sec, st.st_mtim.tv_sec >= time(NULL) - 5);
    times[0].tv_nsec = 2000000000;
    TRY(utimensat(AT_FDCWD, "file", times, 0));
    TRY(chmod("file", 04751));
    stat("file", &st);
    printf("%o size %lld nlink %d\n", st.st_mode, (long long)st.st_size, (int)st.st_nlink);
    FACT(st.st_uid == geteuid());
    FACT(st.st_blksize > 0 && st.st_ino > 0);
    TRY(truncate("file", 8));
    char text[8];
    int fd = MUST(open("file", O_RDWR));
    FACT(read(fd, text, 8));
    printf("%.5s %d %d\n", text, text[5], text[7]);
    TRY(ftruncate(fd, 2));
    FACT(lseek(fd, 0, SEEK_END));
    TRY(ftruncate(fd, -1));
    TRY(truncate(".", 0));
    TRY(ftruncate(open("file", O_RDONLY), 0));
    TRY(fchmod(fd, 0600));
    TRY(chown("file", -1, -1));
    TRY(fchown(fd, getuid(), getgid()));
    struct { uint32_t mask, blksize; uint64_t attributes; uint32_t nlink, uid, gid; uint16_t mode, pad; uint64_t ino, size; char rest[208]; } x;
    TRY(syscall(SYS_statx, AT_FDCWD, "file", 0, 0x7ff, &x));
    printf("%#x %o %lld\n", x.mask & 0x7ff, x.mode, (long long)x.size);
    TRY(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0x7ff, &x));
    TRY(syscall(SYS_statx, fd, "", 0, 0x7ff, &x));
    TRY(syscall(SYS_statx, AT_FDCWD, "file", 0, 0x80000000, &x));
    return 0;
}
