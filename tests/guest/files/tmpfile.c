// O_TMPFILE makes a file without a name, which linkat(2) may give one.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    int fd = MUST(open(".", O_RDWR | O_TMPFILE, 0600));
    TRY(write(fd, "unnamed", 7));
    struct stat st;
    MUST(fstat(fd, &st));
    FACT(st.st_nlink);
    printf("%o\n", st.st_mode);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    TRY(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    show("named");
    MUST(fstat(fd, &st));
    FACT(st.st_nlink);
    TRY(open(".", O_RDONLY | O_TMPFILE, 0600));
    int excluded = MUST(open(".", O_RDWR | O_TMPFILE | O_EXCL, 0600));
    snprintf(path, sizeof path, "/proc/self/fd/%d", excluded);
    TRY(linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
    return 0;
}
