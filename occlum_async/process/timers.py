"""Timers that signal: setitimer(2), alarm(2), timer_create(2), and the CPU time limit."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..abi import signals as abi
from ..abi.errors import SyscallError
from . import sending
from .clock import Alarm
from .limits import RLIM_INFINITY, RLIMIT_CPU, RLIMIT_SIGPENDING
from .siginfo import SigInfo
from .timesource import TimeSource, WallSource, process_source

if TYPE_CHECKING:
    from .process import Process
    from .thread import Thread

ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF = 0, 1, 2
OVERRUN_MAX = 0x7FFFFFFF
# A periodic timer makes the kernel work at most this often (ns), whatever the guest asks for.
SHORTEST_REARM = 100_000
# How often a timer looks whether its ignored signal is wanted by now (ns).
IGNORED_REARM = 10_000_000


class Countdown:
    """A deadline on some clock, and maybe a period. Subclasses say what happens at the end."""

    def __init__(self, source: TimeSource) -> None:
        self.source = source
        self.deadline = 0  # 0: disarmed
        self.interval = 0
        self._alarm: Alarm | None = None

    def set(self, value: int, interval: int, absolute: bool = False) -> None:
        """Run out in ``value`` nanoseconds (or at it); 0 disarms."""
        self.cancel()
        self.interval = interval
        if value:
            self.deadline = value if absolute else self.source.now() + value
            self._arm(self.deadline)

    def remaining(self) -> tuple[int, int]:
        """(nanoseconds until the next expiry, the period); the former is 0 only when disarmed."""
        if not self.deadline:
            return 0, self.interval
        left = self.deadline - self.source.now()
        if left > 0:
            return left, self.interval
        # It is over, but its signal has not been sent or taken yet: the time to the expiry after it.
        return (left % self.interval or self.interval) if self.interval else 1, self.interval

    def cancel(self) -> None:
        """Disarm."""
        self.deadline = 0
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def forward(self, at_least: int = SHORTEST_REARM) -> int:
        """Move the deadline past the present and wait for it; how many expiries were passed over."""
        now = self.source.now()
        missed = max(now - self.deadline, 0) // self.interval
        self.deadline += (missed + 1) * self.interval
        self._arm(max(self.deadline, now + at_least))
        return missed

    def _arm(self, when: int) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self.source.call_at(when, self._expire)

    def _expire(self) -> None:
        self._alarm = None
        self.expired()

    def expired(self) -> None:
        """The deadline has passed."""
        raise NotImplementedError


class IntervalTimer(Countdown):
    """One of the three timers of setitimer(2)."""

    def __init__(self, process: Process, source: TimeSource, signo: int) -> None:
        super().__init__(source)
        self._process = process
        self._signo = signo

    def expired(self) -> None:
        waiting = self._process.pending.mask & abi.bit(self._signo)
        sending.send_to_process(self._process, SigInfo.kernel(self._signo))
        if self.interval:
            self.forward(IGNORED_REARM if waiting else SHORTEST_REARM)
        else:
            self.deadline = 0


class PosixTimer(Countdown):
    """timer_create(2)'s. Its signal is queued once at most: further expiries count as overrun."""

    def __init__(
        self, process: Process, timer_id: int, source: TimeSource, signo: int, value: int, target: Thread | None
    ) -> None:
        """``signo`` 0: SIGEV_NONE. ``target``: SIGEV_THREAD_ID's thread, None for the process."""
        super().__init__(source)
        self.timer_id = timer_id
        self.signo = signo
        self.overrun = 0
        self._process = process
        self._value = value
        self._target = target
        self._queued: SigInfo | None = None

    def set(self, value: int, interval: int, absolute: bool = False) -> None:
        # A signal that is still queued is delivered, but no longer drives this timer.
        self._queued = None
        self.overrun = 0
        super().set(value, interval, absolute)

    def expired(self) -> None:
        if not self.signo:
            if not self.interval:
                self.deadline = 0
            else:
                self.forward(IGNORED_REARM)
            return
        info = SigInfo.timer(self.signo, self.timer_id, 0, self._value)
        info.source = self
        self._queued = info
        if self._target is not None:
            sent = sending.send_to_thread(self._target, info)
        else:
            sent = sending.send_to_process(self._process, info)
        if not self.interval:
            self.deadline = 0
        if not sent:
            self._queued = None
            if self.interval:
                self.forward(IGNORED_REARM)

    def dequeued(self, info: SigInfo) -> None:
        """See ``SignalSource``: the next period begins when the signal of the last one is taken."""
        if info is not self._queued:
            return
        self._queued = None
        if self.interval and self.deadline:
            self.overrun = min(self.forward(), OVERRUN_MAX)
            info.payload = SigInfo.timer(self.signo, self.timer_id, self.overrun, self._value).payload

    def delete(self) -> None:
        """timer_delete(2)."""
        self._queued = None
        self.interval = 0
        self.cancel()


