// What mmap(2) refuses.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    put("file", "text");
    int reader = MUST(open("file", O_RDONLY)), writer = MUST(open("file", O_WRONLY)), both = MUST(open("file", O_RDWR));
    int directory = MUST(open(".", O_RDONLY)), ends[2];
    MUST(pipe(ends));
    OK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, -1, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, both, 100));
    OK(mmap(NULL, 4096, PROT_READ, 0, both, 0));
    OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0));
    OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, reader, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, writer, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, directory, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, ends[0], 0));
    OK(mmap(NULL, 1UL << 60, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE, reader, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE | MAP_NORESERVE | MAP_POPULATE, reader, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, reader, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE | MAP_FIXED_NOREPLACE, reader, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, 1000, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0));
    char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, reader, 0);
    TRY(mprotect(map, 4096, PROT_READ | PROT_WRITE));
    char *zero = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, open("/dev/zero", O_RDWR), 0);
    FACT(zero[10]);
    TRY(msync(map, 4096, MS_SYNC | MS_ASYNC));
    TRY(msync(map + 1, 4096, MS_SYNC));
    TRY(mlock(zero, 4096));
    TRY(munlock(zero, 4096));
    unsigned char vector[2] = {0};
    TRY(mincore(zero, 4096, vector));
    FACT(vector[0] & 1);
    TRY(mincore(zero + 1, 4096, vector));
    munmap(zero, 4096);
    TRY(mincore(zero, 4096, vector));
    return 0;
}
