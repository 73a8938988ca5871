// Job control: a controlling terminal, its signals, background processes, hang-up.
#include "../claim.h"

#include <pty.h>
#include <termios.h>
static void note(int number) {
    char text[32];
    int size = snprintf(text, sizeof text, "signal %d\n", number);
    write(1, text, size);
}
static int session(int slave, int ready) {
    FACT(setsid() == getpid());
    TRY(tcgetpgrp(slave));
    TRY(ioctl(slave, TIOCSCTTY, 0));
    FACT(tcgetpgrp(slave) == getpid());
    FACT(tcgetsid(slave) == getpid());
    int fd = MUST(open("/dev/tty", O_RDWR));
    FACT(isatty(fd));
    handle(SIGINT, note, 0);
    handle(SIGWINCH, note, 0);
    handle(SIGHUP, note, 0);
    sigset_t set, none;
    sigemptyset(&none);
    sigfillset(&set);
    sigdelset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    write(ready, "1", 1);
    TRY(sigsuspend(&none));
    write(ready, "2", 1);
    TRY(sigsuspend(&none));
    sigprocmask(SIG_SETMASK, &none, NULL);
    pid_t background = MUST(fork());
    if (background == 0) {
        char byte;
        setpgid(0, 0);
        read(slave, &byte, 1);
        _exit(0);
    }
    setpgid(background, background);
    int status;
    waitpid(background, &status, WUNTRACED);
    report("background read", status);
    TRY(tcsetpgrp(slave, background));
    FACT(tcgetpgrp(slave) == background);
    signal(SIGTTOU, SIG_IGN);
    TRY(tcsetpgrp(slave, getpid()));
    TRY(tcsetpgrp(slave, 1 << 29));
    kill(background, SIGKILL);
    waitpid(background, &status, 0);
    sigprocmask(SIG_BLOCK, &set, NULL);
    write(ready, "3", 1);
    TRY(sigsuspend(&none));
    char byte;
    TRY(read(slave, &byte, 1));
    TRY(write(slave, "x", 1));
    return 0;
}
int main(void) {
    begin();
    int master, slave, ready[2];
    char byte;
    MUST(openpty(&master, &slave, NULL, NULL, NULL));
    MUST(pipe(ready));
    pid_t child = MUST(fork());
    if (child == 0) {
        close(master);
        _exit(session(slave, ready[1]));
    }
    close(slave);
    read(ready[0], &byte, 1);
    write(master, "\003", 1);
    read(ready[0], &byte, 1);
    struct winsize size = {10, 20, 0, 0};
    ioctl(master, TIOCSWINSZ, &size);
    read(ready[0], &byte, 1);
    close(master);
    reap("session", child);
    return 0;
}
