// Beyond the last page of a file there is SIGBUS, also when the file has become shorter; growth lifts it.
#include "../claim.h"

#include <setjmp.h>

#define PAGE 4096

static sigjmp_buf back;

static void caught_bus(int number) {
    (void)number;
    siglongjmp(back, 1);
}

static const char *touch(volatile char *place) {
    if (sigsetjmp(back, 1)) return "SIGBUS";
    (void)*place;
    return "there";
}

int main(void) {
    begin();
    fresh_directory();
    handle(SIGBUS, caught_bus, 0);
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    TRY(pwrite(fd, "x", 1, 2 * PAGE));
    char *map = mmap(NULL, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (int page = 0; page < 6; page++) printf("page %d: %s\n", page, touch(map + page * PAGE));
    FACT(map[2 * PAGE] == 'x' && map[3 * PAGE - 1] == 0);
    TRY(ftruncate(fd, PAGE + 10));
    for (int page = 0; page < 4; page++) printf("shorter, page %d: %s\n", page, touch(map + page * PAGE));
    map[PAGE + 20] = 'j';
    TRY(ftruncate(fd, 4 * PAGE));
    for (int page = 0; page < 5; page++) printf("longer, page %d: %s\n", page, touch(map + page * PAGE));
    FACT(map[2 * PAGE]);
    TRY(pwrite(fd, "end", 3, 5 * PAGE));
    printf("written behind the end: %s %.3s\n", touch(map + 5 * PAGE), map + 5 * PAGE);
    TRY(ftruncate(fd, 0));
    printf("empty: %s\n", touch(map));
    char *private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    printf("private and empty: %s\n", touch(private));
    return 0;
}
