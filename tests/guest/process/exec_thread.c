// execve(2) from a thread of many: the process keeps its pid, the others vanish.
#include "../claim.h"

static void *spin(void *unused) {
    for (;;) pause();
    return unused;
}
static void *leave(void *pid) {
    char text[16];
    snprintf(text, sizeof text, "%d", *(pid_t *)pid);
    execl(self(), "x", text, NULL);
    return NULL;
}
int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc > 1) {
        printf("same pid: %d, tid is pid: %d\n", getpid() == atoi(argv[1]), syscall(SYS_gettid) == getpid());
        char line[128];
        FILE *file = fopen("/proc/self/status", "r");
        while (file && fgets(line, sizeof line, file))
            if (strncmp(line, "Threads:", 8) == 0) printf("%s", line);
        return 21;
    }
    begin();
    pid_t me = getpid();
    pthread_t thread;
    for (int i = 0; i < 3; i++) pthread_create(&thread, NULL, spin, NULL);
    pthread_create(&thread, NULL, leave, &me);
    pthread_join(thread, NULL);
    return 1;
}
