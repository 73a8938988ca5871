# needs: gcc
# A program against Debian's liburing: copies a file with linked requests, serves an echo with multishot requests.
set -e
cat > copy.c <<'C'
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 4096
#define DEPTH 8

static void must(int result, const char *what) {
    if (result < 0) { printf("%s: %s\n", what, strerror(-result)); exit(1); }
}

static void copy(struct io_uring *ring, int from, int to) {
    static char blocks[DEPTH][BLOCK];
    struct stat attributes;
    fstat(from, &attributes);
    off_t offset = 0;
    while (offset < attributes.st_size) {
        int pairs = 0;
        for (; pairs < DEPTH && offset < attributes.st_size; pairs++) {
            unsigned size = attributes.st_size - offset < BLOCK ? (unsigned)(attributes.st_size - offset) : BLOCK;
            struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
            io_uring_prep_read(sqe, from, blocks[pairs], size, (unsigned long long)offset);
            io_uring_sqe_set_flags(sqe, IOSQE_IO_LINK);
            io_uring_sqe_set_data64(sqe, size);
            sqe = io_uring_get_sqe(ring);
            io_uring_prep_write(sqe, to, blocks[pairs], size, (unsigned long long)offset);
            io_uring_sqe_set_data64(sqe, size);
            offset += size;
        }
        must(io_uring_submit_and_wait(ring, (unsigned)pairs * 2), "submit");
        for (int i = 0; i < pairs * 2; i++) {
            struct io_uring_cqe *cqe;
            must(io_uring_wait_cqe(ring, &cqe), "wait");
            if ((unsigned long long)cqe->res != io_uring_cqe_get_data64(cqe)) printf("short: %d\n", cqe->res);
            io_uring_cqe_seen(ring, cqe);
        }
    }
}

static void echo(struct io_uring *ring) {
    int ends[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    struct io_uring_buf_ring *buffers;
    must(posix_memalign((void **)&buffers, 4096, 4096), "memory");
    struct io_uring_buf_reg registration = {.ring_addr = (unsigned long)buffers, .ring_entries = 16, .bgid = 1};
    must(io_uring_register_buf_ring(ring, &registration, 0), "buffers");
    io_uring_buf_ring_init(buffers);
    static char pool[16][32];
    for (int i = 0; i < 16; i++)
        io_uring_buf_ring_add(buffers, pool[i], sizeof pool[i], (unsigned short)i, io_uring_buf_ring_mask(16), i);
    io_uring_buf_ring_advance(buffers, 16);
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    io_uring_prep_recv_multishot(sqe, ends[0], NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT, sqe->buf_group = 1;
    must(io_uring_submit(ring), "submit");
    int total = 0;
    for (int round = 0; round < 50; round++) {
        char text[32];
        int size = snprintf(text, sizeof text, "round %d", round);
        if (write(ends[1], text, (size_t)size) != size) puts("short write");
        struct io_uring_cqe *cqe;
        must(io_uring_wait_cqe(ring, &cqe), "wait");
        must(cqe->res, "receive");
        int id = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        if (memcmp(pool[id], text, (size_t)cqe->res) != 0) puts("wrong bytes");
        total += cqe->res;
        io_uring_buf_ring_add(buffers, pool[id], sizeof pool[id], (unsigned short)id, io_uring_buf_ring_mask(16), 0);
        io_uring_buf_ring_advance(buffers, 1);
        io_uring_cqe_seen(ring, cqe);
    }
    printf("echoed %d bytes\n", total);
    close(ends[0]), close(ends[1]);
}

int main(int argc, char **argv) {
    struct io_uring ring;
    must(io_uring_queue_init(32, &ring, 0), "queue");
    int from = open(argv[1], O_RDONLY), to = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    copy(&ring, from, to);
    echo(&ring);
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring);
    printf("send: %d\n", io_uring_opcode_supported(probe, IORING_OP_SEND));
    io_uring_queue_exit(&ring);
    return argc - 3;
}
C
gcc -O1 -o copy copy.c -luring
seq 1 20000 > from
./copy from to
cmp from to && echo same
