// Anonymous memory is zero, private memory is copied on write, shared memory is shared.
#include "../claim.h"

int main(void) {
    begin();
    size_t size = 64 * 4096;
    char *private = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int sum = 0;
    for (size_t i = 0; i < size; i += 512) sum += private[i] + shared[i];
    FACT(sum);
    private[0] = shared[0] = 1;
    pid_t child = MUST(fork());
    if (child == 0) {
        private[0] = shared[0] = 2;
        private[4096] = shared[4096] = 3;
        _exit(0);
    }
    reap("child", child);
    printf("private %d %d shared %d %d\n", private[0], private[4096], shared[0], shared[4096]);
    TRY(munmap(private, size));
    TRY(munmap(private, size));
    TRY(munmap(private + 1, 4096));
    TRY(munmap(shared, 0));
    return 0;
}
