// rename(2) and its errors, with RENAME_NOREPLACE and RENAME_EXCHANGE.
#include "../claim.h"

static int renameat_flags(const char *from, const char *to, unsigned flags) {
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}
int main(void) {
    begin();
    fresh_directory();
    put("a", "A");
    put("b", "B");
    MUST(mkdir("d", 0755));
    MUST(mkdir("d/inner", 0755));
    MUST(mkdir("e", 0755));
    TRY(rename("a", "b"));
    show("b");
    show("a");
    TRY(rename("missing", "x"));
    TRY(rename("b", "d"));
    TRY(rename("d", "b"));
    TRY(rename("e", "d"));
    TRY(rename("d", "d/inner/below"));
    TRY(rename("d", "d"));
    TRY(rename("d", "e"));
    TRY(access("e/inner", F_OK));
    TRY(rename("e/inner", "e/.."));
    TRY(rename("e/.", "x"));
    TRY(rename("b", "b/"));
    MUST(link("b", "hard"));
    TRY(rename("b", "hard"));
    TRY(access("b", F_OK));
    put("c", "C");
    TRY(renameat_flags("c", "b", 1));
    TRY(renameat_flags("c", "fresh", 1));
    TRY(renameat_flags("fresh", "b", 2));
    show("b");
    TRY(renameat_flags("b", "e", 2));
    show("e");
    TRY(access("b/inner", F_OK));
    TRY(renameat_flags("e", "nothing", 2));
    TRY(renameat_flags("e", "b", 3));
    TRY(renameat_flags("e", "b", 64));
    return 0;
}
