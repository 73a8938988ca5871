// Scripts run through their interpreter, also nested, with one optional argument.
#include "../claim.h"

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc > 1) {
        for (int i = 1; i < argc; i++) printf("argv[%d]=\"%s\"\n", i, argv[i]);
        return 0;
    }
    begin();
    fresh_directory();
    char text[PATH_MAX + 64];
    snprintf(text, sizeof text, "#! %s one argument \nignored\n", self());
    put("script", text);
    MUST(chmod("script", 0755));
    put("nested", "#!./script more\n");
    MUST(chmod("nested", 0755));
    const char *names[] = {"./script", "./nested"};
    for (int i = 0; i < 2; i++) {
        pid_t child = MUST(fork());
        if (child == 0) {
            execl(names[i], "zeroth", "first", "second", NULL);
            _exit(1);
        }
        reap(names[i], child);
    }
    for (int i = 0; i < 7; i++) {
        char name[16];
        snprintf(name, sizeof name, "level%d", i);
        snprintf(text, sizeof text, "#!./%s%d\n", i == 0 ? "script" : "level", i == 0 ? 0 : i - 1);
        if (i == 0) snprintf(text, sizeof text, "#!./script\n");
        put(name, text);
        MUST(chmod(name, 0755));
    }
    pid_t child = MUST(fork());
    if (child == 0) {
        execl("./level6", "x", NULL);
        printf("too deep: %s\n", errno_name(errno));
        _exit(1);
    }
    reap("level6", child);
    return 0;
}
