// A guest that has taken over its shim and does not play by the channel's rules. argument 1: how; 2: a number.
#include "attack.h"

static uint64_t seed = 88172645463325252;

// Random bytes over every slot that there is, the sequence numbers, the entries and the completions too.
static void scribble(double duration) {
    double end = seconds() + duration;
    while (seconds() < end) {
        for (int turn = 0; turn < 1000; turn++) {
            uint64_t r = next_random(&seed);
            uint64_t offset = r % 16 * OA_SLOT_SIZE + (r >> 8) % (r & 0x10000000 ? 4096 : 320);
            volatile uint64_t *place = (uint64_t *)(OA_CHANNEL_BASE + (offset & ~7UL));
            *place = (r >> 40) % 3 ? next_random(&seed) : next_random(&seed) % 480;
        }
        uint64_t one = 1;
        HOST(SYS_write, OA_FD_DOORBELL, &one, 8);
        HOST(SYS_sched_yield);
    }
    HOST(SYS_exit_group, 7);
}

static void *scribbler(void *argument) {
    (void)argument;
    for (;;) scribble(60);
    return NULL;
}

// Well-formed entries with random contents.
static void submit_nonsense(int count) {
    for (int i = 0; i < count; i++) {
        struct oa_slot *slot = slot_of(0);
        uint64_t args[6];
        for (int j = 0; j < 6; j++) {
            uint64_t r = next_random(&seed);
            args[j] = r % 4 == 0 ? r : r % 4 == 1 ? r % 64 : r % 4 == 2 ? (uint64_t)slot + r % 8192 : -(r % 100);
        }
        u32 number = next_random(&seed) % 480;
        // Not those that end the program, stop it, or wait for ever.
        if (number == SYS_exit || number == SYS_rt_sigreturn || number == SYS_exit_group || number == SYS_execve || number == SYS_execveat ||
            number == SYS_pause || number == SYS_rt_sigsuspend || number == SYS_fork || number == SYS_vfork ||
            number == SYS_clone || number == SYS_clone3 || number == SYS_kill || number == SYS_tkill ||
            number == SYS_tgkill || number == SYS_rt_sigqueueinfo || number == SYS_rt_tgsigqueueinfo)
            number = 0x10000 + next_random(&seed) % 3;
        for (int j = 0; j < 6; j++) slot->args[j] = args[j];
        u32 before = slot->cq_seq;
        slot->number = number;
        for (int j = 0; j < 6; j++) {
            uint64_t r = next_random(&seed);
            slot->places[j].offset = r % 3 ? r % 70000 : r;
            slot->places[j].length = r % 5 ? (r >> 32) % 70000 : r >> 32;
        }
        slot->used = next_random(&seed);
        __atomic_store_n(&slot->sq_seq, slot->sq_seq + 1, __ATOMIC_SEQ_CST);
        ring_bell();
        double end = seconds() + 0.05;
        while (slot->cq_seq == before && seconds() < end) HOST(SYS_sched_yield);
    }
    HOST(SYS_exit_group, 7);
}

static void flood(double duration) {
    double end = seconds() + duration;
    uint64_t one = 1, most = ~0UL - 1;
    while (seconds() < end)
        for (int i = 0; i < 1000; i++) HOST(SYS_write, OA_FD_DOORBELL, i % 100 ? &one : &most, 8);
    puts("flooded");
}

