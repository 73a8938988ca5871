// Signals sent to one thread run there; those for the process run where they are not blocked.
#include "../claim.h"

static __thread int mine;
static volatile int in_thread, in_main;
static int ready[2];
static void where(int number) {
    (void)number;
    if (mine) in_thread++;
    else in_main++;
}
static void *wait_for_signals(void *unused) {
    mine = 1;
    write(ready[1], "x", 1);
    while (in_thread < 2) pause_ms(1);
    return unused;
}
int main(void) {
    begin();
    MUST(pipe(ready));
    handle(SIGUSR1, where, 0);
    handle(SIGUSR2, where, 0);
    pthread_t thread;
    char byte;
    pthread_create(&thread, NULL, wait_for_signals, NULL);
    read(ready[0], &byte, 1);
    FACT(pthread_kill(thread, SIGUSR1));
    while (in_thread < 1) pause_ms(1);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    FACT(kill(getpid(), SIGUSR2));
    pthread_join(thread, NULL);
    FACT(in_thread);
    FACT(in_main);
    TRY(syscall(SYS_tgkill, getpid(), getpid(), SIGUSR2));
    FACT(in_main);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    FACT(in_main);
    TRY(syscall(SYS_tgkill, getpid(), 1 << 29, 0));
    TRY(syscall(SYS_tgkill, getppid(), getpid(), 0));
    return 0;
}
