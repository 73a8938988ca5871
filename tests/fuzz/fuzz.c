// Random system calls. The outer process runs workers one after another, each with its own seed and for a short time;
// a worker is several threads, and a child that shares its descriptors, that call what a seeded generator says.
// arguments: seed, seconds.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define WORKER_MS 1500
#define ARENA (1 << 18)
#define COUNT(array) (sizeof(array) / sizeof *(array))

// How each argument is made, one letter each; what is not listed gets anything.
//  f descriptor  D directory descriptor  p path  b buffer  n its size  s structure  v iovec  c its count  i few bits
//  l offset  P process  S signal  t time  u user  z zero  m memory address  M its size  o one of a few
//  E the size of a signal set
static const struct { uint16_t number; const char *arguments; } known[] = {
    {SYS_read, "fbn"}, {SYS_write, "fbn"}, {SYS_open, "pii"}, {SYS_close, "f"}, {SYS_stat, "ps"}, {SYS_fstat, "fs"},
    {SYS_lstat, "ps"}, {SYS_poll, "sot"}, {SYS_lseek, "flo"}, {SYS_mmap, "mMiofl"}, {SYS_mprotect, "mMo"},
    {SYS_munmap, "mM"}, {SYS_rt_sigaction, "SssE"}, {SYS_rt_sigprocmask, "ossE"}, {SYS_ioctl, "fxs"},
    {SYS_pread64, "fbnl"}, {SYS_pwrite64, "fbnl"}, {SYS_readv, "fvc"}, {SYS_writev, "fvc"}, {SYS_access, "po"},
    {SYS_pipe, "s"}, {SYS_select, "ossst"}, {SYS_mremap, "mMMom"}, {SYS_msync, "mMo"}, {SYS_mincore, "mMs"},
    {SYS_madvise, "mMo"}, {SYS_shmget, "oni"}, {SYS_shmat, "omi"}, {SYS_shmctl, "oos"}, {SYS_dup, "f"},
    {SYS_dup2, "ff"}, {SYS_nanosleep, "ts"}, {SYS_getitimer, "os"}, {SYS_sendfile, "ffsn"}, {SYS_socket, "ooo"},
    {SYS_connect, "fsn"}, {SYS_accept, "fss"}, {SYS_sendto, "fbnisn"}, {SYS_recvfrom, "fbniss"},
    {SYS_sendmsg, "fsi"}, {SYS_recvmsg, "fsi"}, {SYS_shutdown, "fo"}, {SYS_bind, "fsn"}, {SYS_listen, "fo"},
    {SYS_getsockname, "fss"}, {SYS_getpeername, "fss"}, {SYS_socketpair, "ooos"}, {SYS_setsockopt, "foosn"},
    {SYS_getsockopt, "fooss"}, {SYS_wait4, "Psis"}, {SYS_uname, "s"}, {SYS_semget, "ooi"}, {SYS_semop, "osn"},
    {SYS_semctl, "ooos"}, {SYS_shmdt, "m"}, {SYS_msgget, "oi"}, {SYS_msgsnd, "osni"}, {SYS_msgrcv, "osnoi"},
    {SYS_msgctl, "oos"}, {SYS_fcntl, "fox"}, {SYS_flock, "fo"}, {SYS_fsync, "f"}, {SYS_truncate, "pl"},
    {SYS_ftruncate, "fl"}, {SYS_getdents, "fbn"}, {SYS_getcwd, "bn"}, {SYS_chdir, "p"}, {SYS_fchdir, "f"},
    {SYS_rename, "pp"}, {SYS_mkdir, "pi"}, {SYS_rmdir, "p"}, {SYS_creat, "pi"}, {SYS_link, "pp"},
    {SYS_unlink, "p"}, {SYS_symlink, "pp"}, {SYS_readlink, "pbn"}, {SYS_chmod, "pi"}, {SYS_fchmod, "fi"},
    {SYS_chown, "puu"}, {SYS_umask, "i"}, {SYS_gettimeofday, "ss"}, {SYS_getrlimit, "os"}, {SYS_getrusage, "os"},
    {SYS_sysinfo, "s"}, {SYS_times, "s"}, {SYS_ptrace, "oPxx"}, {SYS_syslog, "obn"}, {SYS_setuid, "u"},
    {SYS_setpgid, "PP"}, {SYS_setreuid, "uu"}, {SYS_getgroups, "ns"}, {SYS_setgroups, "ns"}, {SYS_getpgid, "P"},
    {SYS_capget, "ss"}, {SYS_capset, "ss"}, {SYS_rt_sigpending, "sE"}, {SYS_rt_sigtimedwait, "sstE"},
    {SYS_rt_sigqueueinfo, "PSs"}, {SYS_sigaltstack, "ss"}, {SYS_utime, "ps"}, {SYS_mknod, "pix"},
    {SYS_personality, "i"}, {SYS_statfs, "ps"}, {SYS_fstatfs, "fs"}, {SYS_getpriority, "oP"},
    {SYS_setpriority, "oPo"}, {SYS_sched_setparam, "Ps"}, {SYS_sched_getparam, "Ps"},
    {SYS_sched_setscheduler, "Pos"}, {SYS_mlock, "mM"}, {SYS_prctl, "oxxxx"}, {SYS_arch_prctl, "xs"},
    {SYS_setrlimit, "os"}, {SYS_chroot, "p"}, {SYS_setxattr, "ppsni"}, {SYS_lsetxattr, "ppsni"},
    {SYS_fsetxattr, "fpsni"}, {SYS_getxattr, "ppbn"}, {SYS_fgetxattr, "fpbn"}, {SYS_listxattr, "pbn"},
    {SYS_flistxattr, "fbn"}, {SYS_removexattr, "pp"}, {SYS_fremovexattr, "fp"}, {SYS_futex, "mootmo"},
    {SYS_sched_setaffinity, "Pns"}, {SYS_sched_getaffinity, "Pns"}, {SYS_epoll_create, "o"},
    {SYS_getdents64, "fbn"}, {SYS_fadvise64, "flno"}, {SYS_timer_create, "oss"}, {SYS_timer_settime, "oiss"},
    {SYS_timer_gettime, "os"}, {SYS_timer_delete, "o"}, {SYS_clock_gettime, "os"}, {SYS_clock_settime, "os"},
    {SYS_clock_nanosleep, "ozts"}, {SYS_epoll_wait, "fsoo"}, {SYS_epoll_ctl, "fofs"}, {SYS_utimes, "ps"},
    {SYS_mq_open, "piis"}, {SYS_mq_unlink, "p"}, {SYS_mq_timedsend, "fbnot"}, {SYS_mq_timedreceive, "fbnst"},
    {SYS_mq_notify, "fs"}, {SYS_mq_getsetattr, "fss"}, {SYS_waitid, "oPsis"}, {SYS_ioprio_set, "oPo"},
    {SYS_inotify_add_watch, "fpx"}, {SYS_inotify_rm_watch, "fo"}, {SYS_openat, "Dpii"}, {SYS_mkdirat, "Dpi"},
    {SYS_mknodat, "Dpix"}, {SYS_fchownat, "Dpuui"}, {SYS_newfstatat, "Dpsi"}, {SYS_unlinkat, "Dpi"},
    {SYS_renameat, "DpDp"}, {SYS_linkat, "DpDpi"}, {SYS_symlinkat, "pDp"}, {SYS_readlinkat, "Dpbn"},
    {SYS_fchmodat, "Dpi"}, {SYS_faccessat, "Dpo"}, {SYS_pselect6, "osssts"}, {SYS_ppoll, "sotsE"},
    {SYS_unshare, "x"}, {SYS_splice, "fsfsni"}, {SYS_tee, "ffni"}, {SYS_sync_file_range, "flno"},
    {SYS_vmsplice, "fvci"}, {SYS_utimensat, "Dpsi"}, {SYS_epoll_pwait, "fsotsE"}, {SYS_signalfd, "fsE"},
    {SYS_timerfd_create, "oi"}, {SYS_eventfd, "o"}, {SYS_fallocate, "foln"}, {SYS_timerfd_settime, "fiss"},
    {SYS_timerfd_gettime, "fs"}, {SYS_accept4, "fssi"}, {SYS_signalfd4, "fsEi"}, {SYS_eventfd2, "oi"},
    {SYS_epoll_create1, "i"}, {SYS_dup3, "ffi"}, {SYS_pipe2, "si"}, {SYS_inotify_init1, "i"},
    {SYS_preadv, "fvcll"}, {SYS_pwritev, "fvcll"}, {SYS_rt_tgsigqueueinfo, "PPSs"}, {SYS_recvmmsg, "fsoit"},
    {SYS_prlimit64, "Poss"}, {SYS_sendmmsg, "fsoi"}, {SYS_getcpu, "ss"}, {SYS_process_vm_readv, "Pvcvcz"},
    {SYS_process_vm_writev, "Pvcvcz"}, {SYS_kcmp, "PPoff"}, {SYS_sched_setattr, "Psz"},
    {SYS_sched_getattr, "Psnz"}, {SYS_renameat2, "DpDpi"}, {SYS_getrandom, "bni"}, {SYS_memfd_create, "pi"},
    {SYS_copy_file_range, "fsfsnz"}, {SYS_preadv2, "fvclli"}, {SYS_pwritev2, "fvclli"}, {SYS_statx, "Dpixs"},
    {SYS_pidfd_send_signal, "fSsz"}, {SYS_pidfd_open, "Pi"}, {SYS_close_range, "ffo"}, {SYS_openat2, "Dpsn"},
    {SYS_pidfd_getfd, "ffz"}, {SYS_faccessat2, "Dpoi"}, {SYS_epoll_pwait2, "fsotsE"}, {452 /* fchmodat2 */, "Dpii"},
    {SYS_fork, ""},
};

