// Clocks go on, sleeps last as long as asked, and what is refused.
#include "../claim.h"

#include <sys/timex.h>
int main(void) {
    begin();
    clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
                          CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_TAI};
    for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        struct timespec one, two, resolution;
        TRY(clock_gettime(clocks[i], &one));
        clock_gettime(clocks[i], &two);
        FACT(two.tv_sec > one.tv_sec || (two.tv_sec == one.tv_sec && two.tv_nsec >= one.tv_nsec));
        TRY(clock_getres(clocks[i], &resolution));
        FACT(resolution.tv_sec == 0 && resolution.tv_nsec > 0);
    }
    struct timespec time;
    TRY(clock_gettime(77, &time));
    struct timeval value;
    TRY(gettimeofday(&value, NULL));
    FACT(value.tv_sec > 1600000000);
    long long start = now_ms();
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += 30000000;
    if (time.tv_nsec >= 1000000000) time.tv_sec++, time.tv_nsec -= 1000000000;
    FACT(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL));
    FACT(now_ms() - start >= 29);
    FACT(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL));
    FACT(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &time, NULL));
    time.tv_nsec = -1;
    FACT(clock_nanosleep(CLOCK_REALTIME, 0, &time, NULL));
    clockid_t own;
    FACT(clock_getcpuclockid(0, &own));
    TRY(clock_gettime(own, &time));
    FACT(syscall(SYS_time, NULL) > 1600000000);
    return 0;
}
