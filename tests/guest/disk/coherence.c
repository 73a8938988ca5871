// What is mapped, read and written is one file: between processes, after growth, in holes, privately.
#include "../claim.h"

#define MIB (1 << 20)
#define PAGE 4096

static int file;

static int checked(const char *data, size_t from, size_t to) {
    int wrong = 0;
    for (size_t at = from; at < to; at += 64) wrong += data[at] != (char)(at * 7 / 64);
    return wrong;
}

static void fill(size_t size) {
    char *data = malloc(size);
    for (size_t at = 0; at < size; at++) data[at] = (char)(at / 64 * 64 * 7 / 64);
    FACT(pwrite(file, data, size, 0));
    free(data);
}

static void growth(void) {
    char *map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
    FACT(checked(map, 0, PAGE));
    map = mremap(map, PAGE, 3 * MIB, MREMAP_MAYMOVE);
    FACT(map == MAP_FAILED);
    FACT(checked(map, 0, 3 * MIB));
    TRY(munmap(map, 3 * MIB));
}

static void shared(void) {
    char *map = mmap(NULL, 3 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    char got[8] = "";
    memcpy(map + MIB + 5, "mapped", 6);
    TRY(pread(file, got, 6, MIB + 5));
    printf("read %s\n", got);
    TRY(pwrite(file, "written", 7, 2 * MIB - 3));
    printf("map %.7s\n", map + 2 * MIB - 3);
    pid_t child = MUST(fork());
    if (child == 0) {
        memcpy(map + 100, "child", 5);
        int other = open("shared", O_RDWR);
        char *again = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
        memcpy(again + 200, "again", 5);
        _exit(0);
    }
    reap("child", child);
    printf("parent sees %.5s %.5s\n", map + 100, map + 200);
    TRY(munmap(map, 3 * MIB));
}

static void private(void) {
    char *map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, PAGE);
    memcpy(map, "mine", 4);
    char got[5] = "";
    TRY(pread(file, got, 4, PAGE));
    FACT(memcmp(got, "mine", 4) == 0);
    TRY(pwrite(file, "theirs", 6, 2 * PAGE));
    printf("untouched page %.6s\n", map + PAGE);
    TRY(pwrite(file, "theirs", 6, PAGE));
    printf("own page %.4s\n", map);
    TRY(munmap(map, 2 * PAGE));
}

static void holes(void) {
    int fd = MUST(open("holes", O_RDWR | O_CREAT, 0600));
    TRY(ftruncate(fd, 4 * MIB));
    char *map = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int sum = 0;
    for (int at = 0; at < 4 * MIB; at += PAGE) sum += map[at];
    FACT(sum);
    strcpy(map + 3 * MIB + 17, "in a hole");
    char got[10] = "";
    TRY(pread(fd, got, 10, 3 * MIB + 17));
    printf("read %s\n", got);
    TRY(munmap(map, 4 * MIB));
    TRY(close(fd));
    fd = MUST(open("holes", O_RDWR));
    TRY(pread(fd, got, 10, 3 * MIB + 17));
    printf("read again %s\n", got);
    TRY(fsync(fd));
    struct stat status;
    TRY(fstat(fd, &status));
    FACT(status.st_blocks > 0 && status.st_blocks <= 64);
}

int main(void) {
    begin();
    fresh_directory();
    file = MUST(open("shared", O_RDWR | O_CREAT, 0600));
    fill(3 * MIB);
    growth();
    shared();
    private();
    holes();
    FACT(lseek(file, 0, SEEK_END));
    return 0;
}
