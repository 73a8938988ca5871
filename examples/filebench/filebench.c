// Four workloads of the shapes of filebench's varmail, fileserver, oltp and videoserver.
//
//     filebench WORKLOAD FOLDER SECONDS SHARE
//
// SHARE (0..1) scales the number and the size of files; threads and sizes of transfers stay. Prints operations a second:
// each open, read, write, fsync, delete and stat is one, as filebench counts its flow operations.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KIB 1024
#define MIB (1024 * 1024)
#define MOST_FILES 10000

static const char *folder;
static double share;
static atomic_long operations;
static atomic_int over;
static int files;
static long file_size;
static atomic_int users[MOST_FILES]; // who has each file open; -1 while it is being deleted

struct worker {
    pthread_t thread;
    void (*step)(struct worker *);
    unsigned seed;
    int number;
    int file; // the one that it uses
    char *buffer;
};

static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void count(int many) { atomic_fetch_add_explicit(&operations, many, memory_order_relaxed); }

static int scaled(int wanted, int least) { return wanted * share > least ? (int)(wanted * share) : least; }

static void name_of(char *path, int file) { sprintf(path, "%s/d%02d/f%06d", folder, file % 20, file); }

static int pick(struct worker *worker) { return rand_r(&worker->seed) % files; }

// Some file that nobody deletes until ``leave``. As in filebench, nobody deletes what somebody uses.
static void use_some(struct worker *worker, char *path) {
    int now;
    do {
        worker->file = pick(worker);
        now = atomic_load(&users[worker->file]);
    } while (now < 0 || !atomic_compare_exchange_strong(&users[worker->file], &now, now + 1));
    name_of(path, worker->file);
}

static void leave(struct worker *worker, int fd) {
    if (fd >= 0) close(fd);
    atomic_fetch_sub(&users[worker->file], 1);
}

// Opens some file; another one if that has been deleted meanwhile. A new one if there seem to be none, or to ``create``.
static int open_some(struct worker *worker, int flags, int create) {
    char path[4096];
    for (int attempt = create ? 100 : 0;; attempt++) {
        use_some(worker, path);
        int fd = open(path, flags | (attempt >= 100 ? O_CREAT : 0), 0644);
        if (fd >= 0) return fd;
        if (errno != ENOENT) die(path);
        leave(worker, fd);
    }
}

static void write_whole(struct worker *worker, int fd, long size) {
    while (size > 0) {
        ssize_t done = write(fd, worker->buffer, size < MIB ? size : MIB);
        if (done <= 0) die("write");
        size -= done;
    }
}

static void read_whole(struct worker *worker, int fd) {
    ssize_t done;
    while ((done = read(fd, worker->buffer, MIB)) > 0) {}
    if (done < 0) die("read");
}

static void delete_some(struct worker *worker) {
    char path[4096];
    int file, nobody;
    do {
        file = pick(worker);
        nobody = 0;
    } while (!atomic_compare_exchange_strong(&users[file], &nobody, -1));
    name_of(path, file);
    if (unlink(path) && errno != ENOENT) die(path);
    atomic_store(&users[file], 0);
    count(1);
}

static void create_some(struct worker *worker, long size, int sync) {
    int fd = open_some(worker, O_WRONLY | O_APPEND, 1);
    write_whole(worker, fd, size);
    if (sync && fsync(fd)) die("fsync");
    leave(worker, fd);
    count(3 + sync);
}

static void varmail(struct worker *worker) {
    delete_some(worker);
    create_some(worker, rand_r(&worker->seed) % (32 * KIB), 1);
    int fd = open_some(worker, O_RDWR | O_APPEND, 0);
    read_whole(worker, fd);
    write_whole(worker, fd, rand_r(&worker->seed) % (32 * KIB));
    if (fsync(fd)) die("fsync");
    leave(worker, fd);
    fd = open_some(worker, O_RDONLY, 0);
    read_whole(worker, fd);
    leave(worker, fd);
    count(8);
}

static void fileserver(struct worker *worker) {
    char path[4096];
    struct stat status;
    create_some(worker, file_size, 0);
    int fd = open_some(worker, O_WRONLY | O_APPEND, 0);
    write_whole(worker, fd, rand_r(&worker->seed) % (32 * KIB));
    leave(worker, fd);
    fd = open_some(worker, O_RDONLY, 0);
    read_whole(worker, fd);
    leave(worker, fd);
    delete_some(worker);
    name_of(path, pick(worker));
    if (stat(path, &status) && errno != ENOENT) die(path);
    count(7);
}

