"""The LibOS's clocks. Times are nanoseconds; alarms are set on the monotonic clock."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol


class Alarm(Protocol):
    """A pending call; ``cancel`` forgets it, and is harmless afterwards."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Where the LibOS takes its time from."""

    def realtime(self) -> int:
        """Nanoseconds since the epoch."""
        ...

    def monotonic(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC."""
        ...

    def boottime(self) -> int:
        """Nanoseconds of CLOCK_BOOTTIME."""
        ...

    def call_at(self, deadline: int, callback: Callable[[], object]) -> Alarm:
        """Call ``callback`` once the monotonic clock has reached ``deadline``, never before."""
        ...


class _HostAlarm:
    """An alarm on the event loop, which may fire early by its own resolution: then it is set again."""

    __slots__ = ("_callback", "_clock", "_deadline", "_handle")

    def __init__(self, clock: HostClock, deadline: int, callback: Callable[[], object]) -> None:
        self._clock = clock
        self._deadline = deadline
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._arm()

    def _arm(self) -> None:
        # A guest may ask for any time; the loop takes a week at most, and the rest is waited for again.
        delay = min(max(self._deadline - self._clock.monotonic(), 0), 7 * 86400 * 10**9)
        self._handle = self._clock.loop.call_later(delay / 1e9, self._fire)

    def _fire(self) -> None:
        if self._clock.monotonic() < self._deadline:
            self._arm()
        else:
            self._callback()

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class HostClock:
    """The host's clocks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def realtime(self) -> int:
        """Nanoseconds since the epoch."""
        return time.time_ns()

    def monotonic(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def boottime(self) -> int:
        """Nanoseconds of CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def call_at(self, deadline: int, callback: Callable[[], object]) -> Alarm:
        """See ``Clock.call_at``."""
        return _HostAlarm(self, deadline, callback)


class _ManualAlarm:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object] | None) -> None:
        self.callback = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that stands still until ``advance``: tests with it do not depend on the machine's pace."""

    def __init__(self, realtime: int = 1_700_000_000 * 10**9, monotonic: int = 10**9) -> None:
        self._offset = realtime - monotonic
        self._now = monotonic
        self._alarms: list[tuple[int, int, _ManualAlarm]] = []
        self._order = itertools.count()

    def realtime(self) -> int:
        """Nanoseconds since the epoch."""
        return self._now + self._offset

    def monotonic(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC."""
        return self._now

    def boottime(self) -> int:
        """Nanoseconds of CLOCK_BOOTTIME: this machine never slept."""
        return self._now

    def call_at(self, deadline: int, callback: Callable[[], object]) -> Alarm:
        """See ``Clock.call_at``."""
        alarm = _ManualAlarm(callback)
        heapq.heappush(self._alarms, (deadline, next(self._order), alarm))
        return alarm

    def advance(self, nanoseconds: int) -> None:
        """Let time pass: alarms go off in their order, each at its own time."""
        end = self._now + nanoseconds
        while self._alarms and self._alarms[0][0] <= end:
            deadline, _, alarm = heapq.heappop(self._alarms)
            self._now = max(self._now, deadline)
            if alarm.callback is not None:
                callback, alarm.callback = alarm.callback, None
                callback()
        self._now = end