class CpuLimit(Countdown):
    """RLIMIT_CPU: SIGXCPU at the soft limit and each second after it, SIGKILL at the hard one."""

    def __init__(self, process: Process) -> None:
        super().__init__(process_source(process))
        self._process = process

    def update(self) -> None:
        """The limit has been set."""
        soft, hard = self._process.limits.get(RLIMIT_CPU)
        self.cancel()
        if min(soft, hard) != RLIM_INFINITY:
            # Linux knows no limit of 0 seconds: it acts at the first one.
            self.set(max(min(soft, hard), 1) * 10**9, 0, absolute=True)

    def expired(self) -> None:
        seconds = self.source.now() // 10**9
        hard = self._process.limits.hard(RLIMIT_CPU)
        if seconds >= hard:
            sending.send_to_process(self._process, SigInfo.kernel(abi.SIGKILL))
            return
        sending.send_to_process(self._process, SigInfo.kernel(abi.SIGXCPU))
        self.set(min(seconds + 1, hard) * 10**9, 0, absolute=True)


class Timers:
    """All timers of a process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        clock = process.kernel.clock
        self.interval = (
            IntervalTimer(process, WallSource(clock, clock.monotonic), abi.SIGALRM),
            IntervalTimer(process, process_source(process, user_only=True), abi.SIGVTALRM),
            IntervalTimer(process, process_source(process), abi.SIGPROF),
        )
        self.cpu_limit = CpuLimit(process)
        self.posix: dict[int, PosixTimer] = {}
        self._next_id = 0

    def create(self, source: TimeSource, signo: int | None, value: int | None, target: Thread | None) -> PosixTimer:
        """A new POSIX timer; ``signo`` None: SIGALRM, ``value`` None: its id. EAGAIN when there are too many."""
        if len(self.posix) >= self._process.limits.soft(RLIMIT_SIGPENDING):
            raise SyscallError(errno.EAGAIN)
        while self._next_id in self.posix:
            self._next_id = (self._next_id + 1) & 0x7FFFFFFF
        timer_id = self._next_id
        self._next_id = (timer_id + 1) & 0x7FFFFFFF
        number = abi.SIGALRM if signo is None else signo
        timer = PosixTimer(self._process, timer_id, source, number, timer_id if value is None else value, target)
        self.posix[timer_id] = timer
        return timer

    def find(self, timer_id: int) -> PosixTimer:
        """EINVAL when there is none."""
        timer = self.posix.get(timer_id)
        if timer is None:
            raise SyscallError(errno.EINVAL)
        return timer

    def delete(self, timer_id: int) -> None:
        """timer_delete(2); EINVAL."""
        self.find(timer_id).delete()
        del self.posix[timer_id]

    def delete_posix(self) -> None:
        """execve(2) keeps the interval timers only."""
        for timer_id in list(self.posix):
            self.delete(timer_id)

    def close(self) -> None:
        """The process is dead."""
        self.delete_posix()
        self.cpu_limit.cancel()
        for timer in self.interval:
            timer.set(0, 0)
