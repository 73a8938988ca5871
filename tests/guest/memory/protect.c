// mprotect(2) binds at once, also for code.
#include "../claim.h"

#include <setjmp.h>
static sigjmp_buf back;
static void fault(int number) {
    siglongjmp(back, number);
}
int main(void) {
    begin();
    handle(SIGSEGV, fault, SA_NODEFER);
    volatile char *page = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[4096] = 1;
    TRY(mprotect((void *)(page + 4096), 4096, PROT_NONE));
    page[0] = page[8192] = 1;
    if (sigsetjmp(back, 1) == 0) printf("read %d\n", page[4096]);
    else puts("no access");
    TRY(mprotect((void *)(page + 4096), 4096, PROT_READ));
    if (sigsetjmp(back, 1) == 0) printf("read %d\n", page[4096]);
    if (sigsetjmp(back, 1) == 0) page[4096] = 2, puts("written");
    else puts("read only");
    memcpy((void *)page, "\xb8\x2a\x00\x00\x00\xc3", 6);
    TRY(mprotect((void *)page, 4096, PROT_READ | PROT_EXEC));
    FACT(((int (*)(void))page)());
    TRY(mprotect((void *)(page + 1), 4096, PROT_READ));
    TRY(mprotect((void *)page, 4096, 0x100));
    munmap((void *)page, 3 * 4096);
    TRY(mprotect((void *)page, 4096, PROT_READ));
    return 0;
}
