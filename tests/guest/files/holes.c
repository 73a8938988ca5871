// fallocate(2) and SEEK_DATA, SEEK_HOLE.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0644));
    enum { BLOCK = 65536 };
    static char data[BLOCK], zero[BLOCK], read_back[BLOCK];
    memset(data, 'd', BLOCK);
    TRY(pwrite(fd, data, BLOCK, 2 * BLOCK));
    TRY(ftruncate(fd, 4 * BLOCK));
    TRY(lseek(fd, 0, SEEK_DATA));
    TRY(lseek(fd, 0, SEEK_HOLE));
    TRY(lseek(fd, 2 * BLOCK, SEEK_HOLE));
    TRY(lseek(fd, 3 * BLOCK, SEEK_DATA));
    TRY(lseek(fd, 4 * BLOCK, SEEK_HOLE));
    pread(fd, read_back, BLOCK, 0);
    FACT(memcmp(read_back, zero, BLOCK));
    TRY(fallocate(fd, 0, 4 * BLOCK, BLOCK));
    FACT(lseek(fd, 0, SEEK_END));
    TRY(fallocate(fd, FALLOC_FL_KEEP_SIZE, 5 * BLOCK, BLOCK));
    FACT(lseek(fd, 0, SEEK_END));
    TRY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * BLOCK, BLOCK / 2));
    pread(fd, read_back, BLOCK, 2 * BLOCK);
    FACT(memcmp(read_back, zero, BLOCK / 2));
    FACT(memcmp(read_back + BLOCK / 2, data, BLOCK / 2));
    TRY(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, BLOCK));
    TRY(fallocate(fd, 0, 0, 0));
    TRY(fallocate(fd, 0, -1, 10));
    TRY(fallocate(open("file", O_RDONLY), 0, 0, 10));
    FACT(posix_fallocate(fd, 0, 8 * BLOCK));
    FACT(lseek(fd, 0, SEEK_END));
    return 0;
}
