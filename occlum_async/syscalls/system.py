"""The system as a whole: names, facts, randomness; and what only the machine's owner may do."""

from __future__ import annotations

import errno
import os
import struct
from typing import Annotated

from ..abi.errors import SyscallError
from ..abi.marshal import Buffer, In, Int, Out, Pointer, Size, StructOut, UInt
from ..abi.user import UserPointer
from ..fs.credentials import CAP_SYS_ADMIN, CAP_SYS_BOOT, CAP_SYS_PTRACE, CAP_SYS_TTY_CONFIG
from ..process.kernel import RELEASE, VERSION
from ..process.thread import Thread
from .table import syscall

UTSNAME_FIELD = 65
NAME_MAX = 64  # bytes of a host or domain name
SYSINFO = struct.Struct("<q3Q6QHH4xQQI4x")
GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE = 1, 2, 4
RANDOM_CHUNK = 1 << 18
RANDOM_MAX = (1 << 25) - 1  # getrandom(2) gives at most so many bytes in one call
ROBUST_LIST_SIZE = 24
REBOOT_MAGIC, REBOOT_MAGIC2 = 0xFEE1DEAD, (672274793, 85072278, 369367448, 537993216)


@syscall(63)
def uname(thread: Thread, result: Annotated[UserPointer, StructOut(6 * UTSNAME_FIELD)]) -> None:
    kernel = thread.kernel
    fields = (b"Linux", kernel.hostname, RELEASE.encode(), VERSION.encode(), b"x86_64", kernel.domainname)
    result.write(b"".join(field.ljust(UTSNAME_FIELD, b"\0") for field in fields))


def _new_name(thread: Thread, name: Buffer, size: int) -> bytes:
    if not thread.credentials.capable(CAP_SYS_ADMIN):
        raise SyscallError(errno.EPERM)
    if not 0 <= size <= NAME_MAX:
        raise SyscallError(errno.EINVAL)
    return name.read(size).partition(b"\0")[0]


@syscall(170)
def sethostname(thread: Thread, name: Annotated[Buffer, In("size")], size: Int) -> None:
    thread.kernel.hostname = _new_name(thread, name, size)


@syscall(171)
def setdomainname(thread: Thread, name: Annotated[Buffer, In("size")], size: Int) -> None:
    thread.kernel.domainname = _new_name(thread, name, size)


@syscall(99)
def sysinfo(thread: Thread, result: Annotated[UserPointer, StructOut(SYSINFO.size)]) -> None:
    kernel = thread.kernel
    uptime = (kernel.clock.monotonic() - kernel.boot_time) // 10**9
    total = kernel.config.memory
    free = max(total - kernel.memory_in_use(), 0)
    tasks = min(kernel.processes.tasks, 0xFFFF)
    result.pack(SYSINFO, uptime, 0, 0, 0, total, free, 0, 0, 0, 0, tasks, 0, 0, 0, 1)


@syscall(318)
async def getrandom(thread: Thread, buf: Annotated[Buffer, Out("count")], count: Size, flags: UInt) -> int:
    if flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) or flags & 6 == GRND_RANDOM | GRND_INSECURE:
        raise SyscallError(errno.EINVAL)
    count = min(count, RANDOM_MAX)
    for offset in range(0, count, RANDOM_CHUNK):
        if offset:
            await thread.scheduler.give_way()
        buf.write(os.urandom(min(RANDOM_CHUNK, count - offset)), offset)
    return count


# -- addresses that a thread registers ------------------------------------------


@syscall(218)
def set_tid_address(thread: Thread, address: Size) -> int:
    thread.clear_child_tid = address
    return thread.tid


@syscall(273)
def set_robust_list(thread: Thread, head: Size, size: Size) -> None:
    if size != ROBUST_LIST_SIZE:
        raise SyscallError(errno.EINVAL)
    thread.robust_list = (head, size)


@syscall(274)
def get_robust_list(
    thread: Thread, pid: Int, head: Annotated[UserPointer, StructOut(8)], size: Annotated[UserPointer, StructOut(8)]
) -> None:
    target = thread.kernel.processes.task(pid) if pid else thread
    mine, theirs = thread.credentials, target.credentials
    if mine.uid not in (theirs.uid, theirs.euid) and not mine.capable(CAP_SYS_PTRACE):
        raise SyscallError(errno.EPERM)
    size.write(ROBUST_LIST_SIZE.to_bytes(8, "little"))
    head.write(target.robust_list[0].to_bytes(8, "little"))


# -- what belongs to the machine's owner ----------------------------------------


@syscall(153)
def vhangup(thread: Thread) -> None:
    if not thread.credentials.capable(CAP_SYS_TTY_CONFIG):
        raise SyscallError(errno.EPERM)
    terminal = thread.process.session.terminal
    if terminal is not None:
        terminal.hangup()


@syscall(103)
def syslog(thread: Thread, action: Int, buf: Pointer, size: Int) -> int:
    raise SyscallError(errno.EPERM)


@syscall(169)
def reboot(thread: Thread, magic: UInt, magic2: UInt, command: UInt) -> None:
    """Refused to everybody: the machine is not the guests' to stop."""
    if thread.credentials.capable(CAP_SYS_BOOT) and (magic != REBOOT_MAGIC or magic2 not in REBOOT_MAGIC2):
        raise SyscallError(errno.EINVAL)
    raise SyscallError(errno.EPERM)


@syscall(163)
def acct(thread: Thread) -> None:
    raise SyscallError(errno.EPERM)


@syscall(167)
def swapon(thread: Thread) -> None:
    raise SyscallError(errno.EPERM)


@syscall(168)
def swapoff(thread: Thread) -> None:
    raise SyscallError(errno.EPERM)


@syscall(172)
def iopl(thread: Thread) -> None:
    raise SyscallError(errno.EPERM)


@syscall(173)
def ioperm(thread: Thread) -> None:
    raise SyscallError(errno.EPERM)


@syscall(175)
def init_module(thread: Thread) -> None:
    raise SyscallError(errno.EPERM)


@syscall(176)
def delete_module(thread: Thread) -> None:
    raise SyscallError(errno.EPERM)


@syscall(313)
def finit_module(thread: Thread) -> None:
    raise SyscallError(errno.EPERM)


@syscall(246)
def kexec_load(thread: Thread) -> None:
    raise SyscallError(errno.EPERM)


@syscall(101)
def ptrace(thread: Thread) -> None:
    """Nobody traces: a debugger needs the host's ptrace(2), which guests are denied."""
    raise SyscallError(errno.EPERM)
