// TIOCSLCKTRMIOS: what is locked of a terminal's settings stays, and the rest can be changed.
#include "../claim.h"
#include <termios.h> // its struct begins as the kernel's does
#include <sys/ioctl.h>

int main(void) {
    begin();
    int master = MUST(posix_openpt(O_RDWR | O_NOCTTY)), zero = 0;
    MUST(ioctl(master, TIOCSPTLCK, &zero));
    int slave = MUST(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY));
    struct termios lock, mode;
    TRY(ioctl(slave, TIOCGLCKTRMIOS, &lock));
    printf("%x %x %x %x %d\n", lock.c_iflag, lock.c_oflag, lock.c_cflag, lock.c_lflag, lock.c_cc[VINTR]);
    lock.c_lflag = ECHO;
    lock.c_cc[VINTR] = 1;
    if (geteuid() != 0) // without privilege the answer is EPERM, and the rest would show nothing
        return ioctl(slave, TIOCSLCKTRMIOS, &lock) == 0 || errno != EPERM;
    TRY(ioctl(slave, TIOCSLCKTRMIOS, &lock));
    MUST(ioctl(slave, TCGETS, &mode));
    mode.c_lflag &= ~(ECHO | ICANON);
    mode.c_cc[VINTR] = 9;
    mode.c_cc[VQUIT] = 8;
    TRY(ioctl(slave, TCSETS, &mode));
    MUST(ioctl(slave, TCGETS, &mode));
    printf("%d %d %d %d\n", !!(mode.c_lflag & ECHO), !!(mode.c_lflag & ICANON), mode.c_cc[VINTR], mode.c_cc[VQUIT]);
    TRY(ioctl(slave, TIOCGLCKTRMIOS, &lock));
    printf("%x %d\n", lock.c_lflag, lock.c_cc[VINTR]);
    TRY(ioctl(slave, TIOCSLCKTRMIOS, NULL));
    return 0;
}
