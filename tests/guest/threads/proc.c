// /proc/self/task shows each thread.
#include "../claim.h"

#include <dirent.h>
static int ready[2], go[2];
static void *stay(void *unused) {
    char byte;
    prctl(PR_SET_NAME, "stayer");
    write(ready[1], "x", 1);
    read(go[0], &byte, 1);
    return unused;
}
int main(void) {
    begin();
    MUST(pipe(ready));
    MUST(pipe(go));
    pthread_t threads[3];
    char byte;
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, stay, NULL);
    for (int i = 0; i < 3; i++) read(ready[0], &byte, 1);
    int count = 0, named = 0;
    DIR *directory = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[300], name[16] = "";
        if (entry->d_name[0] == '.') continue;
        count++;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        int fd = open(path, O_RDONLY);
        read(fd, name, 15);
        close(fd);
        named += strcmp(name, "stayer\n") == 0;
    }
    closedir(directory);
    FACT(count);
    FACT(named);
    write(go[1], "xxx", 3);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    return 0;
}
