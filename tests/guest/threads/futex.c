// futex(2) itself: wait, wake, time-outs, bitsets, requeue.
#include "../claim.h"

enum { WAIT = 0, WAKE = 1, REQUEUE = 3, CMP_REQUEUE = 4, WAIT_BITSET = 9, WAKE_BITSET = 10, PRIVATE = 128 };
static int word, second, asleep;
static long futex(int *address, int operation, int value, struct timespec *time, int *other, int value3) {
    return syscall(SYS_futex, address, operation, value, time, other, value3);
}
static void *sleeper(void *unused) {
    __atomic_add_fetch(&asleep, 1, __ATOMIC_SEQ_CST);
    futex(&word, WAIT | PRIVATE, 0, NULL, NULL, 0);
    return unused;
}
int main(void) {
    begin();
    struct timespec brief = {0, 10000000}, wrong = {0, 2000000000};
    TRY(futex(&word, WAIT, 1, NULL, NULL, 0));
    TRY(futex(&word, WAIT | PRIVATE, 0, &brief, NULL, 0));
    TRY(futex(&word, WAIT | PRIVATE, 0, &wrong, NULL, 0));
    TRY(futex(&word, WAKE | PRIVATE, 1, NULL, NULL, 0));
    TRY(futex((int *)((char *)&word + 1), WAIT, 0, &brief, NULL, 0));
    TRY(futex((int *)4096, WAIT, 0, &brief, NULL, 0));
    TRY(futex(&word, WAIT_BITSET, 0, &brief, NULL, 0));
    TRY(futex(&word, WAIT_BITSET, 0, &brief, NULL, 1));
    TRY(futex(&word, 77, 0, NULL, NULL, 0));
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, sleeper, NULL);
    while (__atomic_load_n(&asleep, __ATOMIC_SEQ_CST) < 4) pause_ms(1);
    long moved = 0;
    while (moved < 4) moved += futex(&word, REQUEUE | PRIVATE, 0, (struct timespec *)4L, &second, 0);
    FACT(moved);
    TRY(futex(&word, WAKE | PRIVATE, 10, NULL, NULL, 0));
    TRY(futex(&second, CMP_REQUEUE | PRIVATE, 0, NULL, &word, 5));
    TRY(futex(&second, WAKE | PRIVATE, 3, NULL, NULL, 0));
    TRY(futex(&second, WAKE | PRIVATE, 10, NULL, NULL, 0));
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    return 0;
}