// The text of the shim is replaced under its own feet: the next system call goes nowhere.
static void replace_shim(void) {
    HOST(SYS_mmap, OA_SHIM_BASE, text_size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    getppid();
    getppid();
    for (;;) {}
}

static void unmap_everything(void) {
    HOST(SYS_munmap, OA_SHIM_BASE, OA_END - OA_SHIM_BASE);
    for (;;) {}
}

static void close_descriptors(void) {
    HOST(SYS_close, OA_FD_SOCKET);
    HOST(SYS_close, OA_FD_DOORBELL);
    int fd = open("/proc/self/exe", O_RDONLY);
    mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    pid_t child = fork();
    if (child == 0) _exit(0);
    _exit(7);
}

// Every mapping of a file leaves a descriptor on its way that nobody takes.
static void leave_descriptors(void) {
    int fd = open("/proc/self/exe", O_RDONLY);
    for (int i = 0; i < 100000; i++) {
        uint64_t args[6] = {0, 4096, PROT_READ, MAP_PRIVATE, fd, 0}, done[6] = {-22};
        ring(0, SYS_mmap, args);
        ring(0, OA_NR_DONE, done);
    }
    HOST(SYS_exit_group, 7);
}

// The host thread ends; the kernel is not told.
static void leave_silently(void) { HOST(SYS_exit, 0); }

// Goes round in circles at a place where the shim's handler does not disturb it, whoever wants something.
static void never_answer(void) {
    static const uint8_t circle[] = {0xeb, 0xfe}; // jmp to itself
    memcpy(gate, circle, sizeof circle);
    ((void (*)(void))gate)();
}

// A fork is ordered, made, and never says hello.
static void fork_silently(int count) {
    for (int i = 0; i < count; i++) {
        uint64_t none[6] = {0}, done[6] = {0};
        ring(0, SYS_fork, none);
        int fds[8] = {0}, got = take_descriptors(fds, 8);
        struct oa_operation order = slot_of(0)->ops[1];
        if (got < 2 || order.code != OA_OP_CLONE) HOST(SYS_exit_group, 8);
        long child = HOST(SYS_clone, order.args[0], 0, 0, 0, order.args[3]);
        if (child == 0) for (;;) HOST(SYS_sched_yield);
        if (child < 0) HOST(SYS_exit_group, 9);
        for (int j = 0; j < got; j++) HOST(SYS_close, fds[j]);
        ring(0, OA_NR_DONE, done);
    }
    catch_up(0);
    puts("forked");
    pause();
}

// The hello of a child that is not the guest's own: this process speaks for it.
static void impersonate(void) {
    uint64_t none[6] = {0}, done[6] = {0};
    ring(0, SYS_fork, none);
    int fds[8] = {0}, got = take_descriptors(fds, 8);
    if (got < 2) HOST(SYS_exit_group, 8);
    long child = HOST(SYS_clone, slot_of(0)->ops[1].args[0]);
    if (child == 0) for (;;) HOST(SYS_sched_yield);
    struct oa_slot *theirs = (struct oa_slot *)HOST(
        SYS_mmap, 0, OA_SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    ring(0, OA_NR_DONE, done);
    HOST(SYS_dup3, fds[1], OA_FD_SOCKET, 0);
    HOST(SYS_write, OA_FD_SOCKET, "", 1);
    theirs->number = OA_NR_HELLO;
    __atomic_store_n(&theirs->sq_seq, theirs->sq_seq + 1, __ATOMIC_SEQ_CST);
    ring_bell();
    for (;;) HOST(SYS_sched_yield);
}

// The slot's host thread id names somebody else; forks and signals follow.
static void lie(u32 tid) {
    slot_of(0)->host_tid = tid;
    for (int i = 0; i < 50; i++) {
        slot_of(0)->host_tid = tid + i % 3;
        pid_t child = fork();
        if (child == 0) _exit(0);
        if (child > 0) { kill(child, SIGTERM); waitpid(child, NULL, 0); }
        slot_of(0)->kick = i;
    }
    puts("lied");
}

// A thread that asks to end, does not, and says that it has.
static void *stay(void *argument) {
    (void)argument;
    struct oa_slot *mine = NULL;
    u32 tid = syscall(SYS_gettid);
    for (int i = 0; i < OA_SLOTS && mine == NULL; i++)
        if (slot_of(i)->identity[1] == tid) mine = slot_of(i);
    mine->number = SYS_exit;
    mine->args[0] = 0;
    __atomic_store_n(&mine->sq_seq, mine->sq_seq + 1, __ATOMIC_SEQ_CST);
    ring_bell();
    mine->host_tid = 0;
    static const struct timespec ages = {1000, 0};
    for (;;) HOST(SYS_nanosleep, &ages);
    return NULL;
}

static void keep_threads(int limit) {
    static char stacks[256][16384];
    int made = 0;
    for (; made < limit; made++) {
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstack(&attributes, stacks[made % 256], sizeof stacks[0]);
        if (pthread_create(&thread, &attributes, stay, NULL) != 0) break;
    }
    printf("%s\n", made < limit ? "stopped" : "never stopped");
}

static void clone_bomb(int count) {
    static const long flags[] = {0, CLONE_PARENT, CLONE_PARENT | SIGCHLD, CLONE_VM | CLONE_FILES | CLONE_PARENT,
                                 CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM};
    int made = 0;
    for (int i = 0; i < count; i++) {
        long result = HOST(SYS_clone, flags[i % 5], OA_AREA_BASE + 0x3000, 0, 0, 0);
        if (result == 0) for (;;) {}
        made += result > 0;
    }
    printf("made %d\n", made);
}

int main(int argc, char **argv) {
    if (argc < 2) return 99;
    const char *how = argv[1];
    long number = argc > 2 ? atol(argv[2]) : 0;
    seed ^= (uint64_t)number << 20;
    take_over();
    puts("ready");
    if (!strcmp(how, "scribble")) scribble(1);
    else if (!strcmp(how, "scribble while calling")) {
        pthread_t thread;
        pthread_create(&thread, NULL, scribbler, NULL);
        for (;;) { getppid(); getcwd((char[64]){0}, 64); }
    } else if (!strcmp(how, "nonsense")) submit_nonsense(3000);
    else if (!strcmp(how, "flood")) flood(1.5);
    else if (!strcmp(how, "replace")) replace_shim();
    else if (!strcmp(how, "unmap")) unmap_everything();
    else if (!strcmp(how, "close")) close_descriptors();
    else if (!strcmp(how, "leave descriptors")) leave_descriptors();
    else if (!strcmp(how, "stubborn")) never_answer();
    else if (!strcmp(how, "silent")) leave_silently();
    else if (!strcmp(how, "silent forks")) fork_silently(number);
    else if (!strcmp(how, "impostor")) impersonate();
    else if (!strcmp(how, "lie")) lie(number);
    else if (!strcmp(how, "threads")) keep_threads(number);
    else if (!strcmp(how, "clone")) clone_bomb(1000);
    else return 99;
    return 0;
}
