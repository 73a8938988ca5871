// Beyond the end of a truncated file a mapping faults with SIGBUS; grown again it is zero.
#include "../claim.h"

#include <setjmp.h>
static sigjmp_buf back;
static void fault(int number) {
    siglongjmp(back, number);
}
static void touch(const char *what, volatile char *address) {
    int number = sigsetjmp(back, 1);
    if (number == 0) printf("%s: %d\n", what, *address);
    else printf("%s: signal %d\n", what, number);
}
int main(void) {
    begin();
    fresh_directory();
    handle(SIGBUS, fault, SA_NODEFER);
    handle(SIGSEGV, fault, SA_NODEFER);
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    MUST(ftruncate(fd, 3 * 4096));
    pwrite(fd, "abc", 3, 8192);
    volatile char *map = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    touch("third page", map + 8192);
    touch("fourth page", map + 3 * 4096);
    MUST(ftruncate(fd, 4096 + 10));
    touch("rest of the last page", map + 4096 + 20);
    touch("page that is gone", map + 8192);
    MUST(ftruncate(fd, 3 * 4096));
    touch("grown again", map + 8192);
    map[8192] = 'z';
    char byte;
    pread(fd, &byte, 1, 8192);
    FACT(byte);
    return 0;
}
