// POSIX locks belong to processes, OFD locks and flock(2) to open files.
#include "../claim.h"

static void in_child(const char *what, int (*try)(void)) {
    pid_t child = MUST(fork());
    if (child == 0) {
        errno = 0;
        int result = try();
        printf("%s: %s\n", what, result == -1 ? errno_name(errno) : "ok");
        _exit(0);
    }
    waitpid(child, NULL, 0);
}
static int lock(int fd, int command, int type, off_t start, off_t length) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, command, &lock);
}
static int posix_write(void) { return lock(open("file", O_RDWR), F_SETLK, F_WRLCK, 0, 10); }
static int posix_read(void) { return lock(open("file", O_RDWR), F_SETLK, F_RDLCK, 5, 1); }
static int posix_behind(void) { return lock(open("file", O_RDWR), F_SETLK, F_WRLCK, 10, 5); }
static int ofd_write(void) { return lock(open("file", O_RDWR), 37, F_WRLCK, 0, 10); }
static int whole_exclusive(void);
static int whole_shared(void);
#include <sys/file.h>
static int whole_exclusive(void) { return flock(open("file", O_RDWR), LOCK_EX | LOCK_NB); }
static int whole_shared(void) { return flock(open("file", O_RDWR), LOCK_SH | LOCK_NB); }
int main(void) {
    begin();
    fresh_directory();
    put("file", "0123456789");
    int fd = MUST(open("file", O_RDWR));
    TRY(lock(fd, F_SETLK, F_WRLCK, 0, 10));
    in_child("write", posix_write);
    in_child("read", posix_read);
    in_child("behind", posix_behind);
    TRY(lock(fd, F_SETLK, F_RDLCK, 5, 5));
    in_child("read after downgrade", posix_read);
    struct flock query = {.l_type = F_WRLCK};
    TRY(fcntl(fd, F_GETLK, &query));
    FACT(query.l_type == F_UNLCK);
    pid_t child = MUST(fork());
    if (child == 0) {
        query.l_type = F_WRLCK;
        fcntl(fd, F_GETLK, &query);
        printf("type %d start %lld length %lld owner %d\n", query.l_type, (long long)query.l_start,
               (long long)query.l_len, query.l_pid == getppid());
        _exit(0);
    }
    waitpid(child, NULL, 0);
    close(open("file", O_RDONLY));
    in_child("write after a close of the file", posix_write);
    TRY(lock(fd, 37, F_WRLCK, 0, 0));
    close(open("file", O_RDONLY));
    in_child("OFD against OFD", ofd_write);
    in_child("POSIX against OFD", posix_write);
    TRY(lock(fd, 37, F_UNLCK, 0, 0));
    in_child("OFD after unlock", ofd_write);
    TRY(flock(fd, LOCK_SH));
    in_child("flock shared", whole_shared);
    in_child("flock exclusive", whole_exclusive);
    TRY(flock(fd, LOCK_UN));
    in_child("flock after unlock", whole_exclusive);
    TRY(lock(fd, F_SETLK, 9, 0, 0));
    int ends[2];
    MUST(pipe(ends));
    lock(fd, F_SETLK, F_WRLCK, 0, 1);
    child = MUST(fork());
    if (child == 0) {
        lock(fd, F_SETLK, F_WRLCK, 1, 1);
        write(ends[1], "x", 1);
        _exit(lock(fd, F_SETLKW, F_WRLCK, 0, 1) == 0 ? 3 : 4);
    }
    char byte;
    read(ends[0], &byte, 1);
    pause_ms(30);
    TRY(lock(fd, F_SETLKW, F_WRLCK, 1, 1));
    TRY(lock(fd, F_SETLK, F_UNLCK, 0, 0));
    reap("waiter", child);
    return 0;
}
