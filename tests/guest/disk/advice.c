// posix_fadvise, readahead and sync_file_range: what they refuse, and that no data are lost by them.
#include "../claim.h"

#define MIB (1 << 20)

static int whole(int fd) {
    char *data = malloc(3 * MIB);
    int wrong = pread(fd, data, 3 * MIB, 0) != 3 * MIB;
    for (int at = 0; at < 3 * MIB; at++) wrong += data[at] != (char)(at / 1000);
    free(data);
    return wrong;
}

int main(void) {
    begin();
    fresh_directory();
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    char *data = malloc(3 * MIB);
    for (int at = 0; at < 3 * MIB; at++) data[at] = (char)(at / 1000);
    FACT(write(fd, data, 3 * MIB));
    for (int advice = 0; advice < 7; advice++) FACT(posix_fadvise(fd, 0, 0, advice) == (advice > 5 ? EINVAL : 0));
    FACT(whole(fd));
    TRY(sync_file_range(fd, 0, MIB, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
    TRY(sync_file_range(fd, -1, 1, SYNC_FILE_RANGE_WRITE));
    TRY(sync_file_range(fd, 0, 0, 8));
    FACT(posix_fadvise(fd, MIB, MIB, POSIX_FADV_DONTNEED));
    TRY(readahead(fd, 0, 3 * MIB));
    FACT(whole(fd));
    FACT(posix_fadvise(fd, 100, 5000, POSIX_FADV_DONTNEED));
    FACT(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
    FACT(whole(fd));
    FACT(posix_fadvise(fd, 0, -1, POSIX_FADV_NORMAL) == EINVAL);
    FACT(posix_fadvise(100, 0, 0, POSIX_FADV_NORMAL) == EBADF);
    int ends[2];
    MUST(pipe(ends));
    FACT(posix_fadvise(ends[0], 0, 0, POSIX_FADV_NORMAL) == ESPIPE);
    TRY(readahead(ends[0], 0, 1));
    int unreadable = MUST(open("file", O_WRONLY));
    TRY(readahead(unreadable, 0, 1));
    return 0;
}
