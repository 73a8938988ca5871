// SIGCHLD tells how a child changed; SA_NOCLDSTOP, SA_NOCLDWAIT and SIG_IGN.
#include "../claim.h"

static volatile siginfo_t last;
static void note(int number, siginfo_t *info, void *context) {
    (void)number; (void)context;
    last = *info;
    caught++;
}
static void expect(const char *what, pid_t child, int count) {
    sigset_t none;
    sigemptyset(&none);
    while (caught < count) sigsuspend(&none);
    printf("%s: code %d status %d child %d\n", what, last.si_code, last.si_status, last.si_pid == child);
}
int main(void) {
    begin();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGCHLD, &action, NULL));
    pid_t child = MUST(fork());
    if (child == 0) {
        for (;;) pause();
    }
    kill(child, SIGSTOP);
    expect("stop", child, 1);
    kill(child, SIGCONT);
    expect("continue", child, 2);
    kill(child, SIGKILL);
    expect("kill", child, 3);
    waitpid(child, NULL, 0);
    child = MUST(fork());
    if (child == 0) _exit(6);
    expect("exit", child, 4);
    waitpid(child, NULL, 0);
    action.sa_flags = SA_SIGINFO | SA_NOCLDSTOP;
    MUST(sigaction(SIGCHLD, &action, NULL));
    child = MUST(fork());
    if (child == 0) {
        for (;;) pause();
    }
    kill(child, SIGSTOP);
    int status;
    waitpid(child, &status, WUNTRACED);
    sigset_t pending;
    sigpending(&pending);
    printf("no signal for a stop: %d\n", !sigismember(&pending, SIGCHLD));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    action.sa_flags = SA_SIGINFO | SA_NOCLDWAIT;
    MUST(sigaction(SIGCHLD, &action, NULL));
    child = MUST(fork());
    if (child == 0) _exit(1);
    TRY(waitpid(child, NULL, 0));
    signal(SIGCHLD, SIG_IGN);
    child = MUST(fork());
    if (child == 0) _exit(1);
    TRY(wait(NULL));
    return 0;
}
