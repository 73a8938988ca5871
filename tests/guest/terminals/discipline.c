// A pseudoterminal's line discipline: echo, editing, modes.
#include "../claim.h"

#include <pty.h>
#include <termios.h>
static int master, slave;
static void both(const char *typed) {
    char text[64];
    struct pollfd item = {slave, POLLIN, 0};
    write(master, typed, strlen(typed));
    printf("slave:");
    while (poll(&item, 1, 50) > 0 && (item.revents & POLLIN)) {
        ssize_t size = read(slave, text, sizeof text);
        if (size <= 0) {
            printf(" [%zd]", size);
            break;
        }
        for (ssize_t i = 0; i < size; i++) printf(" %02x", (unsigned char)text[i]);
        printf(" |");
    }
    item = (struct pollfd){master, POLLIN, 0};
    printf("\nmaster:");
    while (poll(&item, 1, 50) > 0 && (item.revents & POLLIN)) {
        ssize_t size = read(master, text, sizeof text);
        for (ssize_t i = 0; i < size; i++) printf(" %02x", (unsigned char)text[i]);
    }
    puts("");
}
int main(void) {
    begin();
    MUST(openpty(&master, &slave, NULL, NULL, NULL));
    struct termios modes;
    TRY(tcgetattr(slave, &modes));
    printf("%#x %#x %#x %#x\n", modes.c_iflag, modes.c_oflag, modes.c_cflag & ~CBAUD, modes.c_lflag);
    FACT(isatty(slave));
    FACT(isatty(master));
    char *name = ttyname(slave);
    FACT(name && strncmp(name, "/dev/pts/", 9) == 0);
    both("line\n");
    both("ab\177c\n");
    both("word other\027x\n");
    both("gone\025kept\n");
    both("half");
    both("\004");
    both("\004");
    both("quoted\026\003\n");
    write(slave, "out\n", 4);
    both("");
    modes.c_lflag &= ~(ICANON | ECHO);
    modes.c_cc[VMIN] = 1;
    modes.c_cc[VTIME] = 0;
    TRY(tcsetattr(slave, TCSANOW, &modes));
    both("raw\177");
    cfmakeraw(&modes);
    modes.c_cc[VMIN] = 0;
    modes.c_cc[VTIME] = 1;
    TRY(tcsetattr(slave, TCSANOW, &modes));
    char byte;
    TRY(read(slave, &byte, 1));
    write(slave, "out\n", 4);
    both("\r");
    struct winsize size = {30, 100, 0, 0}, got;
    TRY(ioctl(master, TIOCSWINSZ, &size));
    TRY(ioctl(slave, TIOCGWINSZ, &got));
    printf("%d %d\n", got.ws_row, got.ws_col);
    TRY(tcgetattr(0, &modes));
    close(slave);
    TRY(read(master, &byte, 1));
    return 0;
}
