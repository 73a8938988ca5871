"""The life of requests: chains, drains, guards, cancellation, completions without room, the end of a ring."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.uring import (
    IOSQE_ASYNC,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_IO_DRAIN,
    IOSQE_IO_HARDLINK,
    IOSQE_IO_LINK,
    SETUP_SUBMIT_ALL,
    Op,
)
from occlum_async.io.file import POLLIN
from occlum_async.io.uring import account
from occlum_async.io.uring.request import Request

from ..conftest import settle
from .conftest import ECANCELED, Bench


async def test_results_come_back(bench: Bench) -> None:
    bench.behaviour = {1: 10, 2: -9}
    bench.user.put(1)
    bench.user.put(2)
    assert await bench.submit() == 2
    assert bench.results() == {1: 10, 2: -9}
    assert not bench.ring.requests and not bench.ring.by_user_data and not bench.submitter.requests


async def test_a_chain_runs_in_order_and_breaks_at_a_failure(bench: Bench) -> None:
    bench.waiting(1)
    bench.behaviour[2] = -5
    for number in (1, 2, 3):
        bench.user.put(number, flags=IOSQE_IO_LINK if number < 3 else 0)
    bench.user.put(4)
    await bench.submit()
    assert bench.order == [1, 4]
    bench.release(1)
    await settle()
    assert bench.order == [1, 4, 2]
    assert bench.results() == {1: 0, 2: -5, 3: -ECANCELED, 4: 0}


async def test_a_hard_link_holds(bench: Bench) -> None:
    bench.behaviour[1] = -5
    bench.user.put(1, flags=IOSQE_IO_HARDLINK)
    bench.user.put(2)
    await bench.submit()
    assert bench.results() == {1: -5, 2: 0}


async def test_a_wrong_entry_fails_its_whole_chain_and_ends_the_batch(bench: Bench) -> None:
    bench.wrong = {2}
    for number in (1, 2, 3):
        bench.user.put(number, flags=IOSQE_IO_LINK if number < 3 else 0)
    assert await bench.submit() == 3
    assert bench.results() == {1: -ECANCELED, 2: -errno.EINVAL, 3: -ECANCELED}
    bench.user.put(2)
    bench.user.put(4)
    assert await bench.submit() == 1
    assert await bench.submit() == 1
    assert bench.results() == {2: -errno.EINVAL, 4: 0}


async def test_submit_all_goes_on(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(setup=SETUP_SUBMIT_ALL)
    bench.wrong = {1}
    bench.user.put(1)
    bench.user.put(2)
    assert await bench.submit() == 2


async def test_a_chain_as_long_as_the_ring_needs_no_stack(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(16384, 32768)
    for number in range(16384):
        bench.user.put(number, flags=IOSQE_IO_LINK)
    assert await bench.submit(100000) == 16384
    assert len(bench.user.results()) == 16384
    bench.behaviour[0] = -5
    for number in range(16384):
        bench.user.put(number, flags=IOSQE_IO_LINK)
    await bench.submit(100000)
    results = bench.results()
    assert results[0] == -5 and results[16383] == -ECANCELED


async def test_a_drain_waits_for_all_before_it(bench: Bench) -> None:
    bench.waiting(1)
    bench.user.put(1)
    bench.user.put(2, flags=IOSQE_IO_DRAIN)
    bench.user.put(3)
    await bench.submit()
    assert bench.order == [1]
    bench.release(1)
    await settle()
    assert bench.order == [1, 2, 3]


async def test_nothing_overtakes_what_drains(bench: Bench) -> None:
    bench.waiting(2)
    bench.user.put(1)
    bench.user.put(2, flags=IOSQE_IO_DRAIN | IOSQE_IO_LINK)
    bench.user.put(3)
    bench.user.put(4)
    await bench.submit()
    bench.user.put(5)
    await bench.submit()
    assert bench.order == [1, 2]
    bench.release(2)
    await settle()
    assert bench.order == [1, 2, 3, 4, 5]


async def test_a_guard_ends_what_it_guards_or_ends_with_it(bench: Bench) -> None:
    for number in (1, 2):
        bench.waiting(number)
    bench.user.put(1, flags=IOSQE_IO_LINK)
    bench.user.put(2, op=Op.LINK_TIMEOUT)
    await bench.submit()
    guarded = bench.ring.find(1, Op.NOP)
    guard = bench.ring.find(2, Op.LINK_TIMEOUT)
    assert guarded is not None and guard is not None and guard.guarded is guarded
    bench.release(1, 7)
    await settle()
    assert bench.results() == {1: 7, 2: -ECANCELED}


async def test_skipped_successes_are_not_told_failures_are(bench: Bench) -> None:
    bench.behaviour[2] = -5
    bench.user.put(1, flags=IOSQE_CQE_SKIP_SUCCESS)
    bench.user.put(2, flags=IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK)
    bench.user.put(3)
    await bench.submit()
    assert bench.results() == {2: -5}


async def test_cancellation(bench: Bench) -> None:
    bench.waiting(1)
    bench.user.put(1)
    await bench.submit()
    request = bench.ring.find(1, Op.NOP)
    assert request is not None and bench.ring.cancel(request)
    await settle()
    assert bench.results() == {1: -ECANCELED}
    assert bench.ring.find(1, Op.NOP) is None


async def test_an_asynchronous_one_begins_later(bench: Bench) -> None:
    bench.user.put(1, flags=IOSQE_ASYNC)
    bench.user.put(2)
    await bench.submit()
    assert bench.order == [2]
    await settle()
    assert bench.order == [2, 1]


async def test_completions_without_room_wait_in_order(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(8, 4)
    for number in range(8):
        bench.user.put(number)
    await bench.submit()
    assert [entry[0] for entry in bench.user.results()] == [0, 1, 2, 3]
    assert bench.ring.poll() & POLLIN
    assert bench.ring.post(8, 0)
    assert not bench.ring.post(9, 0, last=False)
    bench.ring.flush()
    assert [entry[0] for entry in bench.user.results()] == [4, 5, 6, 7]
    bench.ring.flush()
    assert [entry[0] for entry in bench.user.results()] == [8]


async def test_what_is_in_flight_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "MAX_ITEMS", 5)
    for number in range(3):
        bench.waiting(number)
        bench.user.put(number)
    assert await bench.submit() == 2
    with pytest.raises(SyscallError) as caught:
        await bench.submit()
    assert caught.value.errno == errno.EBUSY


async def test_waiting_for_completions(bench: Bench) -> None:
    bench.waiting(1)
    bench.user.put(1)
    await bench.submit()
    assert not await bench.ring.wait(1, bench.ring.scheduler.loop.time(), bench.submitter)
    bench.ring.scheduler.loop.call_soon(bench.release, 1)
    assert await bench.ring.wait(1, None, bench.submitter)


@pytest.mark.parametrize("flags", (0, IOSQE_IO_LINK, IOSQE_IO_HARDLINK))
async def test_everything_ends_with_the_ring(bench: Bench, flags: int) -> None:
    bench.waiting(1)
    for number in (1, 2, 3):
        bench.user.put(number, flags=flags)
    bench.user.put(4, flags=IOSQE_IO_DRAIN)
    bench.user.put(5)
    await bench.submit()
    bench.ring.release()
    await settle()
    assert not bench.ring.requests and not bench.submitter.requests
    assert bench.accounts.items[0] == bench.accounts.pages[0] == 0
    with pytest.raises(OSError):
        os.fstat(bench.ring.memory.fd)


async def test_a_thread_takes_its_requests_along_but_not_those_of_others(bench: Bench) -> None:
    for number in (1, 2, 4):
        bench.waiting(number)
    bench.user.put(1, flags=IOSQE_IO_HARDLINK)
    bench.user.put(2)
    await bench.submit()
    mine, bench.submitter = bench.submitter, type(bench.submitter)()
    bench.user.put(4)
    await bench.submit()
    mine.end()
    await settle()
    assert bench.results() == {1: -ECANCELED, 2: -ECANCELED}
    assert bench.ring.find(4, Op.NOP) is not None


async def test_an_errand_is_run_by_the_thread_that_waits(bench: Bench) -> None:
    """Whether it was sent before the thread comes or meanwhile; its error is the request's, and none is left behind."""
    ran: list[asyncio.Task[object] | None] = []

    async def call() -> int:
        ran.append(asyncio.current_task())
        if len(ran) == 2:
            raise SyscallError(errno.ENOMEM)
        return 5

    async def errand(request: Request) -> int:
        try:
            return await request.submitter.delegate(request.ring, call)
        except SyscallError as error:
            return -error.errno

    bench.behaviour = {1: errand, 2: errand, 3: errand}
    bench.user.put(1)
    await bench.submit()
    assert not ran and len(bench.submitter.errands) == 1
    assert await bench.ring.wait(1, None, bench.submitter)
    bench.ring.scheduler.loop.call_soon(bench.user.put, 2)
    later = asyncio.get_running_loop().create_task(bench.submit())
    assert await bench.ring.wait(2, None, bench.submitter)
    await later
    assert bench.results() == {1: 5, 2: -errno.ENOMEM}
    assert set(ran) == {asyncio.current_task()}
    bench.user.put(3)
    await bench.submit()
    request = bench.ring.find(3, Op.NOP)
    assert request is not None and bench.ring.cancel(request)
    await settle()
    assert bench.results() == {3: -ECANCELED} and not bench.submitter.errands
