// Jumps to each of the shim's syscall instructions with everything that would be a way out. Prints what was let
// through, and how much was tried. arguments: the host pid of a victim.
#include "attack.h"

#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <sys/ptrace.h>
#include <sys/un.h>

static char path[] = "/etc/passwd", here[] = "/tmp/escape", empty[4096];
static long victim;

struct attempt {
    const char *name;
    long number, args[6];
};


// Each number with arguments that would do harm. Those of calls that no program may make at all are zero.
static struct attempt attempts[] = {
    {"open", SYS_open, {(long)path, O_RDONLY}},
    {"openat", SYS_openat, {AT_FDCWD, (long)path, O_RDONLY}},
    {"openat2", SYS_openat2, {AT_FDCWD, (long)path, (long)empty, 24}},
    {"creat", SYS_creat, {(long)here, 0600}},
    {"socket unix", SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
    {"socket inet", SYS_socket, {AF_INET, SOCK_STREAM, 0}},
    {"socketpair", SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, (long)empty}},
    {"connect", SYS_connect, {0, (long)empty, 16}},
    {"bind", SYS_bind, {0, (long)empty, 16}},
    {"accept", SYS_accept, {0, 0, 0}},
    {"sendto", SYS_sendto, {0, (long)empty, 1, MSG_DONTWAIT}},
    {"sendmsg", SYS_sendmsg, {0, (long)empty, MSG_DONTWAIT}},
    {"recvfrom", SYS_recvfrom, {0, (long)empty, 1, MSG_DONTWAIT}},
    {"recvmsg 1", SYS_recvmsg, {1, (long)empty, MSG_DONTWAIT}},
    {"recvmsg 5", SYS_recvmsg, {5, (long)empty, MSG_DONTWAIT}},
    {"recvmmsg", SYS_recvmmsg, {0, (long)empty, 1, MSG_DONTWAIT}},
    {"setsockopt", SYS_setsockopt, {0, 1, 7, (long)empty, 4}},
    {"read", SYS_read, {1, (long)empty, 8}},
    {"readv", SYS_readv, {1, (long)empty, 0}},
    {"pread64", SYS_pread64, {1, (long)empty, 8, 0}},
    {"write 2", SYS_write, {2, (long)empty, 1}},
    {"write 5", SYS_write, {5, (long)empty, 1}},
    {"pwrite64", SYS_pwrite64, {0, (long)empty, 1, 0}},
    {"writev", SYS_writev, {0, (long)empty, 0}},
    {"dup", SYS_dup, {0}},
    {"dup2", SYS_dup2, {0, 7}},
    {"dup3 elsewhere", SYS_dup3, {0, 7, 0}},
    {"fcntl", SYS_fcntl, {1, F_SETFL, 0}},
    {"ioctl", SYS_ioctl, {0, 0x541b, (long)empty}},
    {"poll", SYS_poll, {(long)empty, 0, 0}},
    {"epoll_create1", SYS_epoll_create1, {0}},
    {"eventfd2", SYS_eventfd2, {0, 0}},
    {"timerfd_create", SYS_timerfd_create, {0, 0}},
    {"signalfd4", SYS_signalfd4, {-1, (long)empty, 8, 0}},
    {"inotify_init1", SYS_inotify_init1, {0}},
    {"fanotify_init", SYS_fanotify_init, {0, 0}},
    {"memfd_create", SYS_memfd_create, {(long)path, 0}},
    {"memfd_secret", 447, {0}},
    {"pipe2", SYS_pipe2, {(long)empty, 0}},
    {"splice", SYS_splice, {0, 0, 1, 0, 1, 0}},
    {"io_uring_setup", SYS_io_uring_setup, {4, (long)empty}},
    {"io_uring_enter", SYS_io_uring_enter, {0, 1, 0, 0, 0, 0}},
    {"io_uring_register", SYS_io_uring_register, {0, 0, 0, 0}},
    {"io_setup", SYS_io_setup, {1, (long)empty}},
    {"kill", SYS_kill, {0 /* victim */, SIGKILL}},
    {"kill all", SYS_kill, {0 /* victim */, SIGTERM}},
    {"tkill", SYS_tkill, {0 /* victim */, SIGKILL}},
    {"tgkill", SYS_tgkill, {0 /* victim */, 0 /* victim */, SIGKILL}},
    {"rt_sigqueueinfo", SYS_rt_sigqueueinfo, {0 /* victim */, SIGKILL, (long)empty}},
    {"rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo, {0, 0, SIGKILL, (long)empty}},
    {"pidfd_open", SYS_pidfd_open, {0 /* victim */, 0}},
    {"pidfd_getfd", SYS_pidfd_getfd, {1, 0, 0}},
    {"pidfd_send_signal", SYS_pidfd_send_signal, {1, SIGKILL, 0, 0}},
    {"ptrace attach", SYS_ptrace, {PTRACE_ATTACH, 0 /* victim */, 0, 0}},
    {"ptrace traceme", SYS_ptrace, {PTRACE_TRACEME, 0, 0, 0}},
    {"process_vm_readv", SYS_process_vm_readv, {0 /* victim */, (long)empty, 1, (long)empty, 1, 0}},
    {"process_vm_writev", SYS_process_vm_writev, {0 /* victim */, (long)empty, 1, (long)empty, 1, 0}},
    {"process_madvise", SYS_process_madvise, {1, (long)empty, 1, 4, 0}},
    {"kcmp", SYS_kcmp, {0 /* victim */, 0 /* victim */, 0, 0, 0}},
    {"move_pages", SYS_move_pages, {0 /* victim */, 0, 0, 0, 0, 0}},
    {"migrate_pages", SYS_migrate_pages, {0 /* victim */, 0, 0, 0}},
    {"prlimit64", SYS_prlimit64, {0 /* victim */, 7, 0, (long)empty}},
    {"setrlimit", SYS_setrlimit, {7, (long)empty}},
    {"sched_setaffinity", SYS_sched_setaffinity, {0 /* victim */, 8, (long)empty}},
    {"sched_setscheduler", SYS_sched_setscheduler, {0, 1, (long)empty}},
    {"setpriority", SYS_setpriority, {0, 0, -20}},
    {"ioprio_set", SYS_ioprio_set, {1, 0, 0}},
    {"execve", SYS_execve, {(long)"/bin/true", (long)empty, (long)empty}},
    {"execveat", SYS_execveat, {AT_FDCWD, (long)"/bin/true", (long)empty, (long)empty, 0}},
    {"fork", SYS_fork, {0}},
    {"vfork", SYS_vfork, {0}},
    {"clone fork", SYS_clone, {SIGCHLD, 0, 0, 0, 0}},
    {"clone as ordered ones are", SYS_clone, {CLONE_PARENT, 0, 0, 0, 0}},
    {"clone newuser", SYS_clone, {CLONE_NEWUSER, 0, 0, 0, 0}},
    {"clone newpid", SYS_clone, {CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0}},
    {"clone newns", SYS_clone, {CLONE_NEWNS | CLONE_PARENT, 0, 0, 0, 0}},
    {"clone newnet", SYS_clone, {CLONE_NEWNET, 0, 0, 0, 0}},
    {"clone pidfd", SYS_clone, {CLONE_PIDFD, 0, (long)empty, 0, 0}},
    {"clone untraced", SYS_clone, {CLONE_UNTRACED, 0, 0, 0, 0}},
    {"clone high flags", SYS_clone, {CLONE_INTO_CGROUP, 0, 0, 0, 0}},
    {"clone3", SYS_clone3, {(long)empty, 64}},
    {"unshare user", SYS_unshare, {CLONE_NEWUSER}},
    {"unshare files", SYS_unshare, {CLONE_FILES}},
    {"setns", SYS_setns, {1, 0}},
    {"setsid", SYS_setsid, {0}},
    {"setpgid", SYS_setpgid, {0, 0}},
    {"setuid", SYS_setuid, {0}},
    {"setresuid", SYS_setresuid, {0, 0, 0}},
    {"capset", SYS_capset, {(long)empty, (long)empty}},
    {"prctl dumpable", SYS_prctl, {4, 0, 0, 0, 0}},
    {"prctl dispatch", SYS_prctl, {59, 0, 0, 0, 0}},
    {"prctl subreaper", SYS_prctl, {36, 1, 0, 0, 0}},
    {"prctl seccomp", SYS_prctl, {22, 1, 0, 0, 0}},
    {"seccomp", SYS_seccomp, {SECCOMP_SET_MODE_STRICT, 0, 0}},
    {"seccomp listener", SYS_seccomp, {SECCOMP_SET_MODE_FILTER, 8, (long)empty}},
    {"arch_prctl cpuid", SYS_arch_prctl, {0x1012, 0}},
    {"arch_prctl shadow stack", SYS_arch_prctl, {0x5001, 1}},
    {"personality", SYS_personality, {0x40000}},
    {"modify_ldt", SYS_modify_ldt, {0, (long)empty, 16}},
    {"iopl", SYS_iopl, {3}},
    {"rt_sigaction", SYS_rt_sigaction, {SIGKILL - 1, 0, (long)empty, 8}},
    {"rt_sigprocmask", SYS_rt_sigprocmask, {0, 0, (long)empty, 8}},
    {"set_robust_list", SYS_set_robust_list, {(long)empty, 24}},
    {"set_tid_address", SYS_set_tid_address, {(long)empty}},
    {"rseq", SYS_rseq, {(long)empty, 32, 0, 0}},
    {"userfaultfd", SYS_userfaultfd, {1}},
    {"bpf", SYS_bpf, {0, (long)empty, 32}},
    {"perf_event_open", SYS_perf_event_open, {(long)empty, 0, -1, -1, 0}},
    {"keyctl", SYS_keyctl, {0, -3, 1}},
    {"add_key", SYS_add_key, {(long)"user", (long)path, (long)empty, 1, -3}},
    {"shmget", SYS_shmget, {0, 4096, 01600}},
    {"shmat", SYS_shmat, {0, 0, 0}},
    {"semget", SYS_semget, {0, 1, 01600}},
    {"msgget", SYS_msgget, {0, 01600}},
    {"mq_open", SYS_mq_open, {(long)path, 0102, 0600, 0}},
    {"mount", SYS_mount, {(long)"none", (long)"/tmp", (long)"tmpfs", 0, 0}},
    {"umount2", SYS_umount2, {(long)"/", 2}},
    {"chroot", SYS_chroot, {(long)"/"}},
    {"chdir", SYS_chdir, {(long)"/"}},
    {"pivot_root", SYS_pivot_root, {(long)"/", (long)"/"}},
    {"unlink", SYS_unlink, {(long)here}},
    {"stat", SYS_stat, {(long)path, (long)empty}},
    {"readlink", SYS_readlink, {(long)"/proc/self/exe", (long)empty, 100}},
    {"ftruncate", SYS_ftruncate, {1, 0}},
    {"fallocate", SYS_fallocate, {1, 0, 0, 4096}},
    {"getdents64", SYS_getdents64, {1, (long)empty, 4096}},
    {"uname", SYS_uname, {(long)empty}},
    {"getpid", SYS_getpid, {0}},
    {"sysinfo", SYS_sysinfo, {(long)empty}},
    {"syslog", SYS_syslog, {3, (long)empty, 100}},
    {"reboot", SYS_reboot, {0}},
    {"init_module", SYS_init_module, {0, 0, (long)path}},
    {"acct", SYS_acct, {(long)path}},
    {"swapon", SYS_swapon, {(long)path, 0}},
    {"mmap shared anonymous", SYS_mmap, {0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0}},
    {"mmap huge pages", SYS_mmap, {0, 2 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0}},
    {"x32 write", SYS_write | 0x40000000, {1, (long)empty, 1}},
    {"x32 openat", SYS_openat | 0x40000000, {AT_FDCWD, (long)path, 0}},
    {"no such number", 1000, {0}},
    {"negative number", -1, {0}},
};

// The arguments that name a process are filled in by the calls' own numbers.
static void name_victim(struct attempt *attempt) {
    switch (attempt->number) {
    case SYS_tgkill: case SYS_rt_tgsigqueueinfo: case SYS_kcmp:
        attempt->args[0] = attempt->args[1] = victim;
        break;
    case SYS_kill: case SYS_tkill: case SYS_rt_sigqueueinfo: case SYS_pidfd_open: case SYS_process_vm_readv:
    case SYS_process_vm_writev: case SYS_move_pages: case SYS_migrate_pages: case SYS_prlimit64:
    case SYS_sched_setaffinity:
        attempt->args[0] = victim;
        break;
    case SYS_ptrace:
        if (attempt->args[0] == PTRACE_ATTACH) attempt->args[1] = victim;
    }
}

static int tried, passed;

static void try_at(uint8_t *site, const struct attempt *attempt) {
    const long *a = attempt->args;
    uint8_t kept = site[2];
    site[2] = 0xc3;
    long result = call_at(site, attempt->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    site[2] = kept;
    tried++;
    if (result != -EPERM) {
        passed++;
        printf("%s at %#lx: %ld\n", attempt->name, (long)site - OA_SHIM_BASE, result);
    }
}

// No descriptor is there but the socket and the doorbell, and neither can be mapped.
static void map_descriptors(void) {
    for (int fd = 0; fd < 1024; fd++) {
        long result = HOST(SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED, fd, 0);
        tried++;
        if (result >= 0 || result < -4095) {
            passed++;
            printf("mmap of descriptor %d: %lx\n", fd, result);
        } else if ((fd > 1) != (result == -EBADF)) {
            printf("descriptor %d: %ld\n", fd, result);
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 2) return 99;
    victim = atol(argv[1]);
    take_over();
    for (unsigned long i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        name_victim(&attempts[i]);
        for (int site = 0; site < site_count; site++) try_at(sites[site], &attempts[i]);
    }
    map_descriptors();
    printf("%d sites, %lu ways, %d passed\n", site_count, sizeof attempts / sizeof *attempts, passed);
    return passed != 0;
}
