"""/proc/PID/maps, smaps, smaps_rollup."""

from __future__ import annotations

from typing import Any

from ...abi.stat import split_device
from .views import ProcessView

PATH_COLUMN = 73
SMAPS_FIELDS = (
    "Size", "KernelPageSize", "MMUPageSize", "Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty",
    "Private_Clean", "Private_Dirty", "Referenced", "Anonymous", "LazyFree", "AnonHugePages", "ShmemPmdMapped",
    "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "Swap", "SwapPss", "Locked",
)  # fmt: skip


def mappings(process: ProcessView) -> list[Any]:
    """The mappings of a process that has memory of its own, by address."""
    if process.memory is None or process.zombie:
        return []
    return list(process.memory.memory_map())


def _line(mapping: Any) -> bytes:
    major, minor = split_device(mapping.device)
    path = mapping.path if isinstance(mapping.path, bytes) else mapping.path.encode(errors="surrogateescape")
    head = (
        f"{mapping.start:08x}-{mapping.end:08x} {mapping.perms} {mapping.offset:08x} "
        f"{major:02x}:{minor:02x} {mapping.inode} "
    ).encode()
    return (head.ljust(PATH_COLUMN) + path.replace(b"\n", b"\\012") if path else head) + b"\n"


def maps(process: ProcessView) -> bytes:
    """One line for each mapping."""
    return b"".join(map(_line, mappings(process)))


def smaps(process: ProcessView) -> bytes:
    """Each mapping with its sizes. How much of one mapping is resident is not known: the whole is spread evenly."""
    found = mappings(process)
    share = _resident_share(process, found)
    return b"".join(_line(mapping) + _sizes(mapping, share) for mapping in found)


def smaps_rollup(process: ProcessView) -> bytes:
    """The sums of ``smaps``."""
    found = mappings(process)
    if not found:
        return b""
    head = f"{found[0].start:08x}-{found[-1].end:08x} ---p 00000000 00:00 0 ".encode().ljust(PATH_COLUMN)
    _, resident, shared = (value // 1024 for value in process.memory_usage())
    values = {"Rss": resident, "Pss": resident, "Shared_Clean": shared, "Private_Dirty": resident - shared}
    fields = [field for field in SMAPS_FIELDS if field not in ("Size", "KernelPageSize", "MMUPageSize")]
    lines = "".join(f"{field + ':':<16}{values.get(field, 0):8d} kB\n" for field in fields)
    return head + b"[rollup]\n" + lines.encode()


def _resident_share(process: ProcessView, found: list[Any]) -> float:
    total = sum(mapping.end - mapping.start for mapping in found if mapping.perms[:3] != "---")
    return min(1.0, process.memory_usage()[1] / total) if total else 0.0


def _sizes(mapping: Any, share: float) -> bytes:
    size = (mapping.end - mapping.start) // 1024
    resident = 0 if mapping.perms[:3] == "---" else int(size * share) // 4 * 4
    dirty = "Private_Dirty" if "w" in mapping.perms else "Private_Clean"
    values = {
        "Size": size, "KernelPageSize": 4, "MMUPageSize": 4, "Rss": resident, "Pss": resident,
        "Referenced": resident, dirty: resident, "Anonymous": 0 if mapping.inode else resident,
    }  # fmt: skip
    lines = "".join(f"{field + ':':<16}{values.get(field, 0):8d} kB\n" for field in SMAPS_FIELDS)
    return lines.encode() + b"THPeligible:           0\nVmFlags: " + _flags(mapping.perms) + b"\n"


def _flags(perms: str) -> bytes:
    names = [name for letter, name in (("r", "rd"), ("w", "wr"), ("x", "ex"), ("s", "sh")) if letter in perms]
    return " ".join([*names, "mr", "mw", "me", "ac"]).encode() + b" "
