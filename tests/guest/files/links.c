// Hard and symbolic links.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    put("file", "text");
    MUST(mkdir("dir", 0755));
    struct stat st;
    TRY(link("file", "second"));
    stat("file", &st);
    FACT(st.st_nlink);
    TRY(link("file", "second"));
    TRY(link("dir", "hard"));
    TRY(link("missing", "x"));
    int fd = MUST(open("file", O_RDONLY));
    TRY(unlink("file"));
    TRY(unlink("second"));
    fstat(fd, &st);
    FACT(st.st_nlink);
    char text[8] = "";
    FACT(read(fd, text, 4));
    puts(text);
    char path[64], target[PATH_MAX] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    readlink(path, target, sizeof target - 1);
    FACT(strstr(target, "second (deleted)") != NULL);
    stat("dir", &st);
    TRY(symlink("", "empty"));
    TRY(symlink("dir", "to-dir"));
    OK(open("to-dir", O_RDONLY | O_DIRECTORY));
    TRY(rmdir("to-dir"));
    TRY(unlink("dir"));
    TRY(unlink("to-dir/"));
    char name[32], next[32];
    put("link0", "end");
    for (int i = 1; i <= 41; i++) {
        snprintf(name, sizeof name, "link%d", i);
        snprintf(next, sizeof next, "link%d", i - 1);
        MUST(symlink(next, name));
    }
    OK(access("link40", F_OK));
    OK(access("link41", F_OK));
    return 0;
}
