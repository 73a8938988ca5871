// The *at calls with their flags.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    MUST(mkdir("dir", 0755));
    int dir = MUST(open("dir", O_RDONLY | O_DIRECTORY)), fd = MUST(open("plain", O_RDWR | O_CREAT, 0644));
    struct stat st, other;
    OK(openat(dir, "file", O_RDWR | O_CREAT, 0600));
    TRY(access("dir/file", R_OK | W_OK));
    OK(openat(fd, "file", O_RDONLY));
    OK(openat(99, "file", O_RDONLY));
    OK(openat(99, "/", O_RDONLY));
    TRY(fstatat(dir, "", &st, 0));
    TRY(fstatat(dir, "", &st, AT_EMPTY_PATH));
    FACT(S_ISDIR(st.st_mode));
    TRY(fstatat(dir, "file", &st, 0x10000));
    TRY(mkdirat(dir, "sub", 0700));
    TRY(mkdirat(dir, "sub", 0700));
    TRY(unlinkat(dir, "sub", 0));
    TRY(unlinkat(dir, "file", AT_REMOVEDIR));
    TRY(unlinkat(dir, "sub", AT_REMOVEDIR));
    TRY(symlinkat("file", dir, "link"));
    char text[16] = "";
    TRY(readlinkat(dir, "link", text, sizeof text));
    puts(text);
    TRY(readlinkat(dir, "file", text, sizeof text));
    TRY(readlinkat(dir, "link", text, 2));
    TRY(fstatat(dir, "link", &st, AT_SYMLINK_NOFOLLOW));
    FACT(S_ISLNK(st.st_mode));
    FACT(st.st_size);
    TRY(linkat(dir, "link", AT_FDCWD, "hard", 0));
    TRY(linkat(dir, "link", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
    lstat("hard", &st);
    lstat("followed", &other);
    printf("%d %d\n", S_ISLNK(st.st_mode), S_ISREG(other.st_mode));
    TRY(fchmodat(dir, "file", 0640, 0));
    fstatat(dir, "file", &st, 0);
    printf("%o\n", st.st_mode & 07777);
    TRY(faccessat(dir, "file", R_OK, 0));
    TRY(faccessat(dir, "nothing", F_OK, 0));
    TRY(mknodat(dir, "fifo", S_IFIFO | 0600, 0));
    fstatat(dir, "fifo", &st, 0);
    FACT(S_ISFIFO(st.st_mode));
    TRY(renameat(dir, "file", AT_FDCWD, "moved"));
    TRY(access("moved", F_OK));
    return 0;
}
