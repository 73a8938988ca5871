// execve(2) fails with the right error and leaves the caller running.
#include "../claim.h"

static void try(const char *path) {
    char *arguments[] = {"x", NULL}, *environment[] = {NULL};
    execve(path, arguments, environment);
    printf("%s: %s\n", path, errno_name(errno));
}
int main(void) {
    begin();
    fresh_directory();
    try("");
    try("missing");
    try("/");
    put("plain", "text\n");
    try("plain");
    try("plain/x");
    MUST(chmod("plain", 0755));
    try("plain");
    put("short", "\177ELF");
    MUST(chmod("short", 0755));
    try("short");
    put("empty", "");
    MUST(chmod("empty", 0755));
    try("empty");
    put("script", "#!/nonexistent/interpreter\n");
    MUST(chmod("script", 0755));
    try("script");
    put("bare", "#!\n");
    MUST(chmod("bare", 0755));
    try("bare");
    MUST(symlink("loop", "loop"));
    try("loop");
    MUST(mkfifo("fifo", 0755));
    try("fifo");
    char long_name[300];
    memset(long_name, 'a', 299);
    long_name[299] = 0;
    char *arguments[] = {"x", NULL}, **volatile nowhere = (char **)8;
    OK(execve(long_name, arguments, NULL));
    OK(execve((char *)nowhere, arguments, NULL));
    OK(execve("/bin/true", nowhere, NULL));
    static char big[200000];
    memset(big, 'b', sizeof big - 1);
    char *huge[] = {"x", big, NULL};
    OK(execve("/bin/true", huge, NULL));
    return 0;
}
