// Advice through a ring acts as madvise(2) does: alone, linked, asynchronous, on memory of a file, and on none.
#include "ring.h"

static struct ring r;

static void advise(const char *what, void *address, unsigned length, int advice) {
    next_entry(&r, IORING_OP_MADVISE, -1, address, length, 0, 1)->fadvise_advice = (unsigned)advice;
    run(&r, what);
}

int main(void) {
    begin();
    r = ring_make(8, 0, 0);
    fresh_directory();
    char *memory = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 'x', 1 << 16);
    advise("willneed", memory, 1 << 16, MADV_WILLNEED);
    FACT(memory[5000]);
    advise("dontneed", memory + 4096, 8192, MADV_DONTNEED);
    printf("%d %d %d %d\n", memory[0], memory[4096], memory[12287], memory[12288]);
    advise("cold", memory, 4096, MADV_COLD);
    FACT(memory[0]);
    advise("unaligned", memory + 1, 4096, MADV_DONTNEED);
    advise("unknown", memory, 4096, 99);
    advise("nothing", memory, 0, MADV_DONTNEED);

    // Of a file: what was changed privately is gone, what was changed for all stays.
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0644));
    MUST(pwrite(fd, "original", 8, 0));
    char *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memcpy(private, "changed!", 8);
    advise("private", private, 4096, MADV_DONTNEED);
    printf("%.8s\n", private);
    memcpy(shared, "together", 8);
    advise("shared", shared, 4096, MADV_DONTNEED);
    printf("%.8s %.8s\n", shared, private);

    // Linked behind something that waits, and from the start asynchronous.
    int ends[2];
    char byte;
    MUST(pipe(ends));
    next_entry(&r, IORING_OP_READ, ends[0], &byte, 1, (uint64_t)-1, 1)->flags = IOSQE_IO_LINK;
    next_entry(&r, IORING_OP_MADVISE, -1, memory, 4096, 0, 2)->fadvise_advice = MADV_DONTNEED;
    FACT(submit(&r, 0));
    FACT(memory[0]);
    MUST(write(ends[1], "x", 1));
    show_results(&r, "linked", 2);
    FACT(memory[0]);
    struct io_uring_sqe *sqe = next_entry(&r, IORING_OP_MADVISE, -1, memory + 16384, 4096, 0, 1);
    sqe->fadvise_advice = MADV_DONTNEED, sqe->flags = IOSQE_ASYNC;
    run(&r, "asynchronous");
    FACT(memory[16384]);

    // Many at once.
    for (int i = 0; i < 8; i++) next_entry(&r, IORING_OP_MADVISE, -1, memory + 32768 + i * 4096, 4096, 0, (uint64_t)i)->fadvise_advice = MADV_DONTNEED;
    run(&r, "many");
    int left = 0;
    for (int i = 32768; i < 65536; i++) left += memory[i] != 0;
    FACT(left);
    return 0;
}
