// MADV_DONTNEED gives zeroes or the file back; other advice is taken or refused.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    put("file", "file");
    char *area = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 'x', 4 * 4096);
    TRY(madvise(area + 4096, 4096, MADV_DONTNEED));
    printf("%d %d %d\n", area[0], area[4096], area[8192]);
    int fd = MUST(open("file", O_RDWR));
    char *file = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    file[0] = 'F';
    TRY(madvise(file, 4096, MADV_DONTNEED));
    printf("%s\n", file);
    TRY(madvise(area, 4096, MADV_WILLNEED));
    TRY(madvise(area, 4096, MADV_SEQUENTIAL));
    TRY(madvise(area + 1, 4096, MADV_DONTNEED));
    TRY(madvise(area, 4096, 9999));
    TRY(madvise(area, 4096, MADV_DONTFORK));
    TRY(madvise(area + 4096, 4096, 18));
    area[4096] = 5;
    pid_t child = MUST(fork());
    if (child == 0) {
        printf("wiped on fork: %d\n", area[4096]);
        *(volatile char *)area = 1;
        _exit(0);
    }
    reap("touches what was not forked", child);
    return 0;
}
