// inotify(7) tells what happens in a directory.
#include "../claim.h"

#include <sys/inotify.h>
static void drain(int fd) {
    char buffer[4096];
    ssize_t size = read(fd, buffer, sizeof buffer);
    uint32_t cookie = 0;
    for (char *at = buffer; size > 0 && at < buffer + size;) {
        struct inotify_event *event = (struct inotify_event *)at;
        printf("%#x %s%s\n", event->mask, event->len ? event->name : "", event->cookie && event->cookie == cookie ? " (pair)" : "");
        cookie = event->cookie;
        at += sizeof *event + event->len;
    }
    if (size < 0) puts(errno_name(errno));
}
int main(void) {
    begin();
    fresh_directory();
    MUST(mkdir("dir", 0755));
    int fd = MUST(inotify_init1(IN_NONBLOCK)), watch;
    TRY(watch = inotify_add_watch(fd, "dir", IN_ALL_EVENTS & ~(IN_ACCESS | IN_OPEN | IN_CLOSE_NOWRITE)));
    drain(fd);
    put("dir/file", "text");
    drain(fd);
    rename("dir/file", "dir/other");
    drain(fd);
    chmod("dir/other", 0600);
    mkdir("dir/sub", 0755);
    rename("dir/other", "gone");
    unlink("gone");
    drain(fd);
    rmdir("dir/sub");
    rmdir("dir");
    drain(fd);
    TRY(inotify_rm_watch(fd, watch));
    OK(inotify_add_watch(fd, "missing", IN_CREATE));
    TRY(inotify_rm_watch(fd, 77));
    TRY(inotify_add_watch(0, ".", IN_CREATE));
    return 0;
}
