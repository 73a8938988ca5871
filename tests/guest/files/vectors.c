// writev(2) and its like of few and many parts, short and long ones, and of parts that are not there.
#include "../claim.h"

static char data[100000];
static struct iovec parts[1025];

static unsigned sum_of(int fd) {
    static char back[200000];
    ssize_t size = MUST(pread(fd, back, sizeof back, 0));
    unsigned sum = (unsigned)size;
    for (ssize_t i = 0; i < size; i++) sum = sum * 31 + (unsigned char)back[i];
    return sum;
}

static void cut(int count, size_t each) {
    for (int i = 0; i < count; i++) parts[i] = (struct iovec){data + i * 7 % 1000, each};
}

int main(void) {
    begin();
    fresh_directory();
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0644));
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * 2654435761u >> 13);
    static const struct { int count; size_t each; } shapes[] = {
        {0, 0}, {1, 0}, {1, 1}, {3, 5}, {63, 100}, {64, 100}, {65, 100}, {1024, 3}, {1, 32768}, {1, 32769}, {2, 16384},
        {2, 16385}, {64, 512}, {64, 513}, {2, 40000}, {1, 100000},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        MUST(ftruncate(fd, 0));
        MUST(lseek(fd, 0, SEEK_SET));
        cut(shapes[i].count, shapes[i].each);
        TRY(writev(fd, parts, shapes[i].count));
        TRY(pwritev(fd, parts, shapes[i].count, 10));
        printf("%d of %zu: %u\n", shapes[i].count, shapes[i].each, sum_of(fd));
    }
    cut(3, 4);
    parts[1].iov_len = 0;
    parts[1].iov_base = NULL;
    MUST(lseek(fd, 0, SEEK_SET));
    TRY(writev(fd, parts, 3));
    TRY(syscall(SYS_pwritev2, fd, parts, 3L, -1L, -1L, 0));
    printf("%u\n", sum_of(fd));
    TRY(writev(fd, parts, 1025));
    TRY(writev(fd, parts, -1));
    TRY(pwritev(fd, parts, 3, -1));
    TRY(writev(-1, parts, 3));
    parts[1].iov_len = (size_t)-1;
    TRY(writev(fd, parts, 3));
    parts[0] = (struct iovec){(void *)8, 4};
    TRY(writev(fd, parts, 1));
    TRY(writev(fd, (struct iovec *)8, 1));
    printf("%u\n", sum_of(fd));
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
    cut(5, 9);
    TRY(writev(ends[0], parts, 5));
    TRY(read(ends[1], data, sizeof data));
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(munmap(pages + 4096, 4096));
    struct iovec *edge = (struct iovec *)(pages + 4096) - 2;
    edge[0] = (struct iovec){pages + 4090, 6};
    edge[1] = (struct iovec){pages, 4};
    TRY(writev(ends[0], edge, 2));
    TRY(writev(ends[0], edge, 3));
    return 0;
}