// What would end or hang a worker too early, or reach beyond it.
static const uint16_t left_out[] = {
    SYS_exit, SYS_exit_group, SYS_execve, SYS_execveat, SYS_pause, SYS_rt_sigsuspend, SYS_rt_sigreturn, SYS_vfork,
    SYS_kill, SYS_tkill, SYS_tgkill, SYS_reboot, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_clone3, SYS_brk,
    SYS_setitimer, SYS_alarm, SYS_set_tid_address, SYS_set_robust_list, SYS_rseq, SYS_move_mount, SYS_fsopen,
    SYS_sethostname, SYS_setdomainname, SYS_clone,
};

static const char *const paths[] = {
    "/tmp/fuzz/a", "/tmp/fuzz/b", "/tmp/fuzz/dir", "/tmp/fuzz/dir/c", "/tmp/fuzz/link", "/tmp/fuzz/fifo", "a", "dir/d",
    "..", ".", "", "/", "/tmp/fuzz/dir/../a", "/proc/self/status", "/proc/self/maps", "/proc/self/fd", "/proc/self/fd/3",
    "/proc/self/task", "/proc/stat", "/proc/self/environ", "/proc/self/mem", "/proc/self/oom_score_adj", "/proc",
    "/proc/sys/kernel/hostname", "/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/tty", "/dev/ptmx",
    "/dev/pts", "/dev/shm/x", "/etc/passwd", "/usr/bin/env", "/nonexistent/x", "/tmp/fuzz/socket", "user.name",
    "trusted.x", "security.y", "system.posix_acl_access", "/queue", "\xff\xfe", "/proc/self/root/tmp/fuzz/a",
    "/proc/self/fdinfo/3", "/proc/self/mountinfo", "/proc/net/unix", "/sys", "/dev/fd/4", "/proc/1/root", "/dev",
};

