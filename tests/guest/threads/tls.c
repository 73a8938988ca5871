// Thread-local storage and the destructors of keys.
#include "../claim.h"

static __thread int initialized = 7, zeroed;
static __thread char large[5000];
static pthread_key_t key;
static volatile int destroyed;
static void destroy(void *value) {
    destroyed += (int)(long)value;
}
static void *work(void *number) {
    printf("%d %d %d\n", initialized, zeroed, large[4999]);
    initialized = zeroed = large[4999] = (int)(long)number;
    pthread_setspecific(key, number);
    return (void *)(long)(initialized + zeroed + large[4999]);
}
int main(void) {
    begin();
    pthread_key_create(&key, destroy);
    for (long i = 1; i < 4; i++) {
        pthread_t thread;
        void *result;
        pthread_create(&thread, NULL, work, (void *)i);
        pthread_join(thread, &result);
        FACT((long)result);
    }
    FACT(destroyed);
    printf("%d %d\n", initialized, zeroed);
    pid_t child = MUST(fork());
    if (child == 0) {
        initialized++;
        _exit(initialized);
    }
    reap("TLS after fork", child);
    return 0;
}
