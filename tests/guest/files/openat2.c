// openat2(2) keeps a path below its start.
#include "../claim.h"

struct how { uint64_t flags, mode, resolve; };
static void try(const char *path, uint64_t resolve) {
    int dir = open("dir", O_PATH);
    struct how how = {O_RDONLY, 0, resolve};
    long result = syscall(437, dir, path, &how, sizeof how);
    printf("%s %#llx: %s\n", path, (unsigned long long)resolve, result == -1 ? errno_name(errno) : "ok");
    close(dir);
}
int main(void) {
    begin();
    fresh_directory();
    MUST(mkdir("dir", 0755));
    put("dir/file", "");
    put("outside", "");
    MUST(symlink("../outside", "dir/up"));
    MUST(symlink("/tmp", "dir/absolute"));
    MUST(symlink("file", "dir/near"));
    uint64_t ways[] = {0, 1, 2, 4, 8, 0x10};
    const char *paths[] = {"file", "near", "up", "absolute", "../outside", "/"};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++) try(paths[j], ways[i]);
    struct how how = {O_RDONLY, 0, 0x1000};
    TRY(syscall(437, AT_FDCWD, "dir", &how, sizeof how));
    how = (struct how){O_RDONLY, 0777, 0};
    TRY(syscall(437, AT_FDCWD, "dir", &how, sizeof how));
    TRY(syscall(437, AT_FDCWD, "dir", &how, 8));
    return 0;
}
