// Resource limits bind.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    struct rlimit limit;
    MUST(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 20;
    TRY(setrlimit(RLIMIT_NOFILE, &limit));
    int last = 0, fd;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0) last = fd;
    printf("last fd %d, then %s\n", last, errno_name(errno));
    TRY(dup(0));
    TRY(dup2(0, 20));
    TRY(fcntl(0, F_DUPFD, 20));
    for (fd = 3; fd <= last; fd++) close(fd);
    pid_t child = MUST(fork());
    if (child == 0) {
        getrlimit(RLIMIT_NOFILE, &limit);
        printf("inherited %ld\n", (long)limit.rlim_cur);
        limit.rlim_cur = limit.rlim_max = 100;
        TRY(setrlimit(RLIMIT_FSIZE, &limit));
        fd = open("file", O_RDWR | O_CREAT, 0644);
        char text[150] = "";
        TRY(write(fd, text, 60));
        TRY(write(fd, text, 60));
        signal(SIGXFSZ, SIG_IGN);
        TRY(write(fd, text, 1));
        TRY(ftruncate(fd, 101));
        signal(SIGXFSZ, SIG_DFL);
        write(fd, text, 1);
        _exit(0);
    }
    reap("beyond RLIMIT_FSIZE", child);
    limit.rlim_cur = 2;
    limit.rlim_max = 1;
    TRY(setrlimit(RLIMIT_CORE, &limit));
    TRY(getrlimit(99, &limit));
    TRY(getrlimit(RLIMIT_NOFILE, (struct rlimit *)8));
    child = MUST(fork());
    if (child == 0) {
        limit.rlim_cur = 1;
        limit.rlim_max = 5;
        setrlimit(RLIMIT_CPU, &limit);
        for (volatile long i = 0;; i++) {}
    }
    reap("beyond RLIMIT_CPU", child);
    child = MUST(fork());
    if (child == 0) {
        limit.rlim_cur = limit.rlim_max = 256 << 20;
        setrlimit(RLIMIT_AS, &limit);
        FACT(mmap(NULL, 512 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
        puts(errno_name(errno));
        _exit(0);
    }
    reap("beyond RLIMIT_AS", child);
    return 0;
}
