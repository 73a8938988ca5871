// A mutex and a condition variable in shared memory work between processes.
#include "../claim.h"

struct shared {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int turn;
};
int main(void) {
    begin();
    struct shared *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t mutex_attributes;
    pthread_condattr_t condition_attributes;
    pthread_mutexattr_init(&mutex_attributes);
    pthread_condattr_init(&condition_attributes);
    pthread_mutexattr_setpshared(&mutex_attributes, PTHREAD_PROCESS_SHARED);
    pthread_condattr_setpshared(&condition_attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->mutex, &mutex_attributes);
    pthread_cond_init(&shared->condition, &condition_attributes);
    pid_t child = MUST(fork());
    for (int round = 0; round < 100; round++) {
        pthread_mutex_lock(&shared->mutex);
        while (shared->turn % 2 != (child == 0)) pthread_cond_wait(&shared->condition, &shared->mutex);
        shared->turn++;
        pthread_cond_signal(&shared->condition);
        pthread_mutex_unlock(&shared->mutex);
    }
    if (child == 0) _exit(0);
    reap("partner", child);
    FACT(shared->turn);
    return 0;
}
