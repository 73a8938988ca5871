"""/proc/PID/stat, status, statm, limits and the like: what ps and top read of a process or a thread."""

from __future__ import annotations

from .views import PAGE, TICK, KernelView, ProcessView, ThreadView, cpu_list

PF_RANDOMIZE = 0x00400000
RLIM_INFINITY = 0xFFFFFFFFFFFFFFFF

STATE_NAMES = {
    "R": "R (running)", "S": "S (sleeping)", "D": "D (disk sleep)", "T": "T (stopped)",
    "t": "t (tracing stop)", "X": "X (dead)", "Z": "Z (zombie)",
}  # fmt: skip

LIMIT_NAMES = (
    ("Max cpu time", "seconds"), ("Max file size", "bytes"), ("Max data size", "bytes"), ("Max stack size", "bytes"),
    ("Max core file size", "bytes"), ("Max resident set", "bytes"), ("Max processes", "processes"),
    ("Max open files", "files"), ("Max locked memory", "bytes"), ("Max address space", "bytes"),
    ("Max file locks", "locks"), ("Max pending signals", "signals"), ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""), ("Max realtime priority", ""), ("Max realtime timeout", "us"),
)  # fmt: skip


def thread_state(thread: ThreadView) -> str:
    """The letter of a thread's state."""
    if thread.process.zombie or thread.exited:
        return "Z"
    if thread.stopped:
        return "T"
    return "S" if thread.asleep else "R"


def stat(kernel: KernelView, thread: ThreadView, whole: bool) -> bytes:
    """The 52 fields of /proc/PID/stat; ``whole``: of the process, else of one thread."""
    process = thread.process
    usage = process.own_usage()
    user, system = (usage.user, usage.system) if whole else thread.cpu_times()
    children = process.children_usage
    terminal = process.session.terminal
    foreground = process.session.foreground
    size, resident, _ = process.memory_usage()
    scheduling = thread.scheduling
    realtime = scheduling.policy in (1, 2)
    priority = -1 - scheduling.priority if realtime else 20 + scheduling.nice
    signals, dispositions = thread.signals, process.dispositions
    start = max(0, (process.start_time if whole else thread.start_time) - kernel.boot_time)
    limit = process.limits.soft(5)
    pending = process.pending.mask if whole else signals.pending.mask
    fields = [
        process.parent_pid, process.group.pgid, process.session.sid,
        terminal.number if terminal is not None else 0,
        foreground.pgid if foreground is not None else -1,
        PF_RANDOMIZE, usage.minor_faults, children.minor_faults, usage.major_faults, children.major_faults,
        user // TICK, system // TICK, children.user // TICK, children.system // TICK,
        priority, scheduling.nice, max(1, len(process.threads)), 0, start // TICK, size, resident // PAGE, limit,
        0, 0, 0, 0, 0,
        pending & 0x7FFFFFFF, signals.blocked & 0x7FFFFFFF, dispositions.of_mask(1) & 0x7FFFFFFF,
        dispositions.of_mask(2) & 0x7FFFFFFF, 0, 0, 0,
        process.exit_signal if whole else -1, 0, scheduling.priority if realtime else 0, scheduling.policy,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, process.wait_status if process.zombie else 0,
    ]  # fmt: skip
    number = process.pid if whole else thread.tid
    state = process.state if whole else thread_state(thread)
    head = b"%d (%b) %b " % (number, thread.name, state.encode())
    return head + " ".join(map(str, fields)).encode() + b"\n"


