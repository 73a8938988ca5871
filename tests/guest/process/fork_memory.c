// A child has a copy of memory and shares open files with their offsets.
#include "../claim.h"

static int global = 1;
int main(void) {
    begin();
    fresh_directory();
    put("file", "abcdefgh");
    int fd = MUST(open("file", O_RDWR));
    int local = 1, *heap = malloc(sizeof *heap);
    *heap = 1;
    char text[4] = "";
    read(fd, text, 2);
    pid_t child = MUST(fork());
    if (child == 0) {
        global = local = *heap = 2;
        read(fd, text, 2);
        printf("child reads %s\n", text);
        TRY(fcntl(fd, F_SETFD, FD_CLOEXEC));
        TRY(fcntl(fd, F_SETFL, O_APPEND));
        _exit(0);
    }
    reap("child", child);
    printf("%d %d %d\n", global, local, *heap);
    read(fd, text, 2);
    printf("parent reads %s\n", text);
    TRY(fcntl(fd, F_GETFD));
    FACT((fcntl(fd, F_GETFL) & O_APPEND) != 0);
    return 0;
}
