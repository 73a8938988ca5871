// A directory lists each lasting entry exactly once, whatever changes meanwhile.
#include "../claim.h"

#include <dirent.h>
int main(void) {
    begin();
    fresh_directory();
    char name[32];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "file-%03d", i);
        put(name, "");
    }
    DIR *directory = opendir(".");
    int seen[300] = {0}, dots = 0, strange = 0, step = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL; step++) {
        int number;
        if (entry->d_name[0] == '.') dots++;
        else if (sscanf(entry->d_name, "file-%d", &number) == 1) seen[number]++;
        else if (strncmp(entry->d_name, "new-", 4)) strange++;
        if (step < 100) {
            snprintf(name, sizeof name, "file-%03d", 200 + step);
            unlink(name);
            snprintf(name, sizeof name, "new-%03d", step);
            put(name, "");
        }
    }
    int once = 0, more = 0;
    for (int i = 0; i < 300; i++) {
        more += seen[i] > 1;
        if (i < 200) once += seen[i] == 1;
    }
    printf("dots %d lasting once %d twice %d strange %d\n", dots, once, more, strange);
    rewinddir(directory);
    int count = 0;
    while (readdir(directory)) count++;
    FACT(count);
    closedir(directory);
    char buffer[8];
    int fd = MUST(open(".", O_RDONLY));
    TRY(syscall(SYS_getdents64, fd, buffer, sizeof buffer));
    TRY(syscall(SYS_getdents64, 0, buffer, sizeof buffer));
    TRY(read(fd, buffer, 8));
    return 0;
}
