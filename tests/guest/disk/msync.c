// msync and fsync take what was written into a mapping; their errors are Linux's.
#include "../claim.h"

#define PAGE 4096

int main(void) {
    begin();
    fresh_directory();
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    TRY(ftruncate(fd, 8 * PAGE));
    char *map = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    strcpy(map + 3 * PAGE, "third");
    TRY(msync(map, 8 * PAGE, MS_SYNC));
    TRY(msync(map, 8 * PAGE, MS_ASYNC));
    TRY(msync(map, 8 * PAGE, MS_SYNC | MS_INVALIDATE));
    TRY(msync(map, 8 * PAGE, MS_SYNC | MS_ASYNC));
    TRY(msync(map, 8 * PAGE, 64));
    TRY(msync(map + 1, PAGE, MS_SYNC));
    TRY(msync(map, 0, MS_SYNC));
    TRY(munmap(map + 4 * PAGE, PAGE));
    TRY(msync(map, 8 * PAGE, MS_SYNC));
    strcpy(map + 5 * PAGE, "fifth");
    TRY(munmap(map, 8 * PAGE));
    TRY(fsync(fd));
    TRY(fdatasync(fd));
    char got[6] = "";
    TRY(pread(fd, got, 6, 5 * PAGE));
    printf("%s\n", got);
    TRY(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    TRY(pread(fd, got, 6, 3 * PAGE));
    printf("%s\n", got);
    char *private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    private[0] = 'p';
    TRY(msync(private, PAGE, MS_SYNC));
    TRY(pread(fd, got, 1, 0));
    FACT(got[0]);
    char *shown = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 3 * PAGE);
    TRY(close(fd));
    TRY(unlink("file"));
    printf("%s\n", shown);
    return 0;
}
