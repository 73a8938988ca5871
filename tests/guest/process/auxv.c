// The auxiliary vector tells the truth.
#include "../claim.h"

#include <elf.h>
#include <sys/auxv.h>
int main(void) {
    begin();
    FACT(getauxval(AT_PAGESZ));
    FACT(getauxval(AT_CLKTCK));
    FACT(getauxval(AT_UID) == getuid());
    FACT(getauxval(AT_EUID) == geteuid());
    FACT(getauxval(AT_GID) == getgid());
    FACT(getauxval(AT_EGID) == getegid());
    FACT(getauxval(AT_SECURE));
    FACT(getauxval(AT_PHENT));
    FACT(getauxval(AT_PHNUM) > 2);
    FACT(getauxval(AT_PHDR) != 0);
    FACT(getauxval(AT_ENTRY) != 0);
    unsigned char *random = (unsigned char *)getauxval(AT_RANDOM), any = 0;
    for (int i = 0; i < 16; i++) any |= random[i];
    FACT(any != 0);
    const char *name = (const char *)getauxval(AT_EXECFN), *slash = strrchr(name, '/');
    printf("AT_EXECFN ends in %s\n", slash ? slash + 1 : name);
    printf("AT_PLATFORM %s\n", (const char *)getauxval(AT_PLATFORM));
    unsigned char *vdso = (unsigned char *)getauxval(AT_SYSINFO_EHDR);
    FACT(vdso && memcmp(vdso, "\177ELF", 4) == 0);
    return 0;
}
