"""Linux AIO's contexts: limits, the ring of events that the process may touch, waiting, the end."""

from __future__ import annotations

import errno
import mmap
import struct

import pytest

from occlum_async.abi.errors import Interrupted, SyscallError
from occlum_async.io.aio import EVENT, HEADER, MAGIC, MAX_EVENTS, AioContext, AioRequest
from occlum_async.io.eventfd import EventFd
from occlum_async.io.tally import Tally
from occlum_async.sched.strand import Scheduler

from ..conftest import settle


async def number(value: int) -> int:
    return value


async def test_events_are_taken_in_order_around_the_ring(scheduler: Scheduler) -> None:
    context = AioContext(scheduler, 4, Tally())
    for round_ in range(100):
        for position in range(3):
            context.begin(AioRequest(position, round_, None, False), number(position), None)
        assert context.available() == 3
        events = list(EVENT.iter_unpack(context.take(8)))
        assert events == [(round_, position, position, 0) for position in range(3)]
    context.close()


async def test_a_context_has_room_for_what_it_was_made_for(scheduler: Scheduler) -> None:
    tally = Tally()
    context = AioContext(scheduler, 2, tally)
    for _ in range(2):
        context.begin(AioRequest(0, 0, None, False), number(0), None)
    assert context.full
    context.take(1)
    assert not context.full
    with pytest.raises(SyscallError) as caught:
        AioContext(scheduler, MAX_EVENTS, tally)
    assert caught.value.errno == errno.EAGAIN
    context.close()
    assert tally[0] == 0


async def test_whatever_the_process_writes_into_the_ring(scheduler: Scheduler) -> None:
    context = AioContext(scheduler, 4, Tally())
    user = mmap.mmap(context.fd, context.size)
    assert HEADER.unpack_from(user)[4] == MAGIC
    for head in (0xFFFFFFFF, 0x80000000, 77777, 3):
        struct.pack_into("<I", user, 8, head)
        assert 0 <= context.available() < 4096
        assert len(context.take(10000)) < context.size
    context.close()


async def test_polls_are_cancelled_and_everything_ends(scheduler: Scheduler) -> None:
    context = AioContext(scheduler, 4, Tally())
    ended: list[bool] = []

    async def wait() -> int:
        try:
            await scheduler.current().park()
        except Interrupted:
            ended.append(True)
        return 0

    counter = EventFd(scheduler, 0, False).acquire()
    assert isinstance(counter, EventFd)
    counter.acquire()
    context.begin(AioRequest(8, 1, counter, True), wait(), None)
    context.begin(AioRequest(16, 2, None, False), wait(), None)
    for address, expected in ((8, errno.EINPROGRESS), (16, errno.EINVAL), (24, errno.EINVAL)):
        with pytest.raises(SyscallError) as caught:
            context.cancel(address)
        assert caught.value.errno == expected
    assert await context.wait(1, None)
    assert counter.value == 1 and counter.users == 1
    context.close()
    await settle()
    assert ended == [True, True] and not context.requests
    with pytest.raises(SyscallError):
        await context.wait(1, None)
