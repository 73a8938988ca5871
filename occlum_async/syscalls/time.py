"""Reading clocks and sleeping. Clocks cannot be set: they are the host's."""

from __future__ import annotations

import errno
import struct
from functools import partial
from typing import Annotated

from ..abi.errors import Interrupted, SyscallError
from ..abi.marshal import Int, StructIn, StructInOut, StructOut
from ..abi.time import TIMESPEC, from_timespec
from ..abi.user import UserPointer
from ..process import timesource
from ..process.rusage import NANOSECONDS_PER_TICK
from ..process.thread import Thread
from .table import Restart, syscall

TIMER_ABSTIME = 1
NANOSECONDS_COARSE = 4_000_000  # the resolution of the coarse clocks
TIMES = struct.Struct("<qqqq")
TIMEX_SIZE = 208
TIME_ERROR, STA_UNSYNC = 5, 0x40  # the clock is not known to be synchronised

_Timespec = Annotated[UserPointer, StructIn(16)]
_TimespecOut = Annotated[UserPointer, StructOut(16)]


@syscall(228)
def clock_gettime(thread: Thread, clock_id: Int, result: _TimespecOut) -> None:
    result.pack(TIMESPEC, *divmod(timesource.source_of(thread, clock_id).now(), 10**9))


@syscall(229)
def clock_getres(thread: Thread, clock_id: Int, result: _TimespecOut) -> None:
    timesource.source_of(thread, clock_id)
    if result:
        result.pack(TIMESPEC, 0, NANOSECONDS_COARSE if clock_id in timesource.COARSE_CLOCKS else 1)


@syscall(227)
def clock_settime(thread: Thread, clock_id: Int, value: _Timespec) -> None:
    from_timespec(*value.unpack(TIMESPEC))
    if clock_id != timesource.CLOCK_REALTIME:
        raise SyscallError(errno.EINVAL)
    raise SyscallError(errno.EPERM)


@syscall(96)
def gettimeofday(thread: Thread, result: _TimespecOut, zone: Annotated[UserPointer, StructOut(8)]) -> None:
    if result:
        seconds, nanoseconds = divmod(thread.kernel.clock.realtime(), 10**9)
        result.pack(TIMESPEC, seconds, nanoseconds // 1000)
    if zone:
        zone.write(bytes(8))


@syscall(164)
def settimeofday(thread: Thread) -> None:
    raise SyscallError(errno.EPERM)


@syscall(201)
def time(thread: Thread, result: Annotated[UserPointer, StructOut(8)]) -> int:
    seconds = thread.kernel.clock.realtime() // 10**9
    if result:
        result.write(seconds.to_bytes(8, "little"))
    return seconds


@syscall(100)
def times(thread: Thread, result: Annotated[UserPointer, StructOut(32)]) -> int:
    if result:
        own = thread.process.own_usage().ticks()
        result.pack(TIMES, *own, *thread.process.children_usage.ticks())
    return thread.kernel.clock.monotonic() // NANOSECONDS_PER_TICK


# -- sleeping ----------------------------------------------------------------


@syscall(35, restart=Restart.NOHAND)
async def nanosleep(thread: Thread, request: _Timespec, remaining: _TimespecOut) -> None:
    duration = from_timespec(*request.unpack(TIMESPEC))
    source = timesource.source_of(thread, timesource.CLOCK_MONOTONIC)
    await _sleep(thread, source, duration, remaining)


@syscall(230, restart=Restart.NOHAND)
async def clock_nanosleep(
    thread: Thread, clock_id: Int, flags: Int, request: _Timespec, remaining: _TimespecOut
) -> None:
    source = timesource.source_of(thread, clock_id)
    if clock_id in timesource.READ_ONLY_CLOCKS or clock_id == timesource.CLOCK_THREAD_CPUTIME_ID:
        raise SyscallError(errno.EOPNOTSUPP)
    value = from_timespec(*request.unpack(TIMESPEC))
    if flags & TIMER_ABSTIME:
        await _sleep_until(thread, source, value)
    else:
        await _sleep(thread, source, value, remaining)


async def _sleep(thread: Thread, source: timesource.TimeSource, duration: int, remaining: UserPointer) -> None:
    """Sleep ``duration``. When a signal comes first, what is left is written, and a restart goes on with it."""
    deadline, thread.restart_deadline = thread.restart_deadline, None
    if deadline is None:
        deadline = source.now() + duration
    try:
        await _sleep_until(thread, source, deadline)
    except Interrupted:
        thread.restart_deadline = deadline
        if remaining:
            remaining.pack(TIMESPEC, *divmod(max(deadline - source.now(), 0), 10**9))
        raise


async def _sleep_until(thread: Thread, source: timesource.TimeSource, deadline: int) -> None:
    strand = thread.scheduler.current()
    while source.now() < deadline:
        alarm = source.call_at(deadline, partial(strand.resume, strand.ticket))
        try:
            await strand.park()
        finally:
            alarm.cancel()


# -- the clock's discipline, which is the host's -------------------------------


def _read_timex(thread: Thread, timex: UserPointer) -> int:
    """Report an undisciplined clock; EPERM for every attempt to change it."""
    if int.from_bytes(timex.read(4), "little"):
        raise SyscallError(errno.EPERM)
    seconds, nanoseconds = divmod(thread.kernel.clock.realtime(), 10**9)
    fields = struct.pack(
        "<I4xqqqqi4xqqqqqq", 0, 0, 0, 16_000_000, 16_000_000, STA_UNSYNC, 2, 1, 32_768_000, seconds,
        nanoseconds // 1000, 10_000,
    )  # fmt: skip
    timex.write(fields.ljust(TIMEX_SIZE, b"\0"))
    return TIME_ERROR


@syscall(159)
def adjtimex(thread: Thread, timex: Annotated[UserPointer, StructInOut(TIMEX_SIZE)]) -> int:
    return _read_timex(thread, timex)


@syscall(305)
def clock_adjtime(thread: Thread, clock_id: Int, timex: Annotated[UserPointer, StructInOut(TIMEX_SIZE)]) -> int:
    if clock_id != timesource.CLOCK_REALTIME:
        timesource.source_of(thread, clock_id)
        raise SyscallError(errno.EOPNOTSUPP)
    return _read_timex(thread, timex)
