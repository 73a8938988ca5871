// exit_group(2) ends all threads; the main thread may end before the others.
#include "../claim.h"

static void *finish(void *unused) {
    pause_ms(30);
    _exit(33);
    return unused;
}
static void *outlive(void *unused) {
    pause_ms(50);
    puts("outlived the main thread");
    return unused;
}
static int behave(const char *mode) {
    pthread_t thread;
    setvbuf(stdout, NULL, _IONBF, 0);
    alarm(TIME_LIMIT);
    pthread_create(&thread, NULL, *mode == 'g' ? finish : outlive, NULL);
    if (*mode == 'm') pthread_exit(NULL);
    for (;;) pause();
}
int main(int argc, char **argv) {
    if (argc > 1) return behave(argv[1]);
    begin();
    const char *modes[] = {"group exit from a thread", "main's pthread_exit"};
    for (int i = 0; i < 2; i++) {
        pid_t child = MUST(fork());
        if (child == 0) {
            execl(self(), "x", modes[i], NULL);
            _exit(1);
        }
        reap(modes[i], child);
    }
    return 0;
}
