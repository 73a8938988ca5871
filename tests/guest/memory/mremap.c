// mremap(2) grows, shrinks and moves, and keeps the contents.
#include "../claim.h"

int main(void) {
    begin();
    char *area = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(area, "first");
    strcpy(area + 4096, "second");
    char *moved = mremap(area, 4 * 4096, 400 * 4096, MREMAP_MAYMOVE);
    FACT(moved != MAP_FAILED);
    printf("%s %s %d\n", moved, moved + 4096, moved[399 * 4096]);
    FACT(mremap(moved, 400 * 4096, 2 * 4096, 0) == moved);
    printf("%s %s\n", moved, moved + 4096);
    char *target = mmap(NULL, 4 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FACT(mremap(moved, 2 * 4096, 2 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, target + 4096) == target + 4096);
    printf("%s\n", target + 4096);
    OK(mremap(moved, 4096, 8192, MREMAP_MAYMOVE));
    OK(mremap(target, 4096, 0, 0));
    OK(mremap(target + 1, 4096, 8192, MREMAP_MAYMOVE));
    OK(mremap(target + 4096, 4096, 4096, MREMAP_FIXED, target));
    OK(mremap(target + 4096, 4096, 4096, 64));
    return 0;
}
