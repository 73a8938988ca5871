// The login that audit(7) knows a process by: who is unset may set it, for himself alone, and children have it too.
#include "../claim.h"

static char *read_text(const char *path) {
    static char text[64];
    int fd = MUST(open(path, O_RDONLY));
    ssize_t count = MUST(read(fd, text, sizeof text - 1));
    text[count] = 0;
    close(fd);
    return text;
}

int main(void) {
    begin();
    int fd = open("/proc/self/loginuid", O_RDWR | O_NOFOLLOW);
    if (fd < 0 || strcmp(read_text("/proc/self/loginuid"), "4294967295"))
        exit(98);
    TRY(write(fd, "nobody", 6));
    TRY(write(fd, "12 34", 5));
    TRY(write(fd, "4294967296", 10));
    TRY(write(fd, "-5", 2));
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/loginuid", getpid());
    pid_t child = MUST(fork());
    if (!child) {
        int other = MUST(open(path, O_WRONLY));
        TRY(write(other, "12", 2));
        return 0;
    }
    waitpid(child, NULL, 0);
    TRY(lseek(fd, 0, SEEK_SET));
    TRY(ftruncate(fd, 0));
    TRY(write(fd, "1234", 4));
    printf("%s\n", read_text("/proc/self/loginuid"));
    FACT(strcmp(read_text("/proc/self/sessionid"), "4294967295") != 0);
    child = MUST(fork());
    if (!child) {
        char mine[64], theirs[64];
        strcpy(mine, read_text("/proc/self/sessionid"));
        snprintf(path, sizeof path, "/proc/%d/sessionid", getppid());
        strcpy(theirs, read_text(path));
        printf("%s %d\n", read_text("/proc/self/loginuid"), strcmp(mine, theirs));
        return 0;
    }
    waitpid(child, NULL, 0);
    fd = MUST(open("/proc/self/status", O_RDONLY));
    TRY(ftruncate(fd, 0));
    fd = MUST(open("/proc/self/comm", O_WRONLY | O_TRUNC));
    TRY(ftruncate(fd, 100));
    TRY(ftruncate(fd, -1));
    return 0;
}
