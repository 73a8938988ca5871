// mkdir, rmdir, chdir, getcwd and the directory that is gone.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    TRY(mkdir("a", 0777));
    TRY(mkdir("a", 0777));
    TRY(mkdir("a/b/c", 0777));
    TRY(mkdir("a/b", 0777));
    struct stat st;
    stat("a", &st);
    printf("%o\n", st.st_mode);
    TRY(rmdir("a"));
    TRY(rmdir("a/b/."));
    TRY(rmdir("a/b/.."));
    TRY(rmdir("missing"));
    put("file", "");
    TRY(rmdir("file"));
    TRY(chdir("file"));
    TRY(chdir("a/b"));
    char path[PATH_MAX];
    FACT(strcmp(getcwd(path, sizeof path) + strlen(claim_directory), "/a/b"));
    TRY(getcwd(path, 3) == NULL ? -1 : 0);
    int fd = MUST(open("..", O_RDONLY));
    TRY(rmdir("../b"));
    TRY(getcwd(path, sizeof path) == NULL ? -1 : 0);
    OK(open("x", O_WRONLY | O_CREAT, 0600));
    TRY(access(".", F_OK));
    TRY(chdir(".."));
    TRY(fchdir(fd));
    FACT(strcmp(getcwd(path, sizeof path) + strlen(claim_directory), "/a"));
    TRY(fchdir(0));
    umask(077);
    mkdir("tight", 0777);
    stat("tight", &st);
    printf("%o\n", st.st_mode);
    TRY(umask(0777));
    return 0;
}
