// An ordinary user's permissions, the sticky bit, set-id bits lost by writing.
#include "../claim.h"
#include <grp.h>

int main(void) {
    begin();
    fresh_directory();
    chmod(".", 0755);
    put("private", "p");
    chmod("private", 0600);
    put("readable", "r");
    put("setuid", "s");
    chmod("setuid", 06755);
    mkdir("sticky", 0777);
    chmod("sticky", 01777);
    put("sticky/theirs", "");
    mkdir("closed", 0700);
    put("closed/inside", "");
    pid_t child = MUST(fork());
    if (child == 0) {
        if (geteuid() == 0) {
            MUST(setgroups(0, NULL) == 0 ? 0 : -1);
            MUST(setresgid(12345, 12345, 12345));
            MUST(setresuid(12345, 12345, 12345));
            OK(open("private", O_RDONLY));
            OK(open("readable", O_RDONLY));
            OK(open("readable", O_WRONLY));
            OK(open("new", O_WRONLY | O_CREAT, 0600));
            OK(open("closed/inside", O_RDONLY));
            OK(access("closed", X_OK));
            OK(unlink("sticky/theirs"));
            OK(rename("sticky/theirs", "sticky/mine"));
            OK(chmod("readable", 0777));
            OK(chown("readable", 12345, -1));
            OK(truncate("readable", 0));
            OK(utimensat(AT_FDCWD, "readable", NULL, 0));
            put("sticky/own", "");
            OK(unlink("sticky/own"));
            OK(setresuid(0, 0, 0));
            OK(kill(getppid(), 0));
        }
        _exit(0);
    }
    reap("child", child);
    int fd = MUST(open("setuid", O_WRONLY));
    struct stat st;
    fstat(fd, &st);
    printf("%o\n", st.st_mode & 07777);
    return 0;
}
