// Threads return values, share memory and have ids of their own.
#include "../claim.h"

static int total;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *work(void *argument) {
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&lock);
        total++;
        pthread_mutex_unlock(&lock);
    }
    if (syscall(SYS_gettid) == getpid()) puts("a thread has the process' id");
    return argument;
}
int main(void) {
    begin();
    pthread_t threads[32];
    for (long i = 0; i < 32; i++) FACT(pthread_create(&threads[i], NULL, work, (void *)(i * 3)));
    long sum = 0;
    for (int i = 0; i < 32; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    FACT(sum);
    FACT(total);
    return 0;
}