def status(kernel: KernelView, thread: ThreadView, whole: bool) -> bytes:
    """/proc/PID/status."""
    process, mine = thread.process, thread.credentials
    signals, dispositions = thread.signals, process.dispositions
    name = thread.name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").decode(errors="surrogateescape")
    number = process.pid if whole else thread.tid
    state = process.state if whole else thread_state(thread)
    lines = [
        f"Name:\t{name}",
        f"Umask:\t{thread.fs.umask:04o}",
        f"State:\t{STATE_NAMES[state]}",
        f"Tgid:\t{process.pid}",
        "Ngid:\t0",
        f"Pid:\t{number}",
        f"PPid:\t{process.parent_pid}",
        "TracerPid:\t0",
        f"Uid:\t{mine.uid}\t{mine.euid}\t{mine.suid}\t{mine.fsuid}",
        f"Gid:\t{mine.gid}\t{mine.egid}\t{mine.sgid}\t{mine.fsgid}",
        f"FDSize:\t{_table_size(len(thread.files))}",
        "Groups:\t" + "".join(f"{group} " for group in mine.groups),
        f"NStgid:\t{process.pid}",
        f"NSpid:\t{number}",
        f"NSpgid:\t{process.group.pgid}",
        f"NSsid:\t{process.session.sid}",
        *(_memory_lines(process) if not process.zombie and process.memory is not None else ()),
        f"Threads:\t{max(1, len(process.threads))}",
        f"SigQ:\t0/{process.limits.soft(11)}",
        f"SigPnd:\t{_mask(signals.pending.mask)}",
        f"ShdPnd:\t{_mask(process.pending.mask)}",
        f"SigBlk:\t{_mask(signals.blocked)}",
        f"SigIgn:\t{_mask(dispositions.of_mask(1))}",
        f"SigCgt:\t{_mask(dispositions.of_mask(2))}",
        f"CapInh:\t{mine.inheritable:016x}",
        f"CapPrm:\t{mine.permitted:016x}",
        f"CapEff:\t{mine.effective:016x}",
        f"CapBnd:\t{mine.bounding:016x}",
        f"CapAmb:\t{mine.ambient:016x}",
        f"NoNewPrivs:\t{int(thread.no_new_privs)}",
        "Seccomp:\t0",
        "Seccomp_filters:\t0",
        "Speculation_Store_Bypass:\tvulnerable",
        "SpeculationIndirectBranch:\tunknown",
        f"Cpus_allowed:\t{sum(1 << cpu for cpu in thread.scheduling.affinity):x}",
        f"Cpus_allowed_list:\t{cpu_list(thread.scheduling.affinity)}",
        "Mems_allowed:\t1",
        "Mems_allowed_list:\t0",
        f"voluntary_ctxt_switches:\t{process.own_usage().voluntary_switches}",
        f"nonvoluntary_ctxt_switches:\t{process.own_usage().involuntary_switches}",
    ]
    return "".join(line + "\n" for line in lines).encode(errors="surrogateescape")


def _table_size(count: int) -> int:
    """How many slots Linux's descriptor table would have for so many files."""
    size = 64
    while size < count:
        size *= 2
    return size


def _mask(signals: int) -> str:
    """A signal set without bit 0, which stands for no signal."""
    return f"{signals & 0xFFFFFFFFFFFFFFFF:016x}"


def _memory_lines(process: ProcessView) -> list[str]:
    size, resident, shared = (value // 1024 for value in process.memory_usage())
    peak = max(resident, process.own_usage().max_resident // 1024)
    values = {
        "VmPeak": size, "VmSize": size, "VmLck": 0, "VmPin": 0, "VmHWM": peak, "VmRSS": resident,
        "RssAnon": resident - shared, "RssFile": shared, "RssShmem": 0, "VmData": max(0, size - shared),
        "VmStk": 132, "VmExe": 0, "VmLib": 0, "VmPTE": 0, "VmSwap": 0, "HugetlbPages": 0,
    }  # fmt: skip
    return [f"{name}:\t{value:8d} kB" for name, value in values.items()] + ["CoreDumping:\t0", "THP_enabled:\t1"]


def statm(process: ProcessView) -> bytes:
    """Sizes in pages: total, resident, shared, text, library, data, dirty."""
    size, resident, shared = (value // PAGE for value in process.memory_usage())
    return b"%d %d %d 0 0 %d 0\n" % (size, resident, shared, max(0, size - shared))


def limits(process: ProcessView) -> bytes:
    """/proc/PID/limits."""
    lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}"]
    for resource, (name, unit) in enumerate(LIMIT_NAMES):
        soft, hard = (
            "unlimited" if value == RLIM_INFINITY else str(value)
            for value in (process.limits.soft(resource), process.limits.hard(resource))
        )
        lines.append(f"{name:<25} {soft:<20} {hard:<20} {unit:<10}")
    return "".join(line + "\n" for line in lines).encode()


def io(process: ProcessView) -> bytes:
    """/proc/PID/io: what the host counts of blocks; the LibOS does not count characters."""
    usage = process.own_usage()
    values = {
        "rchar": 0, "wchar": 0, "syscr": 0, "syscw": 0, "read_bytes": usage.blocks_in * 512,
        "write_bytes": usage.blocks_out * 512, "cancelled_write_bytes": 0,
    }  # fmt: skip
    return "".join(f"{name}: {value}\n" for name, value in values.items()).encode()
