"""The files of /proc that tell of the whole system: meminfo, stat, uptime, cpuinfo and so on."""

from __future__ import annotations

from ..mount import FILE_SYSTEMS
from ..synthetic import Folder
from .views import TICK, KernelView

# What every LibOS mounts at boot, whether or not mount(2) could.
BUILT_IN = ("proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "ramfs", "pipefs", "sockfs", "overlay")
DEVICES = b"""Character devices:
  1 mem
  5 /dev/tty
  5 /dev/console
  5 /dev/ptmx
136 pts

Block devices:
"""
# Hierarchy 0 means: by cgroup2. A Java runtime decides by this file which of the two it asks for its limits.
CGROUPS = b"#subsys_name\thierarchy\tnum_cgroups\tenabled\n" + b"".join(
    b"%b\t0\t1\t1\n" % name for name in (b"cpuset", b"cpu", b"cpuacct", b"io", b"memory", b"pids")
)
# Facts about a CPU that the LibOS passes on from the host, as programs choose their code by them.
CPU_FACTS = (
    "vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "cpu MHz", "cache size", "fpu",
    "fpu_exception", "cpuid level", "wp", "flags", "bugs", "bogomips", "TLB size", "clflush size",
    "cache_alignment", "address sizes", "power management",
)  # fmt: skip


def fill_system(root: Folder, kernel: KernelView, cpuinfo: str) -> None:
    """Add the files to /proc."""
    facts = cpu_facts(cpuinfo)
    root.add(b"cgroups", CGROUPS)
    root.add(b"cmdline", b"occlum-async\n")
    root.add(b"cpuinfo", lambda: render_cpuinfo(facts, kernel.config.cpus))
    root.add(b"devices", DEVICES)
    root.add(b"diskstats", b"")
    root.add(b"filesystems", filesystems)
    root.add(b"interrupts", lambda: b"    " + b"".join(b"       CPU%d" % n for n in range(kernel.config.cpus)) + b"\n")
    root.add(b"loadavg", lambda: loadavg(kernel))
    root.add(b"meminfo", lambda: meminfo(kernel))
    root.add(b"misc", b"")
    root.add(b"modules", b"")
    root.add(b"partitions", b"major minor  #blocks  name\n\n")
    root.add(b"softirqs", lambda: b"    " + b"".join(b"       CPU%d" % n for n in range(kernel.config.cpus)) + b"\n")
    root.add(b"stat", lambda: stat(kernel))
    root.add(b"swaps", b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")
    root.add(b"uptime", lambda: uptime(kernel))
    root.add(b"version", lambda: version(kernel))
    root.add(b"vmstat", lambda: vmstat(kernel))
    root.add(b"zoneinfo", b"")


def cpu_facts(cpuinfo: str) -> dict[str, str]:
    """The facts of the first CPU of a /proc/cpuinfo."""
    facts = {}
    for line in cpuinfo.splitlines():
        name, found, value = line.partition(":")
        if not found:
            break
        if name.strip() in CPU_FACTS:
            facts[name.strip()] = value.strip()
    return facts


def render_cpuinfo(facts: dict[str, str], cpus: int) -> bytes:
    """/proc/cpuinfo of ``cpus`` like CPUs."""
    text = []
    for cpu in range(cpus):
        topology = {"physical id": 0, "siblings": cpus, "core id": cpu, "cpu cores": cpus}
        numbers = {"apicid": cpu, "initial apicid": cpu}
        lines: dict[str, object] = {"processor": cpu}
        for name in CPU_FACTS:
            if name == "fpu":
                lines |= topology | numbers
            if name in facts:
                lines[name] = facts[name]
        text.append("".join(f"{name + _tabs(name)}: {value}\n" for name, value in lines.items()) + "\n")
    return "".join(text).encode()


def _tabs(name: str) -> str:
    return "\t\t" if len(name) < 8 else "\t"


def filesystems() -> bytes:
    """/proc/filesystems: none of them needs a device."""
    return b"".join(b"nodev\t%b\n" % name.encode() for name in dict.fromkeys([*BUILT_IN, *FILE_SYSTEMS]))


def _uptime(kernel: KernelView) -> int:
    """Nanoseconds since boot."""
    now: int = kernel.clock.monotonic()
    return max(0, now - kernel.boot_time)


def cpu_time(kernel: KernelView) -> tuple[int, int]:
    """User and system nanoseconds of all processes, also of those that are gone and were waited for."""
    user = system = 0
    for process in kernel.processes:
        for usage in (process.own_usage(), process.children_usage):
            user += usage.user
            system += usage.system
    return user, system


def _idle(kernel: KernelView) -> int:
    available: int = _uptime(kernel) * kernel.config.cpus
    return max(0, available - sum(cpu_time(kernel)))


def uptime(kernel: KernelView) -> bytes:
    """Seconds since boot, and seconds that the CPUs were idle."""
    return b"%.2f %.2f\n" % (_uptime(kernel) / 1e9, _idle(kernel) / 1e9)


def _running(kernel: KernelView) -> int:
    return sum(process.state == "R" for process in kernel.processes)


def loadavg(kernel: KernelView) -> bytes:
    """How many run now stands for the averages: nobody samples while nobody looks."""
    running = _running(kernel)
    processes = kernel.processes
    load = b"%d.00 " % max(0, running - 1)
    return load * 3 + b"%d/%d %d\n" % (running, len(processes.threads), processes.last_pid)


def meminfo(kernel: KernelView) -> bytes:
    """/proc/meminfo, of the memory that this LibOS may use."""
    total = kernel.config.memory // 1024
    used = min(total, kernel.memory_in_use() // 1024)
    free = total - used
    values = {
        "MemTotal": total, "MemFree": free, "MemAvailable": free, "Buffers": 0, "Cached": 0, "SwapCached": 0,
        "Active": used, "Inactive": 0, "Active(anon)": used, "Inactive(anon)": 0, "Active(file)": 0,
        "Inactive(file)": 0, "Unevictable": 0, "Mlocked": 0, "SwapTotal": 0, "SwapFree": 0, "Dirty": 0,
        "Writeback": 0, "AnonPages": used, "Mapped": 0, "Shmem": 0, "KReclaimable": 0, "Slab": 0,
        "SReclaimable": 0, "SUnreclaim": 0, "KernelStack": 0, "PageTables": 0, "NFS_Unstable": 0, "Bounce": 0,
        "WritebackTmp": 0, "CommitLimit": total, "Committed_AS": used, "VmallocTotal": 34359738367,
        "VmallocUsed": 0, "VmallocChunk": 0, "Percpu": 0, "AnonHugePages": 0, "ShmemHugePages": 0,
    }  # fmt: skip
    lines = [f"{name + ':':<16}{value:8d} kB" for name, value in values.items()]
    lines += [f"{name + ':':<16}{0:8d}" for name in ("HugePages_Total", "HugePages_Free", "HugePages_Rsvd")]
    lines += [f"{'HugePages_Surp:':<16}{0:8d}", f"{'Hugepagesize:':<16}{2048:8d} kB", f"{'Hugetlb:':<16}{0:8d} kB"]
    return "".join(line + "\n" for line in lines).encode()


def stat(kernel: KernelView) -> bytes:
    """/proc/stat. Which CPU was busy is not known: all were, alike."""
    cpus = kernel.config.cpus
    user, system = (value // TICK for value in cpu_time(kernel))
    idle = _idle(kernel) // TICK
    lines = [f"cpu  {user} 0 {system} {idle} 0 0 0 0 0 0"]
    lines += [f"cpu{cpu} {user // cpus} 0 {system // cpus} {idle // cpus} 0 0 0 0 0 0" for cpu in range(cpus)]
    boot = (int(kernel.clock.realtime()) - _uptime(kernel)) // 10**9
    lines += [
        "intr 0", f"ctxt {kernel.scheduler.steps}", f"btime {boot}", f"processes {kernel.processes.forks}",
        f"procs_running {max(1, _running(kernel))}", "procs_blocked 0", "softirq 0 0 0 0 0 0 0 0 0 0 0",
    ]  # fmt: skip
    return "".join(line + "\n" for line in lines).encode()


def version(kernel: KernelView) -> bytes:
    """/proc/version."""
    return f"Linux version {kernel.release} (occlum-async@libos) {kernel.version}\n".encode()


def vmstat(kernel: KernelView) -> bytes:
    """/proc/vmstat: what vmstat(8) can't do without."""
    free = max(0, kernel.config.memory - kernel.memory_in_use()) // 4096
    names = ("pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault", "oom_kill")
    return f"nr_free_pages {free}\n".encode() + "".join(f"{name} 0\n" for name in names).encode()
