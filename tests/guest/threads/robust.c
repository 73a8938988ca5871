// A robust mutex tells its next owner that the last one died, also across processes.
#include "../claim.h"

struct shared {
    pthread_mutex_t mutex;
};
static struct shared *shared;
static void *die(void *unused) {
    pthread_mutex_lock(&shared->mutex);
    return unused;
}
int main(void) {
    begin();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->mutex, &attributes);
    pthread_t thread;
    pthread_create(&thread, NULL, die, NULL);
    pthread_join(thread, NULL);
    FACT(pthread_mutex_lock(&shared->mutex) == EOWNERDEAD);
    FACT(pthread_mutex_consistent(&shared->mutex));
    FACT(pthread_mutex_unlock(&shared->mutex));
    pid_t child = MUST(fork());
    if (child == 0) {
        pthread_mutex_lock(&shared->mutex);
        kill(getpid(), SIGKILL);
    }
    reap("owner", child);
    FACT(pthread_mutex_lock(&shared->mutex) == EOWNERDEAD);
    FACT(pthread_mutex_unlock(&shared->mutex));
    FACT(pthread_mutex_lock(&shared->mutex) == ENOTRECOVERABLE);
    return 0;
}
