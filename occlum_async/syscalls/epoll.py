"""epoll_create(2), epoll_ctl(2) and epoll_wait(2) in their variants."""

from __future__ import annotations

import errno
import os
import struct
from typing import Annotated

from ..abi.errors import SyscallError
from ..abi.marshal import Buffer, Fd, Int, Out, Size, StructIn, UInt
from ..abi.user import UserPointer
from ..io.epoll import EPOLL_CTL_DEL, EVENT, MAX_EVENTS, Epoll
from ..process.thread import Thread
from .events import SIGSET, install, timespec
from .table import Restart, syscall

MILLION = 10**6
TIMESPEC = struct.Struct("<qq")


@syscall(213)
def epoll_create(thread: Thread, size: Int) -> int:
    if size <= 0:
        raise SyscallError(errno.EINVAL)
    return _create(thread, 0)


@syscall(291)
def epoll_create1(thread: Thread, flags: UInt) -> int:
    if flags & ~os.O_CLOEXEC:
        raise SyscallError(errno.EINVAL)
    return _create(thread, flags)


def _create(thread: Thread, flags: int) -> int:
    file = Epoll(thread.scheduler, thread.credentials.uid, thread.kernel.ipc.epoll_watches)
    return install(thread, file, flags)


def _epoll(thread: Thread, fd: int) -> Epoll:
    file = thread.files.get(fd)
    if not isinstance(file, Epoll):
        raise SyscallError(errno.EINVAL)
    return file


@syscall(233)
def epoll_ctl(
    thread: Thread, epfd: Fd, operation: Int, fd: Fd, event: Annotated[UserPointer, StructIn(EVENT.size)]
) -> None:
    events, data = event.unpack(EVENT) if operation != EPOLL_CTL_DEL else (0, 0)
    thread.files.get(epfd)  # EBADF of either descriptor comes before EINVAL
    file = thread.files.get(fd)
    if not file.pollable:
        raise SyscallError(errno.EPERM)
    _epoll(thread, epfd).control(operation, fd, file, events, data)


@syscall(232, restart=Restart.NEVER)
async def epoll_wait(
    thread: Thread, epfd: Fd, events: Annotated[Buffer, Out("maxevents", EVENT.size)], maxevents: Int, timeout: Int
) -> int:
    return await _wait(thread, epfd, events, maxevents, None if timeout < 0 else timeout * MILLION, None)


@syscall(281, restart=Restart.NEVER)
async def epoll_pwait(
    thread: Thread,
    epfd: Fd,
    events: Annotated[Buffer, Out("maxevents", EVENT.size)],
    maxevents: Int,
    timeout: Int,
    sigmask: Annotated[UserPointer, StructIn(8)],
    sigsetsize: Size,
) -> int:
    mask = signal_mask(sigmask, sigsetsize)
    return await _wait(thread, epfd, events, maxevents, None if timeout < 0 else timeout * MILLION, mask)


@syscall(441, restart=Restart.NEVER)
async def epoll_pwait2(
    thread: Thread,
    epfd: Fd,
    events: Annotated[Buffer, Out("maxevents", EVENT.size)],
    maxevents: Int,
    timeout: Annotated[UserPointer, StructIn(16)],
    sigmask: Annotated[UserPointer, StructIn(8)],
    sigsetsize: Size,
) -> int:
    limit = timespec(*timeout.unpack(TIMESPEC)) if timeout else None
    return await _wait(thread, epfd, events, maxevents, limit, signal_mask(sigmask, sigsetsize))


def signal_mask(sigmask: UserPointer, size: int) -> int | None:
    """The signal mask to wait with; None for the present one."""
    if not sigmask:
        return None
    if size != SIGSET.size:
        raise SyscallError(errno.EINVAL)
    return int(sigmask.unpack(SIGSET)[0])


async def _wait(
    thread: Thread, epfd: int, events: Buffer, maxevents: int, timeout: int | None, mask: int | None
) -> int:
    if not 0 < maxevents <= MAX_EVENTS:
        raise SyscallError(errno.EINVAL)
    epoll = _epoll(thread, epfd)
    with thread.signals.temporary_mask(mask):
        found = await epoll.wait(maxevents, timeout)
    events.write(b"".join(EVENT.pack(*event) for event in found))
    return len(found)