struct generator {
    uint64_t state;
    char *arena; // memory of this thread's that calls may write to; the page behind it is not there
};

static uint64_t draw(struct generator *g) {
    g->state ^= g->state << 13;
    g->state ^= g->state >> 7;
    g->state ^= g->state << 17;
    return g->state * 0x2545f4914f6cdd1dULL;
}

static uint64_t below(struct generator *g, uint64_t limit) { return (draw(g) >> 11) % limit; }

static uint64_t odd_number(struct generator *g) {
    static const uint64_t odd[] = {
        0, 1, 2, 7, 8, 16, 24, 100, 127, 128, 255, 256, 4095, 4096, 4097, 65535, 65536, 1 << 20, 0x7ffff000, 0x7fffffff,
        0x80000000, 0xffffffff, 0x100000000, 1UL << 40, 0x7fffffffffffffff, 0x8000000000000000, -1UL, -2UL, -100UL,
        -4095UL, 0x7fffffffe000, 0x6f0000000000, 0x6f0200000000, 0xffffffff80000000,
    };
    return below(g, 3) ? odd[below(g, COUNT(odd))] : draw(g) >> below(g, 64);
}

static char *pointer(struct generator *g) {
    switch (below(g, 24)) {
    case 0: return NULL;
    case 1: return (char *)odd_number(g);
    case 2: return g->arena + ARENA - below(g, 64);
    case 3: return (char *)(0x6f0000000000UL + (below(g, 4) << 32) + below(g, 8192)); // the shim's own memory
    }
    return g->arena + below(g, ARENA / 2) / 8 * 8;
}

