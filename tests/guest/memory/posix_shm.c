// POSIX shared memory lives in /dev/shm.
#include "../claim.h"

int main(void) {
    begin();
    char name[64];
    snprintf(name, sizeof name, "/claim-%d", getpid());
    int fd = MUST(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
    FACT(ftruncate(fd, 8192));
    char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pid_t child = MUST(fork());
    if (child == 0) {
        int again = shm_open(name, O_RDWR, 0);
        char *other = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);
        strcpy(other + 5000, "from the child");
        _exit(0);
    }
    reap("child", child);
    puts(memory + 5000);
    FACT(shm_unlink(name));
    FACT(shm_unlink(name) == -1 && errno == ENOENT);
    return 0;
}
