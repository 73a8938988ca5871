// O_DIRECT wants aligned offsets and lengths, and sees what was written through the cache, and the other way round.
#include "../claim.h"

#define PAGE 4096

int main(void) {
    begin();
    fresh_directory();
    int plain = MUST(open("file", O_RDWR | O_CREAT, 0600));
    int direct = open("file", O_RDWR | O_DIRECT);
    if (direct < 0) exit(98);
    char *buffer = MUST(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memset(buffer, 'd', 4 * PAGE);
    TRY(pwrite(direct, buffer, 4 * PAGE, 0));
    char got[8] = "";
    TRY(pread(plain, got, 4, PAGE));
    printf("through the cache: %s\n", got);
    TRY(pwrite(plain, "cached", 6, 2 * PAGE));
    TRY(pread(direct, buffer, PAGE, 2 * PAGE));
    printf("directly: %.8s\n", buffer);
    TRY(pread(direct, buffer, PAGE, 1));
    TRY(pread(direct, buffer, 100, 0));
    TRY(pwrite(direct, buffer, 100, 0));
    TRY(pwrite(direct, buffer, PAGE, 10));
    TRY(pwrite(plain, "tail", 4, 4 * PAGE));
    TRY(pread(direct, buffer, 2 * PAGE, 3 * PAGE));
    TRY(pread(direct, buffer, PAGE, 5 * PAGE));
    TRY(lseek(direct, 0, SEEK_SET));
    memset(buffer, 'e', PAGE);
    TRY(write(direct, buffer, PAGE));
    TRY(read(direct, buffer, PAGE));
    printf("%.2s\n", buffer);
    TRY(fsync(direct));
    char *map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, plain, 0);
    printf("mapped %.2s\n", map);
    memset(buffer, 'f', PAGE);
    TRY(pwrite(direct, buffer, PAGE, 0));
    printf("mapped %.2s\n", map);
    return 0;
}
