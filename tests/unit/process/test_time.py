"""Clocks, sleeps and timers, on a clock that only moves when it is told to."""

from __future__ import annotations

import asyncio
import errno
import struct

import pytest

from occlum_async.abi import signals as abi
from occlum_async.abi.time import ITIMERSPEC, TIMESPEC
from occlum_async.process import sending
from occlum_async.process.clock import HostClock, ManualClock
from occlum_async.process.kernel import Kernel
from occlum_async.process.limits import RLIMIT_AS, RLIMIT_CPU, Limits
from occlum_async.process.rusage import ResourceUsage
from occlum_async.process.siginfo import SigInfo
from occlum_async.process.signals import Handler, SigAction
from occlum_async.process.thread import Thread

from .conftest import call

SECOND = 10**9
REAL, PROF = 0, 2


class FakeGuest:
    """A host process whose CPU time is set by hand."""

    host_pid = 0

    def __init__(self) -> None:
        self.user = 0

    def apply_limits(self, limits: Limits) -> None:
        self.limits = limits

    def resource_usage(self) -> ResourceUsage:
        return ResourceUsage(user=self.user, max_resident=4096)

    def settle(self) -> None:
        pass

    def memory_usage(self) -> tuple[int, int, int]:
        return 1 << 20, 1 << 19, 0

    def memory_map(self) -> list[object]:
        return []

    def read(self, address: int, size: int) -> bytes:
        return bytes(size)

    def write(self, address: int, data: bytes) -> None:
        pass


