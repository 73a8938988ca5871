"""Resource limits and usage."""

from __future__ import annotations

import errno
from typing import Annotated

from ..abi.errors import SyscallError
from ..abi.marshal import Int, StructIn, StructOut, UInt
from ..abi.user import UserPointer
from ..fs.credentials import CAP_SYS_RESOURCE
from ..process.limits import RLIMIT, RLIMIT_AS, RLIMIT_CPU, RLIMIT_DATA, RLIMIT_NOFILE
from ..process.process import Process
from ..process.thread import Thread
from .table import syscall

RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD = 0, -1, 1


def _set(thread: Thread, process: Process, resource: int, soft: int, hard: int) -> None:
    """Set a limit and let it bind at once."""
    process.limits.set(resource, soft, hard, thread.credentials.capable(CAP_SYS_RESOURCE))
    if resource == RLIMIT_NOFILE:
        for member in process.threads.values():
            member.files.limit = soft
    elif resource == RLIMIT_CPU:
        process.timers.cpu_limit.update()
    elif resource in (RLIMIT_AS, RLIMIT_DATA) and process.memory is not None:
        process.memory.apply_limits(process.limits)


@syscall(97)
def getrlimit(thread: Thread, resource: UInt, limit: Annotated[UserPointer, StructOut(16)]) -> None:
    limit.pack(RLIMIT, *thread.process.limits.get(resource))


@syscall(160)
def setrlimit(thread: Thread, resource: UInt, limit: Annotated[UserPointer, StructIn(16)]) -> None:
    soft, hard = limit.unpack(RLIMIT)
    _set(thread, thread.process, resource, soft, hard)


@syscall(302)
def prlimit64(
    thread: Thread,
    pid: Int,
    resource: UInt,
    new: Annotated[UserPointer, StructIn(16)],
    old: Annotated[UserPointer, StructOut(16)],
) -> None:
    wanted = new.unpack(RLIMIT) if new else None
    target = thread.kernel.processes.task(pid) if pid else thread
    _check_access(thread, target)
    before = target.process.limits.get(resource)
    if wanted is not None:
        _set(thread, target.process, resource, *wanted)
    if old:
        old.pack(RLIMIT, *before)


def _check_access(thread: Thread, target: Thread) -> None:
    """EPERM for another user's process, without CAP_SYS_RESOURCE."""
    mine, theirs = thread.credentials, target.credentials
    same = {theirs.uid, theirs.euid, theirs.suid} == {mine.uid} and {theirs.gid, theirs.egid, theirs.sgid} == {mine.gid}
    if target.process is not thread.process and not same and not mine.capable(CAP_SYS_RESOURCE):
        raise SyscallError(errno.EPERM)


@syscall(98)
def getrusage(thread: Thread, who: Int, usage: Annotated[UserPointer, StructOut(144)]) -> None:
    if who == RUSAGE_SELF:
        usage.write(thread.process.own_usage().pack())
    elif who == RUSAGE_CHILDREN:
        usage.write(thread.process.children_usage.pack())
    elif who == RUSAGE_THREAD:
        usage.write(thread.usage().pack())
    else:
        raise SyscallError(errno.EINVAL)
