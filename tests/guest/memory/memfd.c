// memfd_create(2): a file without a name, with seals.
#include "../claim.h"

int main(void) {
    begin();
    int fd = MUST(memfd_create("claim", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    TRY(fcntl(fd, F_GETFD));
    TRY(write(fd, "12345", 5));
    struct stat st;
    TRY(fstat(fd, &st));
    printf("mode %o size %lld nlink %d\n", st.st_mode, (long long)st.st_size, (int)st.st_nlink);
    char path[64], target[64] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    readlink(path, target, sizeof target - 1);
    puts(target);
    TRY(fcntl(fd, F_GET_SEALS));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
    TRY(ftruncate(fd, 3));
    TRY(ftruncate(fd, 9));
    TRY(pwrite(fd, "abc", 3, 0));
    TRY(pwrite(fd, "abc", 3, 4));
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    FACT(map[0]);
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    munmap(map, 4096);
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
    TRY(pwrite(fd, "x", 1, 0));
    OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    TRY(fcntl(fd, F_ADD_SEALS, 0));
    TRY(fcntl(fd, F_GET_SEALS));
    int plain = MUST(memfd_create("plain", 0));
    TRY(fcntl(plain, F_ADD_SEALS, F_SEAL_WRITE));
    TRY(memfd_create("flags", 0x800));
    TRY(fcntl(0, F_GET_SEALS));
    return 0;
}
