// A fault becomes a signal that says what and where.
#include "../claim.h"

#include <setjmp.h>
static sigjmp_buf back;
static char *expected;
static void note(int number, siginfo_t *info, void *context) {
    (void)context;
    printf("signal %d code %d address right %d\n", number, info->si_code, (char *)info->si_addr == expected);
    siglongjmp(back, 1);
}
int main(void) {
    begin();
    fresh_directory();
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (int i = 0; i < 5; i++) sigaction(numbers[i], &action, NULL);
    char *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile char byte;
    expected = page + 5;
    puts("write to a read-only page");
    if (sigsetjmp(back, 1) == 0) *(volatile char *)expected = 1;
    munmap(page, 8192);
    puts("read of nothing");
    if (sigsetjmp(back, 1) == 0) byte = *(volatile char *)expected;
    expected = NULL;
    puts("NULL");
    if (sigsetjmp(back, 1) == 0) byte = *(volatile char *)expected;
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    MUST(ftruncate(fd, 4096));
    page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    expected = page + 4096 + 7;
    puts("beyond the end of a file");
    if (sigsetjmp(back, 1) == 0) byte = *(volatile char *)expected;
    char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, "\x0f\x0b", 2);
    expected = code;
    puts("execute data");
    if (sigsetjmp(back, 1) == 0) ((void (*)(void))code)();
    mprotect(code, 4096, PROT_READ | PROT_EXEC);
    puts("illegal instruction");
    if (sigsetjmp(back, 1) == 0) ((void (*)(void))code)();
    mprotect(code, 4096, PROT_READ | PROT_WRITE);
    memcpy(code, "\xcc\xc3", 2);
    mprotect(code, 4096, PROT_READ | PROT_EXEC);
    expected = NULL;
    puts("breakpoint");
    if (sigsetjmp(back, 1) == 0) ((void (*)(void))code)();
    mprotect(code, 4096, PROT_READ | PROT_WRITE);
    memcpy(code, "\xf4", 1);
    mprotect(code, 4096, PROT_READ | PROT_EXEC);
    puts("privileged instruction");
    if (sigsetjmp(back, 1) == 0) ((void (*)(void))code)();
    mprotect(code, 4096, PROT_READ | PROT_WRITE);
    memcpy(code, "\x31\xc9\x31\xd2\x89\xf8\xf7\xf9\xc3", 9);
    mprotect(code, 4096, PROT_READ | PROT_EXEC);
    expected = code + 6;
    puts("division by zero");
    if (sigsetjmp(back, 1) == 0) ((int (*)(int))code)(1);
    expected = NULL;
    puts("non-canonical address");
    if (sigsetjmp(back, 1) == 0) byte = *(volatile char *)0x8000000000000000;
    (void)byte;
    return 0;
}
