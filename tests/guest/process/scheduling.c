// Priorities, policies and affinity.
#include "../claim.h"

int main(void) {
    begin();
    errno = 0;
    FACT(getpriority(PRIO_PROCESS, 0));
    TRY(setpriority(PRIO_PROCESS, 0, 5));
    FACT(getpriority(PRIO_PROCESS, 0));
    TRY(nice(3));
    FACT(getpriority(PRIO_PROCESS, getpid()));
    TRY(setpriority(PRIO_PROCESS, 0, 100));
    FACT(getpriority(PRIO_PROCESS, 0));
    TRY(getpriority(99, 0));
    TRY(getpriority(PRIO_PROCESS, 1 << 30));
    TRY(syscall(SYS_sched_getscheduler, 0));
    TRY(sched_get_priority_max(SCHED_FIFO));
    TRY(sched_get_priority_min(SCHED_RR));
    TRY(sched_get_priority_max(SCHED_OTHER));
    TRY(sched_get_priority_max(77));
    cpu_set_t set;
    TRY(sched_getaffinity(0, sizeof set, &set));
    FACT(CPU_COUNT(&set) >= 1);
    TRY(sched_setaffinity(0, sizeof set, &set));
    CPU_ZERO(&set);
    TRY(sched_setaffinity(0, sizeof set, &set));
    TRY(sched_yield());
    unsigned cpu = 0, node = 0;
    TRY(syscall(SYS_getcpu, &cpu, &node, NULL));
    FACT(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
    return 0;
}
