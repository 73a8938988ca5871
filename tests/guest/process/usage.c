// Time that was used, of the process and of its children.
#include "../claim.h"

#include <sys/times.h>
static long milliseconds(const struct rusage *usage) {
    return (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000 +
           (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1000;
}

static void burn(void) {
    clock_t end = clock() + CLOCKS_PER_SEC / 10;
    while (clock() < end) {}
}

int main(int argc, char **argv) {
    begin();
    struct rusage usage;
    if (argc > 1) { // a second program in the same process
        TRY(getrusage(RUSAGE_SELF, &usage));
        FACT(milliseconds(&usage) >= 80);
        return 0;
    }
    TRY(getrusage(RUSAGE_CHILDREN, &usage));
    FACT(usage.ru_utime.tv_sec + usage.ru_utime.tv_usec);
    pid_t child = MUST(fork());
    if (child == 0) {
        burn();
        _exit(0);
    }
    int status;
    FACT(wait4(child, &status, 0, &usage) == child);
    FACT(milliseconds(&usage) >= 80);
    TRY(getrusage(RUSAGE_SELF, &usage));
    FACT(usage.ru_maxrss > 0);
    TRY(getrusage(RUSAGE_THREAD, &usage));
    TRY(getrusage(5, &usage));
    struct tms tms;
    FACT(times(&tms) > 0);
    FACT(tms.tms_cutime + tms.tms_cstime >= 8);
    burn();
    TRY(execl("/proc/self/exe", argv[0], "again", NULL));
    return 1;
}
