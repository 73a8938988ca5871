// The flags of open(2) and their errors.
#include "../claim.h"

int main(void) {
    begin();
    fresh_directory();
    put("file", "text");
    MUST(mkdir("dir", 0755));
    MUST(symlink("file", "link"));
    MUST(symlink("nowhere", "dangling"));
    MUST(symlink("loop", "loop"));
    OK(open("missing", O_RDONLY));
    OK(open("file", O_RDONLY | O_CREAT | O_EXCL, 0644));
    OK(open("dangling", O_RDONLY | O_CREAT | O_EXCL, 0644));
    OK(open("dangling", O_RDONLY));
    OK(open("dangling", O_WRONLY | O_CREAT, 0644));
    OK(access("nowhere", F_OK));
    OK(open("loop", O_RDONLY));
    OK(open("link", O_RDONLY | O_NOFOLLOW));
    OK(open("link", O_PATH | O_NOFOLLOW));
    OK(open("file", O_RDONLY | O_DIRECTORY));
    OK(open("dir", O_RDONLY));
    OK(open("dir", O_WRONLY));
    OK(open("dir", O_RDONLY | O_CREAT, 0644));
    OK(open("file/", O_RDONLY));
    OK(open("dir/", O_RDONLY));
    OK(open("file/x", O_RDONLY));
    OK(open("new/", O_WRONLY | O_CREAT, 0644));
    OK(open("", O_RDONLY));
    int fd = MUST(open("file", O_WRONLY | O_APPEND));
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(write(fd, "!", 1));
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(read(fd, &fd, 1));
    printf("flags %#x\n", fcntl(fd, F_GETFL));
    fd = MUST(open("file", O_RDWR | O_TRUNC));
    FACT(lseek(fd, 0, SEEK_END));
    TRY(lseek(fd, -1, SEEK_SET));
    TRY(lseek(fd, 0, 9));
    TRY(lseek(fd, 100, SEEK_SET));
    TRY(write(fd, "x", 1));
    FACT(lseek(fd, 0, SEEK_END));
    char long_name[260];
    memset(long_name, 'n', 259);
    long_name[255] = 0;
    OK(open(long_name, O_WRONLY | O_CREAT, 0644));
    long_name[255] = 'n';
    long_name[256] = 0;
    OK(open(long_name, O_WRONLY | O_CREAT, 0644));
    TRY(creat("made", 0666));
    struct stat st;
    stat("made", &st);
    printf("%o\n", st.st_mode);
    return 0;
}
