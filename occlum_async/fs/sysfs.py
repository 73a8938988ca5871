"""A small sysfs: what runtimes read to learn how many CPUs and how much memory they may use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .procfs.net import links_of
from .procfs.system import cpu_time
from .synthetic import Folder, SyntheticFs

if TYPE_CHECKING:
    from .procfs.views import KernelView

SYSFS_MAGIC, CGROUP2_MAGIC = 0x62656572, 0x63677270
CACHES = (  # level, type, size, ways, sets
    (1, "Data", "32K", 8, 64),
    (1, "Instruction", "32K", 8, 64),
    (2, "Unified", "1024K", 16, 1024),
    (3, "Unified", "32768K", 16, 32768),
)
LINE_SIZE = 64
PERIOD = 100000  # microseconds of cpu.max
COUNTERS = ("bytes", "packets", "errors", "dropped")
# Of an interface: IFF_LOWER_UP, the flags that sysfs shows, and the states of RFC 2863.
IFF_LOWER_UP, FLAGS_SHOWN = 0x10000, 0xFFBF
OPERSTATES = {1: "notpresent", 2: "down", 3: "lowerlayerdown", 4: "testing", 5: "dormant", 6: "up"}


class SysFs(SyntheticFs):
    """/sys of a LibOS."""

    name = "sysfs"
    magic = SYSFS_MAGIC

    def __init__(self, kernel: KernelView) -> None:
        super().__init__(kernel.scheduler)
        root = Folder(self, b"")
        self.root = root
        fill_cpus(root.folder(b"devices/system/cpu"), kernel.config.cpus)
        fill_nodes(root.folder(b"devices/system/node"), kernel)
        fill_memory(root.folder(b"kernel/mm"))
        fill_network(root, kernel)
        for empty in (b"block", b"bus", b"class/tty", b"dev/block", b"dev/char", b"firmware", b"fs/cgroup", b"module"):
            root.folder(empty)


class CgroupFs(SyntheticFs):
    """cgroup2, mounted at /sys/fs/cgroup: the root group of a container with the LibOS's limits. Read-only."""

    name = "cgroup2"
    magic = CGROUP2_MAGIC

    def __init__(self, kernel: KernelView) -> None:
        super().__init__(kernel.scheduler)
        root = Folder(self, b"")
        self.root = root
        fill_cgroup(root, kernel)


def _line(text: object) -> bytes:
    return f"{text}\n".encode()


def _range(count: int) -> str:
    return "0" if count == 1 else f"0-{count - 1}"


def fill_cpus(folder: Folder, cpus: int) -> None:
    """/sys/devices/system/cpu: ``cpus`` cores of one package."""
    everyone = _line(_range(cpus))
    for name in (b"online", b"possible", b"present"):
        folder.add(name, everyone)
    for name in (b"offline", b"isolated", b"nohz_full"):
        folder.add(name, b"\n")
    folder.add(b"kernel_max", b"8191\n")
    folder.add(b"smt/active", b"0\n")
    folder.add(b"smt/control", b"notsupported\n")
    for cpu in range(cpus):
        one = folder.folder(b"cpu%d" % cpu)
        if cpu:
            one.add(b"online", b"1\n")
        _fill_topology(one.folder(b"topology"), cpu, cpus)
        for index, cache in enumerate(CACHES):
            _fill_cache(one.folder(b"cache/index%d" % index), cache, cpu, cpus)


def _mask(members: range) -> str:
    return f"{sum(1 << cpu for cpu in members):x}"


def _fill_topology(folder: Folder, cpu: int, cpus: int) -> None:
    facts = {
        "core_id": cpu, "physical_package_id": 0, "die_id": 0, "cluster_id": 0,
        "thread_siblings": _mask(range(cpu, cpu + 1)), "thread_siblings_list": cpu,
        "core_cpus": _mask(range(cpu, cpu + 1)), "core_cpus_list": cpu,
        "core_siblings": _mask(range(cpus)), "core_siblings_list": _range(cpus),
        "package_cpus": _mask(range(cpus)), "package_cpus_list": _range(cpus),
    }  # fmt: skip
    for name, value in facts.items():
        folder.add(name.encode(), _line(value))


def _fill_cache(folder: Folder, cache: tuple[int, str, str, int, int], cpu: int, cpus: int) -> None:
    level, kind, size, ways, sets = cache
    sharers = range(cpus) if level == 3 else range(cpu, cpu + 1)
    facts = {
        "level": level, "type": kind, "size": size, "ways_of_associativity": ways, "number_of_sets": sets,
        "coherency_line_size": LINE_SIZE, "physical_line_partition": 1, "shared_cpu_map": _mask(sharers),
        "shared_cpu_list": _range(cpus) if level == 3 else cpu,
    }  # fmt: skip
    for name, value in facts.items():
        folder.add(name.encode(), _line(value))


