// Mutexes of each kind, and timed locks.
#include "../claim.h"

static pthread_mutex_t mutex;
static void *other(void *unused) {
    FACT(pthread_mutex_trylock(&mutex) == EBUSY);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 20000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    FACT(pthread_mutex_timedlock(&mutex, &until) == ETIMEDOUT);
    return unused;
}
int main(void) {
    begin();
    int kinds[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_RECURSIVE};
    for (int i = 0; i < 3; i++) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_settype(&attributes, kinds[i]);
        pthread_mutex_init(&mutex, &attributes);
        FACT(pthread_mutex_lock(&mutex));
        if (i > 0) FACT(pthread_mutex_lock(&mutex));
        pthread_t thread;
        pthread_create(&thread, NULL, other, NULL);
        pthread_join(thread, NULL);
        FACT(pthread_mutex_unlock(&mutex));
        if (i > 0) FACT(pthread_mutex_unlock(&mutex));
    }
    return 0;
}
