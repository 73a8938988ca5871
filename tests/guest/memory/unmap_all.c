// munmap(2) of everything: the program is gone, and dies of it.
#include "../claim.h"
#include <sys/mman.h>

int main(void) {
    begin();
    unsigned long all = 1UL << 47;
    TRY(munmap((void *)4096, all * 2));
    TRY(munmap((void *)1, 4096));
    TRY(munmap((void *)4096, 0));
    for (unsigned long start = 4096; start < all; start = start * 4096) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            munmap((void *)start, all - 4096 - start);
            _exit(0);
        }
        reap("unmapped", child);
    }
    return 0;
}