// A structure: small numbers, pointers and odd numbers in 32 and 64 bits.
static char *structure(struct generator *g) {
    char *place = pointer(g);
    if (place < g->arena || place > g->arena + ARENA - 512) return place;
    for (int i = 0; i < 32; i++) {
        uint64_t value = 0;
        switch (below(g, 6)) {
        case 0: value = below(g, 40); break;
        case 1: value = below(g, 40) | below(g, 40) << 32; break;
        case 2: value = (uint64_t)g->arena + below(g, ARENA / 2); break;
        case 3: value = odd_number(g); break;
        case 4: value = below(g, 16) | 1UL << below(g, 64); break;
        }
        memcpy(place + 8 * i, &value, 8);
    }
    return place;
}

static char *vector(struct generator *g) {
    char *place = pointer(g);
    if (place < g->arena || place > g->arena + ARENA - 512) return place;
    for (int i = 0; i < 16; i++) {
        uint64_t piece[2] = {(uint64_t)pointer(g), below(g, 8) ? below(g, 5000) : odd_number(g)};
        memcpy(place + 16 * i, piece, 16);
    }
    return place;
}

static char *moment(struct generator *g) {
    char *place = pointer(g);
    if (place < g->arena || place > g->arena + ARENA - 512) return NULL;
    struct timespec time = {below(g, 20) ? 0 : (time_t)odd_number(g), below(g, 20) ? below(g, 2000000) : odd_number(g)};
    memcpy(place, &time, sizeof time);
    return place;
}

static char *path(struct generator *g) {
    if (below(g, 20) == 0) return pointer(g);
    char *place = g->arena + ARENA / 2 + below(g, ARENA / 4);
    if (below(g, 40) == 0) {
        memset(place, below(g, 2) ? '/' : 'x', 5000);
        place[4000 + below(g, 1000)] = 0;
        return place;
    }
    return strcpy(place, paths[below(g, COUNT(paths))]);
}

static uint64_t argument(struct generator *g, char kind) {
    switch (kind) {
    case 'f': return below(g, 30) ? below(g, 40) : odd_number(g);
    case 'D': return below(g, 3) ? (uint64_t)AT_FDCWD : below(g, 40);
    case 'p': return (uint64_t)path(g);
    case 'b': return (uint64_t)pointer(g);
    case 'n': return below(g, 10) ? below(g, 9000) : odd_number(g);
    case 's': return (uint64_t)structure(g);
    case 'v': return (uint64_t)vector(g);
    case 'c': return below(g, 10) ? below(g, 16) : odd_number(g);
    case 'i': return below(g, 3) ? (1UL << below(g, 32) | (below(g, 2) ? 1UL << below(g, 20) : 0)) : below(g, 8);
    case 'l': return below(g, 4) ? below(g, 100000) : odd_number(g);
    case 'P': return below(g, 2) ? 0 : below(g, 3) ? (uint64_t)getpid() + below(g, 4) : odd_number(g);
    case 'S': {
        uint64_t number = below(g, 80);
        int deadly = number == SIGKILL || number == SIGSTOP || number == SIGSEGV || number == SIGBUS || number == SIGABRT;
        return deadly && below(g, 20) ? 0 : number;
    }
    case 't': return (uint64_t)moment(g);
    case 'u': return below(g, 2) ? -1UL : below(g, 2) ? 1000 : odd_number(g);
    case 'm': return (uint64_t)g->arena + 4096 * below(g, ARENA / 4096);
    case 'M': return below(g, 4) ? 4096 * below(g, 8) : odd_number(g);
    case 'E': return below(g, 30) ? 8 : odd_number(g);
    case 'o': return below(g, 8) ? below(g, 20) : odd_number(g);
    case 'z': return below(g, 10) ? 0 : odd_number(g);
    }
    return below(g, 2) ? odd_number(g) : (uint64_t)pointer(g);
}

static int is_left_out(long number) {
    for (unsigned i = 0; i < COUNT(left_out); i++)
        if (left_out[i] == number) return 1;
    return 0;
}

