// posix_spawn(3) with file actions and attributes.
#include "../claim.h"

#include <spawn.h>
extern char **environ;
int main(void) {
    begin();
    int ends[2];
    MUST(pipe(ends));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attributes, 0);
    sigset_t set;
    sigemptyset(&set);
    posix_spawnattr_setsigmask(&attributes, &set);
    char *arguments[] = {"sh", "-c", "echo out; exit 8", NULL};
    pid_t child;
    FACT(posix_spawn(&child, "/bin/sh", &actions, &attributes, arguments, environ));
    char text[16] = "";
    close(ends[1]);
    FACT(read(ends[0], text, sizeof text - 1));
    printf("%s", text);
    reap("spawned", child);
    FACT(posix_spawn(&child, "/nonexistent", NULL, NULL, arguments, environ));
    FACT(posix_spawnp(&child, "true", NULL, NULL, arguments, environ));
    reap("found in PATH", child);
    FACT(system("exit 5") >> 8);
    FILE *file = popen("echo through popen", "r");
    fgets(text, sizeof text, file);
    printf("%s\n", text);
    FACT(pclose(file));
    return 0;
}
