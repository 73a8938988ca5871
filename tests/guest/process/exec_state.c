// What execve(2) keeps of a process and what it resets.
#include "../claim.h"

static int stage2(void) {
    struct sigaction action;
    sigset_t set;
    stack_t stack;
    sigaction(SIGUSR1, NULL, &action);
    printf("handler reset: %d\n", action.sa_handler == SIG_DFL);
    sigaction(SIGUSR2, NULL, &action);
    printf("ignored kept: %d\n", action.sa_handler == SIG_IGN);
    sigprocmask(SIG_BLOCK, NULL, &set);
    printf("mask kept: %d\n", sigismember(&set, SIGHUP));
    sigpending(&set);
    printf("pending kept: %d\n", sigismember(&set, SIGHUP));
    sigaltstack(NULL, &stack);
    printf("altstack disabled: %d\n", stack.ss_flags == SS_DISABLE);
    TRY(fcntl(50, F_GETFD));
    TRY(fcntl(51, F_GETFD));
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    printf("name changed: %d\n", strcmp(name, "before"));
    printf("umask %o\n", umask(0));
    char *variable = getenv("KEY");
    printf("KEY=%s\n", variable ? variable : "(none)");
    return 0;
}
int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc > 1) {
        for (int i = 1; i < argc; i++) printf("argv[%d]=\"%s\"\n", i, argv[i]);
        return stage2();
    }
    begin();
    static char memory[65536];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory};
    MUST(sigaltstack(&stack, NULL));
    handle(SIGUSR1, count_signal, 0);
    signal(SIGUSR2, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGHUP);
    MUST(dup2(1, 50));
    MUST(dup3(1, 51, O_CLOEXEC));
    prctl(PR_SET_NAME, "before");
    umask(027);
    char *arguments[] = {"name", "one", "", "three words here", NULL};
    char *environment[] = {"KEY=value", NULL};
    execve(self(), arguments, environment);
    return 1;
}