// Ten writers of 2 KiB with O_DSYNC, one of a log, and readers.
static void oltp(struct worker *worker) {
    int writer = worker->number <= 10, log = worker->number == 0;
    int fd = open_some(worker, writer ? O_WRONLY | O_DSYNC : O_RDONLY, 0);
    for (int round = 0; round < 10 && !over; round++) {
        long size = log ? 256 * KIB : 2 * KIB;
        off_t place = (off_t)(rand_r(&worker->seed) % (file_size / size)) * size;
        ssize_t done = writer ? pwrite(fd, worker->buffer, size, place) : pread(fd, worker->buffer, size, place);
        if (done < 0) die("oltp");
        count(1);
    }
    leave(worker, fd);
}

// Readers of whole videos, and one that replaces them.
static void videoserver(struct worker *worker) {
    if (worker->number == 0) {
        int fd = open_some(worker, O_WRONLY | O_TRUNC, 1);
        for (long done = 0; done < file_size && !over; done += MIB) {
            write_whole(worker, fd, MIB);
            count(1);
        }
        leave(worker, fd);
        return;
    }
    int fd = open_some(worker, O_RDONLY, 0);
    while (!over && read(fd, worker->buffer, MIB) > 0) count(1);
    leave(worker, fd);
}

static void *work(void *argument) {
    struct worker *worker = argument;
    while (!over) worker->step(worker);
    return NULL;
}

static void fill(int with, long size) {
    struct worker worker = {.buffer = calloc(1, MIB)};
    char path[4096];
    for (int number = 0; number < 20; number++) {
        sprintf(path, "%s/d%02d", folder, number);
        if (mkdir(path, 0755) && errno != EEXIST) die(path);
    }
    for (int file = 0; file < with; file++) {
        name_of(path, file);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (fd < 0) die(path);
        write_whole(&worker, fd, size);
        close(fd);
    }
    sync();
    free(worker.buffer);
}

static const struct {
    const char *name;
    void (*step)(struct worker *);
    int threads, files, least_files, filled_percent;
    long file_size, least_size;
} WORKLOADS[] = {
    {"varmail", varmail, 16, 1000, 20, 80, 16 * KIB, 16 * KIB},
    {"fileserver", fileserver, 50, 10000, 50, 80, 128 * KIB, 128 * KIB},
    {"oltp", oltp, 30, 10, 10, 100, 10 * MIB, MIB},
    {"videoserver", videoserver, 48, 32, 4, 100, 128 * MIB, 4 * MIB},
};

int main(int argc, char **argv) {
    share = argc == 5 ? atof(argv[4]) : 0;
    if (share <= 0 || share > 1) {
        fprintf(stderr, "usage: filebench varmail|fileserver|oltp|videoserver FOLDER SECONDS SHARE (0..1)\n");
        return 2;
    }
    folder = argv[2];
    double seconds = atof(argv[3]);
    for (unsigned which = 0; which < sizeof WORKLOADS / sizeof *WORKLOADS; which++) {
        if (strcmp(WORKLOADS[which].name, argv[1])) continue;
        files = scaled(WORKLOADS[which].files, WORKLOADS[which].least_files);
        long size = WORKLOADS[which].file_size;
        file_size = size * share > WORKLOADS[which].least_size ? (long)(size * share) : WORKLOADS[which].least_size;
        if (WORKLOADS[which].step == fileserver) file_size = size;
        fill(files * WORKLOADS[which].filled_percent / 100, file_size);
        struct worker workers[64] = {0};
        double start = now();
        for (int number = 0; number < WORKLOADS[which].threads; number++) {
            workers[number].step = WORKLOADS[which].step;
            workers[number].number = number;
            workers[number].seed = number + 1;
            workers[number].buffer = calloc(1, MIB);
            if (pthread_create(&workers[number].thread, NULL, work, &workers[number])) die("thread");
        }
        struct timespec pause = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
        nanosleep(&pause, NULL);
        long done = atomic_load(&operations);
        double took = now() - start;
        over = 1;
        for (int number = 0; number < WORKLOADS[which].threads; number++) pthread_join(workers[number].thread, NULL);
        printf("%.1f\n", done / took);
        return 0;
    }
    fprintf(stderr, "there is no workload %s\n", argv[1]);
    return 2;
}
