// Condition variables, barriers, read-write locks and semaphores.
#include "../claim.h"

#include <semaphore.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t semaphore;
static int turn, serial;
static void *player(void *number) {
    for (int round = 0; round < 50; round++) {
        pthread_mutex_lock(&mutex);
        while (turn % 3 != (int)(long)number) pthread_cond_wait(&condition, &mutex);
        turn++;
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
    }
    if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) __atomic_add_fetch(&serial, 1, __ATOMIC_SEQ_CST);
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
    sem_post(&semaphore);
    return NULL;
}
int main(void) {
    begin();
    pthread_t threads[3];
    pthread_barrier_init(&barrier, NULL, 3);
    sem_init(&semaphore, 0, 0);
    pthread_rwlock_wrlock(&rwlock);
    for (long i = 0; i < 3; i++) pthread_create(&threads[i], NULL, player, (void *)i);
    FACT(pthread_rwlock_tryrdlock(&rwlock) == EBUSY || pthread_rwlock_tryrdlock(&rwlock) == EDEADLK);
    pthread_rwlock_unlock(&rwlock);
    for (int i = 0; i < 3; i++) FACT(sem_wait(&semaphore));
    TRY(sem_trywait(&semaphore));
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    FACT(turn);
    FACT(serial);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    pthread_mutex_lock(&mutex);
    FACT(pthread_cond_timedwait(&condition, &mutex, &until) == ETIMEDOUT);
    return 0;
}
