"""timerfd_create(2): a timer that is read."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable

from ..abi.errors import SyscallError
from ..sched.strand import Scheduler
from .anonymous import AnonymousFile
from .file import POLLIN

CLOCKS: dict[int, Callable[[], int]] = {
    time.CLOCK_REALTIME: time.time_ns,
    time.CLOCK_MONOTONIC: time.monotonic_ns,
    time.CLOCK_BOOTTIME: lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    8: time.time_ns,  # CLOCK_REALTIME_ALARM
    9: lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),  # CLOCK_BOOTTIME_ALARM
}
ALARM_CLOCKS = (8, 9)
# The loop is asked to wake us at most this far ahead: it counts in milliseconds of 32 bits in places, and
# CLOCK_REALTIME may be set meanwhile.
LONGEST_SLEEP = 3600.0
BILLION = 10**9


class TimerFd(AnonymousFile):
    """A timer of clock ``clock``. All times are nanoseconds; ``expiry`` 0 is a timer that is not armed."""

    kind = "[timerfd]"

    def __init__(self, scheduler: Scheduler, clock: int, flags: int = 0) -> None:
        super().__init__(scheduler, os.O_RDWR | flags)
        self.clock = clock
        self.now = CLOCKS[clock]
        self.expiry = 0
        self.interval = 0
        self.ticks = 0  # expirations that were not read
        self.setting = 0  # the flags of the last ``set``
        self._handle: asyncio.TimerHandle | None = None

    def close(self) -> None:
        self._cancel()
        self.expiry = 0

    def set(self, value: int, interval: int, absolute: bool, setting: int = 0) -> tuple[int, int]:
        """Arm (``value`` > 0) or disarm; the old setting as ``get`` gives it."""
        before = self.get()
        self._cancel()
        self.ticks = 0
        self.setting = setting
        self.interval = interval
        self.expiry = (value if absolute else self.now() + value) if value else 0
        self._arm()
        return before

    def get(self) -> tuple[int, int]:
        """Time to the next expiration (0: none) and the interval."""
        self._count()
        return (max(self.expiry - self.now(), 1) if self.expiry else 0), self.interval

    async def read(self, size: int) -> bytes:
        if size < 8:
            raise SyscallError(errno.EINVAL)
        self._count()
        while not self.ticks:
            await self.wait_for(POLLIN)
            self._count()
        ticks, self.ticks = self.ticks, 0
        self._arm()
        return ticks.to_bytes(8, "little")

    def poll(self) -> int:
        return POLLIN if self.ticks or (self.expiry and self.now() >= self.expiry) else 0

    def fdinfo(self) -> str:
        value, interval = self.get()
        return (
            f"clockid: {self.clock}\nticks: {self.ticks}\nsettime flags: 0{self.setting:o}\n"
            f"it_value: ({value // BILLION}, {value % BILLION})\n"
            f"it_interval: ({interval // BILLION}, {interval % BILLION})\n"
        )

    # -- time ----------------------------------------------------------------

    def _count(self) -> None:
        """Count the expirations that have passed."""
        late = self.now() - self.expiry
        if not self.expiry or late < 0:
            return
        if self.interval:
            passed = late // self.interval + 1
            self.expiry += passed * self.interval
            self.ticks += passed
        else:
            self.expiry = 0
            self.ticks += 1

    def _arm(self) -> None:
        """Have the loop wake us at the next expiration; not before the last one was read, so that a short
        interval which nobody looks at costs nothing."""
        if self.expiry and not self.ticks and self._handle is None:
            delay = min(max(self.expiry - self.now(), 0) / BILLION, LONGEST_SLEEP)
            self._handle = self.scheduler.loop.call_later(delay, self._fire)

    def _fire(self) -> None:
        self._handle = None
        self._count()
        if self.ticks:
            self.waiters.wake(POLLIN)
        else:
            self._arm()

    def _cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