// Their numbers would reach other threads' memory, or the C library's.
static int harmful(long number, const uint64_t *arguments) {
    if (number == SYS_mmap || number == SYS_mremap) return arguments[3] & 0x30 || number == SYS_mremap;
    if (number == SYS_munmap || number == SYS_mprotect || number == SYS_madvise) return 1;
    if (number == SYS_arch_prctl) return arguments[0] == 0x1001 || arguments[0] == 0x1002;
    if (number == SYS_prctl) return arguments[0] == PR_SET_SECCOMP;
    if (number == SYS_rt_sigaction) return arguments[0] == SIGALRM || arguments[1] != 0;
    if (number == SYS_rt_sigprocmask) return 1;
    if (number == SYS_setrlimit || number == SYS_prlimit64) return 1;
    return 0;
}

static void call_something(struct generator *g) {
    uint64_t a[6];
    long number;
    const char *kinds = "";
    if (below(g, 12)) {
        unsigned which = below(g, COUNT(known));
        number = known[which].number;
        kinds = known[which].arguments;
    } else {
        number = below(g, 470);
    }
    if (is_left_out(number)) return;
    for (int i = 0; i < 6; i++) {
        a[i] = argument(g, *kinds ? *kinds : 'x');
        if (*kinds) kinds++;
    }
    if (harmful(number, a)) return;
    long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (number == SYS_fork && result == 0) _exit(0);
}

static double deadline;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void *caller(void *argument) {
    struct generator g = {.state = (uint64_t)argument | 1};
    g.arena = mmap(NULL, ARENA + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(g.arena + ARENA, 4096);
    while (now() < deadline) call_something(&g);
    return NULL;
}

static void wake(int number) { (void)number; }

// A few of everything that a descriptor can be.
static void open_things(void) {
    int pair[2];
    mkdir("/tmp/fuzz", 0777);
    mkdir("/tmp/fuzz/dir", 0777);
    symlink("a", "/tmp/fuzz/link");
    mkfifo("/tmp/fuzz/fifo", 0666);
    chdir("/tmp/fuzz");
    open("/tmp/fuzz/a", O_RDWR | O_CREAT, 0666);
    open("/tmp/fuzz/b", O_RDWR | O_CREAT | O_APPEND, 0666);
    open("/tmp/fuzz", O_RDONLY | O_DIRECTORY);
    open("/tmp/fuzz/a", O_PATH);
    open("/proc/self/status", O_RDONLY);
    open("/dev/zero", O_RDWR);
    open("/etc/passwd", O_RDONLY);
    open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
    (void)!pipe2(pair, O_NONBLOCK);
    (void)!pipe(pair);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair);
    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair);
    socket(AF_INET, SOCK_STREAM, 0);
    socket(AF_INET6, SOCK_DGRAM, 0);
    socket(AF_NETLINK, SOCK_RAW, 0);
    epoll_create1(0);
    eventfd(3, EFD_NONBLOCK);
    timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    inotify_init1(IN_NONBLOCK);
    memfd_create("fuzz", MFD_ALLOW_SEALING);
    posix_openpt(O_RDWR | O_NOCTTY);
    sigset_t set;
    sigfillset(&set);
    signalfd(-1, &set, SFD_NONBLOCK);
    syscall(SYS_pidfd_open, getpid(), 0);
}

static void work(uint64_t seed) {
    setsid();
    for (int i = 1; i < 65; i++)
        if (i != SIGCHLD && i != SIGSEGV && i != SIGBUS && i != SIGABRT) signal(i, SIG_IGN);
    struct sigaction action = {.sa_handler = wake}; // no SA_RESTART: what blocks is left
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 20000}, {0, 20000}};
    setitimer(ITIMER_REAL, &often, NULL);
    open_things();
    deadline = now() + WORKER_MS / 1000.0;
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, caller, (void *)(seed * 1000003 + 17 * i));
    if (seed % 2 && fork() == 0) caller((void *)(seed * 7777777));
    caller((void *)(seed * 31337));
    _exit(0);
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    double end = now() + (argc > 2 ? atof(argv[2]) : 10);
    int workers = 0;
    while (now() < end) {
        pid_t worker = fork();
        if (worker == 0) work(seed);
        double limit = now() + WORKER_MS / 1000.0 + 1;
        while (waitpid(worker, NULL, WNOHANG) == 0) {
            if (now() > limit) kill(worker, SIGKILL);
            usleep(20000);
        }
        kill(-worker, SIGKILL);
        seed++;
        workers++;
    }
    printf("%d workers\n", workers);
    return 0;
}
