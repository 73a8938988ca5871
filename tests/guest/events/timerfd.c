// timerfd_create(2) counts expirations.
#include "../claim.h"

#include <sys/timerfd.h>
int main(void) {
    begin();
    int fd = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    uint64_t count = 0;
    struct itimerspec time = {{0, 5000000}, {0, 5000000}}, old;
    TRY(read(fd, &count, 8));
    TRY(timerfd_settime(fd, 0, &time, NULL));
    struct pollfd item = {fd, POLLIN, 0};
    TRY(poll(&item, 1, 5000));
    pause_ms(30);
    TRY(read(fd, &count, 8));
    FACT(count >= 5);
    TRY(timerfd_gettime(fd, &old));
    FACT(old.it_interval.tv_nsec);
    memset(&time, 0, sizeof time);
    TRY(timerfd_settime(fd, 0, &time, NULL));
    TRY(timerfd_gettime(fd, &old));
    FACT(old.it_value.tv_nsec);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    time.it_value = now;
    TRY(timerfd_settime(fd, TFD_TIMER_ABSTIME, &time, NULL));
    TRY(poll(&item, 1, 1000));
    TRY(read(fd, &count, 8));
    FACT(count);
    time.it_value.tv_nsec = 1000000000;
    TRY(timerfd_settime(fd, 0, &time, NULL));
    TRY(timerfd_settime(0, 0, &time, NULL));
    TRY(timerfd_create(99, 0));
    TRY(read(fd, &count, 4));
    return 0;
}
