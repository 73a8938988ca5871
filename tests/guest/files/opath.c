// What a descriptor with O_PATH is good for.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    put("file", "text");
    MUST(mkdir("dir", 0755));
    put("dir/inside", "in");
    int fd = MUST(open("file", O_PATH)), dir = MUST(open("dir", O_PATH));
    char byte;
    struct stat st;
    TRY(read(fd, &byte, 1));
    TRY(write(fd, &byte, 1));
    TRY(fstat(fd, &st));
    TRY(fchmod(fd, 0600));
    TRY(ftruncate(fd, 0));
    TRY(ioctl(fd, FIONREAD, &byte));
    OK(dup(fd));
    OK(openat(dir, "inside", O_RDONLY));
    TRY(fchdir(dir));
    show("inside");
    FACT((fcntl(fd, F_GETFL) & O_PATH) != 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    OK(open(path, O_RDONLY));
    OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0));
    TRY(lseek(fd, 0, SEEK_SET));
    return 0;
}