def fill_nodes(folder: Folder, kernel: KernelView) -> None:
    """/sys/devices/system/node: all memory is one node's."""
    cpus = kernel.config.cpus
    for name in (b"online", b"possible", b"has_cpu", b"has_memory", b"has_normal_memory"):
        folder.add(name, b"0\n")
    node = folder.folder(b"node0")
    node.add(b"cpulist", _line(_range(cpus)))
    node.add(b"cpumap", _line(_mask(range(cpus))))
    node.add(b"distance", b"10\n")
    node.add(b"meminfo", lambda: _node_memory(kernel))


def _node_memory(kernel: KernelView) -> bytes:
    total = kernel.config.memory // 1024
    used = min(total, kernel.memory_in_use() // 1024)
    values = {"MemTotal": total, "MemFree": total - used, "MemUsed": used}
    return "".join(f"Node 0 {name + ':':<16}{value:8d} kB\n" for name, value in values.items()).encode()


def fill_memory(folder: Folder) -> None:
    """/sys/kernel/mm."""
    huge = folder.folder(b"transparent_hugepage")
    huge.add(b"enabled", b"always [madvise] never\n")
    huge.add(b"defrag", b"always defer defer+madvise [madvise] never\n")
    huge.add(b"shmem_enabled", b"always within_size advise [never] deny force\n")
    huge.add(b"hpage_pmd_size", b"2097152\n")
    huge.add(b"use_zero_page", b"1\n")
    folder.folder(b"hugepages")


def fill_network(root: Folder, kernel: KernelView) -> None:
    """/sys/class/net: the interfaces that were there at the start, in the place where virtual devices are."""
    for link in links_of(kernel).links:
        folder = root.folder(b"devices/virtual/net/" + link.name)
        facts = {
            "address": link.address.hex(":"), "addr_len": len(link.address), "broadcast": link.broadcast.hex(":"),
            "carrier": int(bool(link.flags & IFF_LOWER_UP)), "dev_id": "0x0", "flags": hex(link.flags & FLAGS_SHOWN),
            "ifindex": link.index, "iflink": link.index, "mtu": link.mtu,
            "operstate": OPERSTATES.get(link.state, "unknown"), "tx_queue_len": link.queue_length, "type": link.kind,
            "uevent": f"INTERFACE={link.name.decode('ascii', 'replace')}\nIFINDEX={link.index}",
        }  # fmt: skip
        for name, value in facts.items():
            folder.add(name.encode(), _line(value))
        rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped = link.counters[:8]
        received, sent = (rx_bytes, rx_packets, rx_errors, rx_dropped), (tx_bytes, tx_packets, tx_errors, tx_dropped)
        for direction, figures in (("rx", received), ("tx", sent)):
            for counter, figure in zip(COUNTERS, figures, strict=True):
                folder.add(f"statistics/{direction}_{counter}".encode(), _line(figure))
        root.add_link(b"class/net/" + link.name, b"../../devices/virtual/net/" + link.name)


def fill_cgroup(root: Folder, kernel: KernelView) -> None:
    """The files of the cgroup2 controllers cpu, memory, pids and cpuset."""
    config = kernel.config
    facts: dict[str, Callable[[], object] | object] = {
        "cgroup.controllers": "cpuset cpu io memory pids",
        "cgroup.subtree_control": "",
        "cgroup.procs": lambda: "\n".join(str(process.pid) for process in kernel.processes),
        "cgroup.threads": lambda: "\n".join(str(tid) for tid in sorted(kernel.processes.threads)),
        "cgroup.type": "domain",
        "cgroup.events": "populated 1\nfrozen 0",
        "cgroup.freeze": "0",
        "cgroup.max.depth": "max",
        "cgroup.max.descendants": "max",
        "cgroup.stat": "nr_descendants 0\nnr_dying_descendants 0",
        "cpu.max": f"max {PERIOD}",
        "cpu.weight": "100",
        "cpu.stat": lambda: _cpu_statistics(kernel),
        "cpuset.cpus": _range(config.cpus),
        "cpuset.cpus.effective": _range(config.cpus),
        "cpuset.mems.effective": "0",
        "memory.max": lambda: config.memory,
        "memory.high": "max",
        "memory.low": "0",
        "memory.min": "0",
        "memory.current": kernel.memory_in_use,
        "memory.swap.max": "0",
        "memory.swap.current": "0",
        "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0",
        "memory.stat": lambda: f"anon {kernel.memory_in_use()}\nfile 0\nkernel 0\ninactive_file 0\nactive_file 0",
        "pids.max": lambda: config.pids,
        "pids.current": lambda: len(kernel.processes.threads),
    }
    for name, value in facts.items():
        _add(root, name.encode(), value)


def _add(root: Folder, name: bytes, value: Callable[[], object] | object) -> None:
    if callable(value):
        produce = value
        root.add(name, lambda: _line(produce()))
    else:
        root.add(name, _line(value) if value else b"")


def _cpu_statistics(kernel: KernelView) -> str:
    user, system = (nanoseconds // 1000 for nanoseconds in cpu_time(kernel))
    return f"usage_usec {user + system}\nuser_usec {user}\nsystem_usec {system}\nnr_periods 0\nnr_throttled 0"
