// fork(2) from a thread: only that thread lives on in the child.
#include "../claim.h"

static void *forker(void *result) {
    pid_t child = fork();
    if (child == 0) {
        char line[128];
        FILE *file = fopen("/proc/self/status", "r");
        while (file && fgets(line, sizeof line, file))
            if (strncmp(line, "Threads:", 8) == 0) printf("%s", line);
        printf("tid is pid: %d\n", syscall(SYS_gettid) == getpid());
        exit(13);
    }
    *(pid_t *)result = child;
    return NULL;
}
int main(void) {
    begin();
    pid_t child = 0;
    pthread_t thread;
    pthread_create(&thread, NULL, forker, &child);
    pthread_join(thread, NULL);
    reap("child of a thread", child);
    return 0;
}
