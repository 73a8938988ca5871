"""The clocks that a guest may name: clock_gettime(2), clock_nanosleep(2), timer_create(2)."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ..abi.errors import SyscallError
from .clock import Alarm, Clock

if TYPE_CHECKING:
    from .kernel import Kernel
    from .process import Process
    from .thread import Thread

CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID = time.CLOCK_PROCESS_CPUTIME_ID, time.CLOCK_THREAD_CPUTIME_ID
CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI = 0, 1, 7, 11
CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE = 4, 5, 6
CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM = 8, 9
REALTIME_CLOCKS = (CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_TAI, CLOCK_REALTIME_ALARM)
BOOTTIME_CLOCKS = (CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM)
MONOTONIC_CLOCKS = (CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE)
ALARM_CLOCKS = (CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM)
COARSE_CLOCKS = (CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE)
# Clocks that can be read, but neither slept nor timed by.
READ_ONLY_CLOCKS = (CLOCK_MONOTONIC_RAW, *COARSE_CLOCKS)

# How often a process' CPU time is looked at while somebody waits for it, in nanoseconds.
CPU_SAMPLING = 4_000_000
# The low bits of a negative clock id: which of a process' or thread's CPU times, and whose.
CPUCLOCK_WHAT, CPUCLOCK_VIRT, CPUCLOCK_SCHED, CPUCLOCK_PERTHREAD = 3, 1, 2, 4


class TimeSource(Protocol):
    """A clock that can be read and waited for; nanoseconds."""

    def now(self) -> int:
        """The time."""
        ...

    def call_at(self, deadline: int, callback: Callable[[], object]) -> Alarm:
        """Call ``callback`` when the clock has reached ``deadline``."""
        ...


class WallSource:
    """A clock that runs as fast as the monotonic one."""

    __slots__ = ("_clock", "_read")

    def __init__(self, clock: Clock, read: Callable[[], int]) -> None:
        self._clock = clock
        self._read = read

    def now(self) -> int:
        """The time."""
        return self._read()

    def call_at(self, deadline: int, callback: Callable[[], object]) -> Alarm:
        """See ``TimeSource.call_at``."""
        return self._clock.call_at(self._clock.monotonic() + max(deadline - self.now(), 0), callback)


class _CpuAlarm:
    """Looks again and again until enough CPU time has been used: at the earliest when it can have been."""

    __slots__ = ("_alarm", "_callback", "_deadline", "_source")

    def __init__(self, source: CpuSource, deadline: int, callback: Callable[[], object]) -> None:
        self._source = source
        self._deadline = deadline
        self._callback = callback
        self._alarm: Alarm | None = None
        self._look_again()

    def _look_again(self) -> None:
        remaining = (self._deadline - self._source.now()) // max(self._source.parallelism(), 1)
        clock = self._source.clock
        self._alarm = clock.call_at(clock.monotonic() + max(remaining, CPU_SAMPLING), self._look)

    def _look(self) -> None:
        if self._source.now() >= self._deadline:
            self._alarm = None
            self._callback()
        else:
            self._look_again()

    def cancel(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


class CpuSource:
    """CPU time, of a process or a thread; ``parallelism`` is how many seconds of it may pass in a second."""

    __slots__ = ("_read", "clock", "parallelism")

    def __init__(self, clock: Clock, read: Callable[[], int], parallelism: Callable[[], int]) -> None:
        self.clock = clock
        self._read = read
        self.parallelism = parallelism

    def now(self) -> int:
        """The CPU time used so far."""
        return self._read()

    def call_at(self, deadline: int, callback: Callable[[], object]) -> Alarm:
        """See ``TimeSource.call_at``."""
        return _CpuAlarm(self, deadline, callback)


def process_source(process: Process, user_only: bool = False) -> CpuSource:
    """The CPU time of all threads of ``process``."""

    def read() -> int:
        user, system = process.cpu_times()
        return user if user_only else user + system

    return CpuSource(process.kernel.clock, read, lambda: len(process.threads))


def thread_source(thread: Thread, user_only: bool = False) -> CpuSource:
    """The CPU time of ``thread``."""

    def read() -> int:
        user, system = thread.cpu_times()
        return user if user_only else user + system

    return CpuSource(thread.kernel.clock, read, lambda: 1)


def _wall_source(kernel: Kernel, clock_id: int) -> WallSource | None:
    clock = kernel.clock
    if clock_id in REALTIME_CLOCKS:
        return WallSource(clock, clock.realtime)
    if clock_id in MONOTONIC_CLOCKS:
        return WallSource(clock, clock.monotonic)
    if clock_id in BOOTTIME_CLOCKS:
        return WallSource(clock, clock.boottime)
    return None


def source_of(thread: Thread, clock_id: int) -> TimeSource:
    """The clock of that number as ``thread`` sees it; EINVAL when there is none."""
    if clock_id == CLOCK_PROCESS_CPUTIME_ID:
        return process_source(thread.process)
    if clock_id == CLOCK_THREAD_CPUTIME_ID:
        return thread_source(thread)
    if clock_id < 0:
        return _dynamic_source(thread, clock_id)
    source = _wall_source(thread.kernel, clock_id)
    if source is None:
        raise SyscallError(errno.EINVAL)
    return source


def _dynamic_source(thread: Thread, clock_id: int) -> TimeSource:
    """CPU clocks of others, as clock_getcpuclockid(3) and pthread_getcpuclockid(3) name them."""
    number, what = ~(clock_id >> 3), clock_id & CPUCLOCK_WHAT
    if what > CPUCLOCK_SCHED:
        raise SyscallError(errno.EINVAL)
    table = thread.kernel.processes
    if clock_id & CPUCLOCK_PERTHREAD:
        member = thread.process.threads.get(number) if number else thread
        if member is None:
            raise SyscallError(errno.EINVAL)
        return thread_source(member, what == CPUCLOCK_VIRT)
    process = table.get(number) if number else thread.process
    if process is None:
        raise SyscallError(errno.EINVAL)
    return process_source(process, what == CPUCLOCK_VIRT)
