// MAP_FIXED replaces, MAP_FIXED_NOREPLACE refuses.
#include "../claim.h"

int main(void) {
    begin();
    char *area = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 7, 4 * 4096);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    FACT(mmap(area + 4096, 4096, PROT_READ, flags | MAP_FIXED, -1, 0) == area + 4096);
    printf("%d %d %d\n", area[0], area[4096], area[8192]);
    OK(mmap(area, 4096, PROT_READ, flags | 0x100000, -1, 0));
    munmap(area + 8192, 4096);
    FACT(mmap(area + 8192, 4096, PROT_READ | PROT_WRITE, flags | 0x100000, -1, 0) == area + 8192);
    FACT(area[8192]);
    OK(mmap(area + 1, 4096, PROT_READ, flags | MAP_FIXED, -1, 0));
    FACT(mmap(area + 8192 + 4096, 1, PROT_READ, flags, -1, 0) != MAP_FAILED);
    return 0;
}
