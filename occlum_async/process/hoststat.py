"""What the host's /proc says of guests: times, sizes, mappings. Numbers of a host that may lie: parsed with care."""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress

import msgspec

from ..abi import shared
from ..abi.stat import makedev
from .rusage import CLOCK_TICKS, ResourceUsage

_TICK_NS = 10**9 // CLOCK_TICKS
_PAGE = 4096
_DATA_EXTRA = 34 << 20  # the shim's private areas

_READ_SIZE = 1 << 16


class Mapping(msgspec.Struct, frozen=True):
    """One line of /proc/PID/maps."""

    start: int
    end: int
    perms: str
    offset: int
    device: int
    inode: int
    path: bytes


def _read(path: str) -> bytes:
    # Without a file object: several of these stand in the way of every fork(2) and every end.
    pieces = []
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while piece := os.read(fd, _READ_SIZE):
                pieces.append(piece)
        finally:
            os.close(fd)
    except OSError:
        return b""
    return b"".join(pieces)


def _stat_fields(path: str) -> list[bytes]:
    """The fields of a stat file after the name, so that field 3 of proc(5) is item 0; [] when it is gone."""
    return _read(path).rpartition(b")")[2].split()


def resource_usage(pid: int) -> ResourceUsage | None:
    """Times, faults and the peak size of a host process; None when it is gone."""
    fields = _stat_fields(f"/proc/{pid}/stat")
    if len(fields) < 22:
        return None
    peak = 0
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith(b"VmHWM:"):
            peak = int(line.split()[1]) * 1024
            break
    return ResourceUsage(
        int(fields[11]) * _TICK_NS, int(fields[12]) * _TICK_NS, peak, int(fields[7]), int(fields[9])
    )  # fmt: skip


def thread_times(pid: int, tid: int) -> tuple[int, int]:
    """User and system time of one host thread in nanoseconds."""
    fields = _stat_fields(f"/proc/{pid}/task/{tid}/stat")
    if len(fields) < 13:
        return 0, 0
    return int(fields[11]) * _TICK_NS, int(fields[12]) * _TICK_NS


def thread_sleeps(pid: int, tid: int) -> bool:
    """Whether one host thread sleeps."""
    return _stat_fields(f"/proc/{pid}/task/{tid}/stat")[:1] in ([b"S"], [b"D"])


def memory_usage(pid: int) -> tuple[int, int, int]:
    """Bytes of address space, resident, and shared. The shim's own reservations are taken off the first."""
    fields = _read(f"/proc/{pid}/statm").split()
    if len(fields) < 3:
        return 0, 0, 0
    size, resident, common = (int(field) * _PAGE for field in fields[:3])
    return size, resident, common


def proportional_memory(pid: int) -> int | None:
    """Bytes of anonymous memory, a page that n processes share counting as one n-th; None where the host can't say."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        name, _, value = line.partition(b":")
        if name == b"Pss_Anon":
            return int(value.split()[0]) * 1024
    return None


def mappings(pid: int) -> list[Mapping]:
    """The mappings of a host process without the shim's."""
    result = []
    for line in _read(f"/proc/{pid}/maps").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) < 5:
            continue
        start, _, end = fields[0].partition(b"-")
        first, last = int(start, 16), int(end, 16)
        if shared.SHIM_BASE <= first < shared.SHIM_END:
            continue
        major, _, minor = fields[3].partition(b":")
        result.append(
            Mapping(
                first, last, fields[1].decode(), int(fields[2], 16), makedev(int(major, 16), int(minor, 16)),
                int(fields[4]), fields[5].strip() if len(fields) > 5 else b"",
            )
        )  # fmt: skip
    return result


def files_held(pid: int) -> set[tuple[int, int]]:
    """Device and inode of every file that a host process has mapped or open; nothing of it is left out."""
    held = set()
    for line in _read(f"/proc/{pid}/maps").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) > 4 and fields[4] != b"0":
            major, _, minor = fields[3].partition(b":")
            held.add((makedev(int(major, 16), int(minor, 16)), int(fields[4])))
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                status = os.stat(f"/proc/{pid}/fd/{name}")
                held.add((status.st_dev, status.st_ino))
    return held


def parent_of(pid: int) -> int:
    """The parent of a host process, 0 when it is gone."""
    fields = _stat_fields(f"/proc/{pid}/stat")
    return int(fields[1]) if len(fields) > 1 else 0


def children_of(parent: int) -> list[int]:
    """The children of a host process, zombies included."""
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in numbers if parent_of(pid) == parent]


def age(pid: int) -> float:
    """Seconds since a host process began, 0 when it is gone."""
    fields = _stat_fields(f"/proc/{pid}/stat")
    if len(fields) < 20:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / CLOCK_TICKS


def thread_count(pid: int) -> int:
    """How many threads a host process has, 0 when it is gone."""
    fields = _stat_fields(f"/proc/{pid}/stat")
    return int(fields[17]) if len(fields) > 17 else 0


def limit_memory(pid: int, space: int, data: int, extra: int) -> None:
    """Bind a host process to ``space`` bytes of address space beside ``extra`` and to ``data`` of private memory."""
    for resource_, value in ((resource.RLIMIT_AS, space + extra), (resource.RLIMIT_DATA, data + _DATA_EXTRA)):
        _, hard = resource.prlimit(pid, resource_)
        wanted = resource.RLIM_INFINITY if value >= 1 << 62 else value
        if hard != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > hard):
            wanted = hard
        resource.prlimit(pid, resource_, (wanted, hard))
