// Stack sizes, detached threads, names and thread counts.
#include "../claim.h"

static int done[2];
static void *deep(void *unused) {
    volatile char frame[900000];
    for (unsigned i = 0; i < sizeof frame; i += 4096) frame[i] = 1;
    char name[16];
    prctl(PR_SET_NAME, "worker");
    prctl(PR_GET_NAME, name);
    puts(name);
    write(done[1], "x", 1);
    return unused;
}
int main(void) {
    begin();
    MUST(pipe(done));
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    FACT(pthread_attr_setstacksize(&attributes, 1 << 20));
    FACT(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED));
    pthread_t thread;
    FACT(pthread_create(&thread, &attributes, deep, NULL));
    char byte, name[16];
    FACT(read(done[0], &byte, 1));
    prctl(PR_GET_NAME, name);
    printf("main keeps its name: %d\n", strcmp(name, "worker") != 0);
    FACT(pthread_attr_setstacksize(&attributes, 1) == EINVAL);
    return 0;
}
