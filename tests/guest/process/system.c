// uname, sysinfo, getrandom and personality.
#include "../claim.h"

#include <sys/personality.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
int main(void) {
    begin();
    struct utsname name;
    TRY(uname(&name));
    printf("%s %s\n", name.sysname, name.machine);
    FACT(strlen(name.release) > 3);
    FACT(strlen(name.nodename) > 0);
    struct sysinfo info;
    TRY(sysinfo(&info));
    FACT(info.totalram > 0 && info.mem_unit >= 1);
    char buffer[256] = {0}, other[256] = {0};
    TRY(getrandom(buffer, 256, 0));
    TRY(getrandom(other, 256, GRND_NONBLOCK));
    FACT(memcmp(buffer, other, 256) != 0);
    TRY(getrandom(buffer, 1, 0x100));
    TRY(syscall(SYS_getrandom, 8, 16, 0));
    TRY(personality(0xffffffff));
    TRY(syscall(SYS_membarrier, 0, 0, 0) > 0);
    TRY(syscall(9999));
    return 0;
}