def itimerval(interval: int, value: int) -> bytes:
    return ITIMERSPEC.pack(*divmod(interval // 1000, 10**6), *divmod(value // 1000, 10**6))


def itimerspec(interval: int, value: int) -> bytes:
    return ITIMERSPEC.pack(*divmod(interval, SECOND), *divmod(value, SECOND))


async def posix_timer(thread: Thread, signo: int = abi.SIGRTMIN, notify: int = 0, clock_id: int = 1) -> int:
    number = bytearray(4)
    event = struct.pack("<Qiii", 55, signo, notify, thread.tid).ljust(64, b"\0")
    await call(thread, "timer_create", clock_id, event, number)
    return int.from_bytes(number, "little")


async def test_alarm_and_itimer(thread: Thread, clock: ManualClock) -> None:
    thread.set_blocked(abi.sigset(abi.SIGALRM))
    assert await call(thread, "alarm", 3) == 0
    clock.advance(SECOND + 1)
    assert await call(thread, "alarm", 5) == 2
    clock.advance(5 * SECOND - 1)
    assert not thread.has_pending(abi.sigset(abi.SIGALRM))
    clock.advance(1)
    info = thread.take_pending(abi.sigset(abi.SIGALRM))
    assert info is not None and info.code == abi.SI_KERNEL
    assert await call(thread, "alarm", 0) == 0
    await call(thread, "setitimer", REAL, itimerval(SECOND, 2 * SECOND), None)
    old = bytearray(32)
    await call(thread, "getitimer", REAL, old)
    assert bytes(old) == itimerval(SECOND, 2 * SECOND)
    for _ in range(3):
        clock.advance(2 * SECOND)
        assert thread.take_pending(abi.sigset(abi.SIGALRM)) is not None
    with pytest.raises(OSError) as caught:
        await call(thread, "setitimer", REAL, ITIMERSPEC.pack(0, 10**6, 0, 0), None)
    assert caught.value.errno == errno.EINVAL


async def test_posix_timer_counts_overruns(thread: Thread, clock: ManualClock) -> None:
    thread.set_blocked(abi.sigset(abi.SIGRTMIN))
    timer = await posix_timer(thread)
    await call(thread, "timer_settime", timer, 0, itimerspec(SECOND, SECOND), None)
    clock.advance(5 * SECOND + SECOND // 2)
    info = thread.take_pending(abi.sigset(abi.SIGRTMIN))
    assert info is not None
    number, overrun, value = struct.unpack("<iiQ", info.payload)
    assert (info.code, number, overrun, value) == (abi.SI_TIMER, timer, 4, 55)
    assert await call(thread, "timer_getoverrun", timer) == 4
    assert not thread.has_pending(abi.sigset(abi.SIGRTMIN)), "further expiries are not queued"
    left = bytearray(32)
    await call(thread, "timer_gettime", timer, left)
    assert bytes(left) == itimerspec(SECOND, SECOND // 2)
    clock.advance(SECOND // 2)
    assert thread.has_pending(abi.sigset(abi.SIGRTMIN))
    await call(thread, "timer_delete", timer)
    with pytest.raises(OSError):
        await call(thread, "timer_delete", timer)


async def test_posix_timers_of_other_kinds(thread: Thread, clock: ManualClock) -> None:
    thread.set_blocked(abi.sigset(abi.SIGUSR1))
    silent = await posix_timer(thread, 0, notify=abi.SIGEV_NONE)
    await call(thread, "timer_settime", silent, 1, itimerspec(0, clock.monotonic() + SECOND), None)
    clock.advance(SECOND)
    left = bytearray(32)
    await call(thread, "timer_gettime", silent, left)
    assert bytes(left) == bytes(32)
    directed = await posix_timer(thread, abi.SIGUSR1, notify=abi.SIGEV_THREAD_ID, clock_id=0)
    await call(thread, "timer_settime", directed, 1, itimerspec(0, clock.realtime() - 5), None)
    clock.advance(1)
    assert thread.signals.pending.mask == abi.sigset(abi.SIGUSR1)
    for clock_id, error in ((4, errno.EOPNOTSUPP), (99, errno.EINVAL)):
        with pytest.raises(OSError) as caught:
            await posix_timer(thread, clock_id=clock_id)
        assert caught.value.errno == error
    for signo, notify in ((65, 0), (1, 3)):
        with pytest.raises(OSError):
            await posix_timer(thread, signo, notify)


async def test_an_ignored_timer_does_not_spin(thread: Thread, clock: ManualClock) -> None:
    thread.process.dispositions[abi.SIGRTMIN] = SigAction(abi.SIG_IGN)
    timer = await posix_timer(thread)
    await call(thread, "timer_settime", timer, 0, itimerspec(1, 1), None)
    clock.advance(SECOND)
    thread.process.dispositions[abi.SIGRTMIN] = SigAction(0x1000)
    clock.advance(SECOND)
    delivery = thread.next_delivery()
    assert isinstance(delivery, Handler) and delivery.signo == abi.SIGRTMIN


async def test_cpu_timers_and_the_cpu_limit(thread: Thread, clock: ManualClock) -> None:
    guest = FakeGuest()
    thread.process.memory = guest
    thread.set_blocked(abi.sigset(abi.SIGPROF, abi.SIGXCPU))
    await call(thread, "setitimer", PROF, itimerval(0, SECOND), None)
    clock.advance(10 * SECOND)
    assert not thread.has_pending(~0), "no CPU time, no signal"
    guest.user = SECOND
    clock.advance(2 * SECOND)
    assert thread.take_pending(abi.sigset(abi.SIGPROF)) is not None
    await call(thread, "setrlimit", RLIMIT_CPU, struct.pack("<QQ", 2, 4))
    guest.user = 2 * SECOND
    clock.advance(2 * SECOND)
    assert thread.take_pending(abi.sigset(abi.SIGXCPU)) is not None and not thread.process.exiting
    guest.user = 4 * SECOND
    clock.advance(5 * SECOND)
    assert thread.process.exiting and thread.process.wait_status == abi.SIGKILL


async def test_limits_of_memory_reach_the_host(thread: Thread) -> None:
    guest = thread.process.memory = FakeGuest()
    await call(thread, "setrlimit", RLIMIT_AS, struct.pack("<QQ", 1 << 30, 1 << 31))
    assert guest.limits.soft(RLIMIT_AS) == 1 << 30


async def test_nanosleep(thread: Thread, clock: ManualClock) -> None:
    sleeping = asyncio.ensure_future(call(thread, "nanosleep", TIMESPEC.pack(2, 0), None))
    await asyncio.sleep(0)
    clock.advance(2 * SECOND - 1)
    await asyncio.sleep(0)
    assert not sleeping.done()
    clock.advance(1)
    assert await sleeping == 0
    await call(thread, "clock_nanosleep", 0, 1, TIMESPEC.pack(5, 0), None)  # long past
    for clock_id, request, error in (
        (1, TIMESPEC.pack(0, SECOND), errno.EINVAL),
        (3, TIMESPEC.pack(0, 1), errno.EOPNOTSUPP),
        (77, TIMESPEC.pack(0, 1), errno.EINVAL),
    ):
        with pytest.raises(OSError) as caught:
            await call(thread, "clock_nanosleep", clock_id, 0, request, None)
        assert caught.value.errno == error


async def test_an_interrupted_sleep_tells_what_is_left_and_resumes(thread: Thread, clock: ManualClock) -> None:
    left = bytearray(16)
    sleeping = asyncio.ensure_future(call(thread, "nanosleep", TIMESPEC.pack(3, 0), left))
    await asyncio.sleep(0)
    clock.advance(SECOND)
    thread.interrupt()  # nothing to deliver: the sleep goes on with what is left
    for _ in range(3):
        await asyncio.sleep(0)
    clock.advance(2 * SECOND)
    assert await sleeping == 0
    assert TIMESPEC.unpack(left) == (2, 0)
    thread.process.dispositions[abi.SIGUSR1] = SigAction(0x1000, abi.SA_RESTART)
    sleeping = asyncio.ensure_future(call(thread, "nanosleep", TIMESPEC.pack(3, 0), left))
    await asyncio.sleep(0)
    clock.advance(SECOND // 2)
    sending.send_to_process(thread.process, SigInfo.kernel(abi.SIGUSR1))
    with pytest.raises(InterruptedError):
        await sleeping
    assert TIMESPEC.unpack(left) == (2, SECOND // 2) and thread.restart_deadline is None


async def test_reading_clocks(thread: Thread, clock: ManualClock) -> None:
    now = bytearray(16)
    for clock_id, expected in ((0, clock.realtime()), (1, clock.monotonic()), (7, clock.boottime()), (2, 0)):
        await call(thread, "clock_gettime", clock_id, now)
        assert TIMESPEC.unpack(now) == divmod(expected, SECOND)
    dynamic = ~thread.process.pid << 3 | 2
    await call(thread, "clock_gettime", dynamic, now)
    with pytest.raises(OSError):
        await call(thread, "clock_gettime", ~4242 << 3 | 2, now)
    with pytest.raises(PermissionError):
        await call(thread, "clock_settime", 0, TIMESPEC.pack(1, 0))
    with pytest.raises(PermissionError):
        await call(thread, "settimeofday")
    timex = bytearray(208)
    assert await call(thread, "adjtimex", timex) == 5
    assert struct.unpack_from("<q", timex, 88) == (10_000,)
    with pytest.raises(PermissionError):
        await call(thread, "adjtimex", bytearray(b"\1" * 208))


async def test_host_alarms_never_come_early(kernel: Kernel) -> None:
    clock = HostClock(asyncio.get_running_loop())
    done = asyncio.get_running_loop().create_future()
    deadline = clock.monotonic() + 1_500_000
    clock.call_at(deadline, lambda: done.set_result(clock.monotonic()))
    assert await done >= deadline
