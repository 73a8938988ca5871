// Extended attributes of files.
#include "../claim.h"

#include <sys/xattr.h>
int main(void) {
    begin();
    fresh_directory();
    put("file", "");
    char value[64] = "";
    if (setxattr("file", "user.probe", "x", 1, 0) == -1 && errno == EOPNOTSUPP) {
        // The oracle's file system has none: there is nothing to claim.
        exit(98);
    }
    TRY(removexattr("file", "user.probe"));
    TRY(setxattr("file", "user.one", "first", 5, 0));
    TRY(setxattr("file", "user.one", "again", 5, XATTR_CREATE));
    TRY(setxattr("file", "user.two", "second", 6, XATTR_REPLACE));
    TRY(setxattr("file", "user.two", "second", 6, 0));
    TRY(getxattr("file", "user.one", value, sizeof value));
    puts(value);
    TRY(getxattr("file", "user.one", value, 2));
    TRY(getxattr("file", "user.one", NULL, 0));
    TRY(getxattr("file", "user.none", value, sizeof value));
    TRY(listxattr("file", NULL, 0) >= 18);
    TRY(removexattr("file", "user.one"));
    TRY(removexattr("file", "user.one"));
    TRY(setxattr("file", "nonsense", "x", 1, 0));
    TRY(setxattr("file", "user.", "x", 1, 0));
    MUST(symlink("file", "link"));
    TRY(lsetxattr("link", "user.x", "x", 1, 0));
    int fd = MUST(open("file", O_RDONLY));
    TRY(fgetxattr(fd, "user.two", value, sizeof value));
    return 0;
}
