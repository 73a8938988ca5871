"""Timers that signal: setitimer(2), alarm(2), the POSIX timers."""

from __future__ import annotations

import errno
import struct
from typing import Annotated

from ..abi import signals as abi
from ..abi.errors import SyscallError
from ..abi.marshal import Int, StructIn, StructOut, UInt
from ..abi.time import ITIMERSPEC, from_timespec, from_timeval, to_timeval
from ..abi.user import UserPointer
from ..process import timesource
from ..process.thread import Thread
from ..process.timers import ITIMER_REAL, IntervalTimer
from .table import syscall

SIGEVENT = struct.Struct("<Qiii")  # value, signal, notify, thread; 64 bytes with padding
SIGEVENT_SIZE = 64
TIMER_ABSTIME = 1


def _interval_timer(thread: Thread, which: int) -> IntervalTimer:
    if which not in (0, 1, 2):
        raise SyscallError(errno.EINVAL)
    return thread.process.timers.interval[which]


def _itimerval(timer: IntervalTimer) -> bytes:
    value, interval = timer.remaining()
    return ITIMERSPEC.pack(*to_timeval(interval), *to_timeval(value))


@syscall(36)
def getitimer(thread: Thread, which: Int, value: Annotated[UserPointer, StructOut(32)]) -> None:
    value.write(_itimerval(_interval_timer(thread, which)))


@syscall(38)
def setitimer(
    thread: Thread,
    which: Int,
    new: Annotated[UserPointer, StructIn(32)],
    old: Annotated[UserPointer, StructOut(32)],
) -> None:
    # Linux takes a NULL value for "disarm", for the sake of old programs.
    fields = new.unpack(ITIMERSPEC) if new else (0, 0, 0, 0)
    interval, value = from_timeval(*fields[:2]), from_timeval(*fields[2:])
    timer = _interval_timer(thread, which)
    before = _itimerval(timer)
    timer.set(value, interval)
    if old:
        old.write(before)


@syscall(37)
def alarm(thread: Thread, seconds: UInt) -> int:
    timer = _interval_timer(thread, ITIMER_REAL)
    left, _ = timer.remaining()
    timer.set(seconds * 10**9, 0)
    # Rounded, but what still runs is not 0.
    return max((left + 500_000_000) // 10**9, 1) if left else 0


# -- POSIX timers ------------------------------------------------------------


@syscall(222)
def timer_create(
    thread: Thread,
    clock_id: Int,
    event: Annotated[UserPointer, StructIn(SIGEVENT_SIZE)],
    timer_id: Annotated[UserPointer, StructOut(4)],
) -> None:
    source = timesource.source_of(thread, clock_id)
    if clock_id in timesource.READ_ONLY_CLOCKS or clock_id in timesource.ALARM_CLOCKS:
        raise SyscallError(errno.EOPNOTSUPP)
    signo: int | None = None
    value: int | None = None
    target: Thread | None = None
    if event:
        value, wanted, notify, tid = event.unpack(SIGEVENT)
        signo, target = _notification(thread, wanted, notify, tid)
    timer = thread.process.timers.create(source, signo, value, target)
    try:
        timer_id.write(timer.timer_id.to_bytes(4, "little"))
    except SyscallError:
        thread.process.timers.delete(timer.timer_id)
        raise


def _notification(thread: Thread, signo: int, notify: int, tid: int) -> tuple[int, Thread | None]:
    """The signal (0 for none) and the thread that it goes to (None: the process); EINVAL."""
    if notify == abi.SIGEV_NONE:
        return 0, None
    if not abi.valid_signal(signo):
        raise SyscallError(errno.EINVAL)
    if notify in (abi.SIGEV_SIGNAL, abi.SIGEV_THREAD):
        return signo, None
    target = thread.process.threads.get(tid)
    if notify != abi.SIGEV_THREAD_ID or target is None:
        raise SyscallError(errno.EINVAL)
    return signo, target


@syscall(223)
def timer_settime(
    thread: Thread,
    timer_id: Int,
    flags: Int,
    new: Annotated[UserPointer, StructIn(32)],
    old: Annotated[UserPointer, StructOut(32)],
) -> None:
    if not new:
        raise SyscallError(errno.EINVAL)
    fields = new.unpack(ITIMERSPEC)
    interval, value = from_timespec(*fields[:2]), from_timespec(*fields[2:])
    timer = thread.process.timers.find(timer_id)
    left, period = timer.remaining()
    timer.set(value, interval, absolute=bool(flags & TIMER_ABSTIME))
    if old:
        old.pack(ITIMERSPEC, *divmod(period, 10**9), *divmod(left, 10**9))


@syscall(224)
def timer_gettime(thread: Thread, timer_id: Int, result: Annotated[UserPointer, StructOut(32)]) -> None:
    left, period = thread.process.timers.find(timer_id).remaining()
    result.pack(ITIMERSPEC, *divmod(period, 10**9), *divmod(left, 10**9))


@syscall(225)
def timer_getoverrun(thread: Thread, timer_id: Int) -> int:
    return thread.process.timers.find(timer_id).overrun


@syscall(226)
def timer_delete(thread: Thread, timer_id: Int) -> None:
    thread.process.timers.delete(timer_id)
