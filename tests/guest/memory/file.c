// Mappings of a file, private and shared, agree with read(2) and write(2).
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    put("file", "hello world");
    int fd = MUST(open("file", O_RDWR));
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    printf("%s %s\n", shared, private);
    FACT(shared[100]);
    shared[0] = 'J';
    show("file");
    private[0] = 'X';
    show("file");
    pwrite(fd, "W", 1, 6);
    printf("%s\n", shared);
    pid_t child = MUST(fork());
    if (child == 0) {
        shared[1] = 'E';
        _exit(0);
    }
    waitpid(child, NULL, 0);
    show("file");
    int other = MUST(open("file", O_RDWR));
    char *again = mmap(NULL, 4096, PROT_READ, MAP_SHARED, other, 0);
    close(fd);
    close(other);
    shared[2] = 'L';
    printf("%.11s\n", again);
    TRY(msync(shared, 4096, MS_SYNC));
    TRY(munmap(shared, 4096));
    unlink("file");
    printf("%.11s\n", again);
    return 0;
}
