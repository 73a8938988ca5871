"""Making pipes, eventfds, timerfds and signalfds. Reading and writing them is read(2) and write(2)."""

from __future__ import annotations

import errno
import os
import struct
from typing import Annotated

from ..abi.errors import SyscallError
from ..abi.marshal import Fd, Int, Size, StructIn, StructOut, UInt
from ..abi.user import UserPointer
from ..fs.credentials import CAP_SYS_ADMIN, CAP_SYS_RESOURCE
from ..io.eventfd import EventFd
from ..io.file import File
from ..io.pipe import make_pipe
from ..io.signalfd import SignalFd
from ..io.timerfd import ALARM_CLOCKS, CLOCKS, TimerFd
from ..process.thread import Thread
from .table import syscall

BILLION = 10**9
ITIMERSPEC = struct.Struct("<qqqq")  # interval, then value
FD_PAIR = struct.Struct("<ii")
SIGSET = struct.Struct("<Q")
DESCRIPTOR_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK

EFD_SEMAPHORE = 1
TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2


def install(thread: Thread, file: File, flags: int) -> int:
    """Give a fresh ``file`` a descriptor, with O_CLOEXEC of ``flags``; it is closed when there is none."""
    try:
        return thread.files.install(file, bool(flags & os.O_CLOEXEC))
    except SyscallError:
        file.close()
        raise


def install_pair(thread: Thread, one: File, other: File, flags: int, fds: UserPointer) -> None:
    """Give two fresh files descriptors and tell ``fds`` their numbers; both are closed when that fails."""
    try:
        first = install(thread, one, flags)
    except SyscallError:
        other.close()
        raise
    try:
        second = install(thread, other, flags)
    except SyscallError:
        thread.files.close(first)
        raise
    try:
        fds.pack(FD_PAIR, first, second)
    except SyscallError:
        thread.files.close(first)
        thread.files.close(second)
        raise


def timespec(seconds: int, nanoseconds: int) -> int:
    """``struct timespec`` in nanoseconds; EINVAL when it is none."""
    if seconds < 0 or not 0 <= nanoseconds < BILLION:
        raise SyscallError(errno.EINVAL)
    return seconds * BILLION + nanoseconds


# -- pipes -------------------------------------------------------------------


@syscall(22)
def pipe(thread: Thread, fds: Annotated[UserPointer, StructOut(8)]) -> None:
    _pipe(thread, fds, 0)


@syscall(293)
def pipe2(thread: Thread, fds: Annotated[UserPointer, StructOut(8)], flags: UInt) -> None:
    if flags & ~(DESCRIPTOR_FLAGS | os.O_DIRECT):
        raise SyscallError(errno.EINVAL)
    _pipe(thread, fds, flags)


def _pipe(thread: Thread, fds: UserPointer, flags: int) -> None:
    who = thread.credentials
    privileged = who.capable(CAP_SYS_RESOURCE) or who.capable(CAP_SYS_ADMIN)
    reader, writer = make_pipe(thread.scheduler, flags, who.fsuid, who.fsgid, thread.kernel.ipc.pipe_pages, privileged)
    install_pair(thread, reader, writer, flags, fds)


# -- eventfd -----------------------------------------------------------------


@syscall(284)
def eventfd(thread: Thread, initial: UInt) -> int:
    return install(thread, EventFd(thread.scheduler, initial, False), 0)


@syscall(290)
def eventfd2(thread: Thread, initial: UInt, flags: UInt) -> int:
    if flags & ~(DESCRIPTOR_FLAGS | EFD_SEMAPHORE):
        raise SyscallError(errno.EINVAL)
    file = EventFd(thread.scheduler, initial, bool(flags & EFD_SEMAPHORE), flags & os.O_NONBLOCK)
    return install(thread, file, flags)


# -- timerfd -----------------------------------------------------------------


@syscall(283)
def timerfd_create(thread: Thread, clock: Int, flags: UInt) -> int:
    if flags & ~DESCRIPTOR_FLAGS or clock not in CLOCKS:
        raise SyscallError(errno.EINVAL)
    if clock in ALARM_CLOCKS:
        raise SyscallError(errno.EPERM)  # there is no machine to wake up
    return install(thread, TimerFd(thread.scheduler, clock, flags & os.O_NONBLOCK), flags)


def _timer(thread: Thread, fd: int) -> TimerFd:
    file = thread.files.get(fd)
    if not isinstance(file, TimerFd):
        raise SyscallError(errno.EINVAL)
    return file


def _put_timer(target: UserPointer, setting: tuple[int, int]) -> None:
    value, interval = setting
    target.pack(ITIMERSPEC, *divmod(interval, BILLION), *divmod(value, BILLION))


@syscall(286)
def timerfd_settime(
    thread: Thread,
    fd: Fd,
    flags: UInt,
    new: Annotated[UserPointer, StructIn(32)],
    old: Annotated[UserPointer, StructOut(32)],
) -> None:
    fields = new.unpack(ITIMERSPEC)
    if flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET):
        raise SyscallError(errno.EINVAL)
    interval, value = timespec(*fields[:2]), timespec(*fields[2:])
    before = _timer(thread, fd).set(value, interval, bool(flags & TFD_TIMER_ABSTIME), flags)
    if old:
        _put_timer(old, before)


@syscall(287)
def timerfd_gettime(thread: Thread, fd: Fd, current: Annotated[UserPointer, StructOut(32)]) -> None:
    _put_timer(current, _timer(thread, fd).get())


# -- signalfd ----------------------------------------------------------------


@syscall(282)
def signalfd(thread: Thread, fd: Fd, mask: Annotated[UserPointer, StructIn(8)], size: Size) -> int:
    return _signalfd(thread, fd, mask, size, 0)


@syscall(289)
def signalfd4(thread: Thread, fd: Fd, mask: Annotated[UserPointer, StructIn(8)], size: Size, flags: UInt) -> int:
    return _signalfd(thread, fd, mask, size, flags)


def _signalfd(thread: Thread, fd: int, mask: UserPointer, size: int, flags: int) -> int:
    if size != SIGSET.size or flags & ~DESCRIPTOR_FLAGS:
        raise SyscallError(errno.EINVAL)
    (wanted,) = mask.unpack(SIGSET)
    if fd == -1:
        file = SignalFd(thread.scheduler, wanted, thread.kernel.current_thread, flags & os.O_NONBLOCK)
        return install(thread, file, flags)
    existing = thread.files.get(fd)
    if not isinstance(existing, SignalFd):
        raise SyscallError(errno.EINVAL)
    existing.set_mask(wanted)
    return fd
