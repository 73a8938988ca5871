"""eventfd(2) and timerfd_create(2)."""

from __future__ import annotations

import errno
import os
import time

import pytest

from occlum_async.io.eventfd import MAXIMUM, EventFd
from occlum_async.io.file import POLLERR, POLLIN, POLLOUT
from occlum_async.io.timerfd import TimerFd

SECOND = 10**9


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


async def test_counter_adds_up_and_is_taken_whole(scheduler):
    event = EventFd(scheduler, 3, semaphore=False)
    await event.write(number(4))
    assert await event.read(8) == number(7)


async def test_semaphore_gives_one_at_a_time(scheduler, fails):
    event = EventFd(scheduler, 2, True, os.O_NONBLOCK)
    assert [await event.read(8), await event.read(100)] == [number(1), number(1)]
    await fails(errno.EAGAIN, event.read(8))


async def test_reader_blocks_until_the_counter_is_raised(scheduler, blocked):
    event = EventFd(scheduler, 0, False)
    task = await blocked(event.read(8))
    await event.write(number(0))
    assert not task.done()
    await event.write(number(5))
    assert await task == number(5)


async def test_writer_blocks_at_the_limit(scheduler, blocked):
    event = EventFd(scheduler, 0, False)
    await event.write(number(MAXIMUM - 1))
    assert event.poll() == POLLIN
    task = await blocked(event.write(number(1)))
    assert await event.read(8) == number(MAXIMUM - 1)
    assert await task == 8
    assert await event.read(8) == number(1)


async def test_refused_values(scheduler, fails):
    event = EventFd(scheduler, 0, False)
    await fails(errno.EINVAL, event.write(number(MAXIMUM)))
    await fails(errno.EINVAL, event.write(b"1234567"))
    await fails(errno.EINVAL, event.read(7))


async def test_eventfd_poll(scheduler):
    event = EventFd(scheduler, 0, False)
    assert event.poll() == POLLOUT
    event.value = MAXIMUM
    assert event.poll() == POLLIN | POLLERR


async def test_anonymous_files_look_like_linux(scheduler):
    event = EventFd(scheduler, 10, False)
    assert event.describe() == "anon_inode:[eventfd]"
    assert (await event.stat()).mode == 0o600
    assert event.fdinfo() == "eventfd-count:                a\n"


class Time:
    """A clock that stands still until it is told."""

    now = 1000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def timer(scheduler):
    timer = TimerFd(scheduler, time.CLOCK_MONOTONIC, os.O_NONBLOCK)
    timer.now = Time()
    yield timer
    timer.close()


async def test_one_shot(timer, fails):
    assert timer.set(5 * SECOND, 0, absolute=False) == (0, 0)
    assert timer.get() == (5 * SECOND, 0)
    assert timer.poll() == 0
    await fails(errno.EAGAIN, timer.read(8))
    timer.now.now += 7 * SECOND
    assert timer.poll() == POLLIN
    assert await timer.read(8) == number(1)
    assert timer.get() == (0, 0)
    await fails(errno.EAGAIN, timer.read(8))


async def test_interval_counts_what_was_missed(timer):
    timer.set(2 * SECOND, 3 * SECOND, absolute=False)
    timer.now.now += 9 * SECOND
    assert await timer.read(8) == number(3)  # at 2, 5 and 8
    assert timer.get() == (2 * SECOND, 3 * SECOND)


async def test_absolute_time_in_the_past_has_expired(timer):
    timer.set(timer.now() - 1, 0, absolute=True)
    assert await timer.read(8) == number(1)


async def test_setting_again_forgets_expirations(timer, fails):
    timer.set(1, 0, absolute=False)
    timer.now.now += SECOND
    assert timer.set(0, 0, absolute=False) == (0, 0)
    await fails(errno.EAGAIN, timer.read(8))
    assert timer.poll() == 0


async def test_old_setting(timer):
    timer.set(10 * SECOND, 4 * SECOND, absolute=False)
    timer.now.now += SECOND
    assert timer.set(SECOND, 0, absolute=False) == (9 * SECOND, 4 * SECOND)


async def test_short_read(timer, fails):
    await fails(errno.EINVAL, timer.read(7))


async def test_real_clocks_wake_readers(scheduler):
    for clock in (time.CLOCK_MONOTONIC, time.CLOCK_REALTIME, time.CLOCK_BOOTTIME):
        timer = TimerFd(scheduler, clock)
        before = time.monotonic_ns()
        timer.set(2_000_000, 1_000_000, absolute=False)
        assert await timer.read(8) >= number(1)
        assert time.monotonic_ns() - before >= 2_000_000
        await timer.read(8)
        assert time.monotonic_ns() - before >= 3_000_000
        timer.close()


async def test_timerfd_fdinfo(timer):
    timer.set(SECOND + 5, 0, absolute=True)
    assert timer.fdinfo().splitlines()[0] == "clockid: 1"
    assert "it_interval: (0, 0)\n" in timer.fdinfo()
