// Cancellation, deferred at blocking calls, runs the cleanup handlers.
#include "../claim.h"

static int ready[2], never[2];
static void clean(void *text) {
    printf("cleanup %s\n", (char *)text);
}
static void *block(void *unused) {
    char byte;
    pthread_cleanup_push(clean, "outer");
    pthread_cleanup_push(clean, "inner");
    write(ready[1], "x", 1);
    read(never[0], &byte, 1);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return unused;
}
int main(void) {
    begin();
    MUST(pipe(ready));
    MUST(pipe(never));
    char byte;
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, block, NULL);
    read(ready[0], &byte, 1);
    pthread_cancel(thread);
    FACT(pthread_join(thread, &result));
    FACT(result == PTHREAD_CANCELED);
    return 0;
}
