"""The poller: whose turn it is, and its end."""

from __future__ import annotations

import asyncio
import mmap
import os
import time
from collections.abc import AsyncIterator, Callable

import pytest
from occlum_async._native._host import lib

from occlum_async.abi import shared
from occlum_async.process.submissions import LOOKS, SPIN_MAX_NS, SPIN_NS, Submissions
from occlum_async.sched.strand import Scheduler


async def test_an_answer_after_the_end_reaches_nobody() -> None:
    submissions = Submissions(Scheduler(asyncio.get_running_loop()), 0, b"")
    submissions.close()
    lib.poller_complete(submissions.poller, 0, 0, 0, 0)
    submissions.schedule()
    await asyncio.sleep(0)


class Guest:
    """A slot, and what is done with its entries: each is answered, and the next one follows while ``left`` says so."""

    def __init__(self, submissions: Submissions, memory: mmap.mmap, index: int, served: list[int]) -> None:
        self.submissions = submissions
        self.memory = memory
        self.index = index
        self.left = 0
        self.meanwhile: Callable[[], object] = lambda: None  # happens while the first entry is served
        self.ways = 0  # how often the poller has come here by way of the scheduler
        self._served = served
        self._entries = 0
        self._handle = submissions.watch(self, memory, index)

    def submit(self) -> None:
        """What the shim does: count the entry up."""
        self._entries += 1
        shared.WORD.pack_into(self.memory, self.index * shared.SLOT_SIZE, self._entries)

    def submitted(self) -> None:
        self.ways += 1
        follows = True
        while follows:
            self._served.append(self.index)
            lib.poller_complete(self.submissions.poller, self._handle, 0, 0, 0)
            if self.left:
                self.left -= 1
                self.submit()
            happens, self.meanwhile = self.meanwhile, lambda: None
            happens()
            follows = self.submissions.follows(self._handle)


@pytest.fixture
async def guests() -> AsyncIterator[tuple[Guest, Guest, list[int]]]:
    submissions = Submissions(Scheduler(asyncio.get_running_loop()), 0, b"")
    memory = mmap.mmap(-1, 2 * shared.SLOT_SIZE)
    served: list[int] = []
    yield Guest(submissions, memory, 0, served), Guest(submissions, memory, 1, served), served
    submissions.close()


async def _serve(guest: Guest) -> None:
    """Begin with an entry of ``guest``, and go on until nobody has anything to say."""
    guest.submit()
    guest.submissions.schedule()
    while guest.submissions.scheduled:
        await asyncio.sleep(0)


async def test_who_submits_again_at_once_is_served_at_once(guests: tuple[Guest, Guest, list[int]]) -> None:
    first, _, served = guests
    first.left = LOOKS - 1
    await _serve(first)
    assert served == [0] * LOOKS
    assert first.ways == 1


async def test_nobody_is_served_for_ever(guests: tuple[Guest, Guest, list[int]]) -> None:
    first, _, served = guests
    first.left = 4 * LOOKS
    await _serve(first)
    assert served == [0] * (4 * LOOKS + 1)
    assert first.ways == 4


async def test_who_came_meanwhile_has_a_turn(guests: tuple[Guest, Guest, list[int]]) -> None:
    first, second, served = guests
    first.left, first.meanwhile = 3, second.submit
    await _serve(first)
    assert sorted(served) == [0, 0, 0, 0, 1]
    assert 1 in served[1:3]  # both are served in one round then


async def test_the_run_queue_comes_first(guests: tuple[Guest, Guest, list[int]]) -> None:
    first, _, served = guests
    scheduler = first.submissions.scheduler

    async def strand() -> None:
        served.append(-1)

    first.left, first.meanwhile = 1, lambda: scheduler.spawn(strand())
    await _serve(first)
    assert served == [0, -1, 0]
    assert first.ways == 2


async def test_what_can_be_done_early_is_done_while_the_guest_computes(guests: tuple[Guest, Guest, list[int]]) -> None:
    first, _, served = guests
    first.submissions.prepare = lambda: served.append(-1)
    first.left = 1
    await _serve(first)
    assert served == [0, 0, -1], "not while it has an entry already"


async def test_who_rings_soon_is_waited_for_longer(
    guests: tuple[Guest, Guest, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _, _ = guests
    submissions = first.submissions
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("on one processor nobody looks")

    async def ring(after: int) -> None:
        """A guest submits and rings so many ns after the kernel fell asleep."""
        await _serve(first)
        assert shared.WORD.unpack_from(submissions._page)[0], "it asks guests to ring"
        slept = submissions._asleep_since
        monkeypatch.setattr(time, "monotonic_ns", lambda: slept + after)
        submissions._woken()
        monkeypatch.undo()

    assert submissions.spin_ns == SPIN_NS
    for _ in range(5):
        await ring(SPIN_MAX_NS - 1)
    assert submissions.spin_ns == SPIN_MAX_NS
    for _ in range(5):
        await ring(SPIN_MAX_NS)
    assert submissions.spin_ns == SPIN_NS


async def test_a_disk_is_waited_for(guests: tuple[Guest, Guest, list[int]]) -> None:
    first, _, served = guests
    submissions = first.submissions
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("on one processor nobody looks")
    turns = 0

    def turn() -> bool:
        nonlocal turns
        turns += 1
        if turns == 4:
            submissions.brief = lambda: False
            first.submit()
        return turns == 4

    submissions.turn, submissions.brief = turn, lambda: True
    await _serve(first)
    assert served == [0, 0]


async def test_outside_of_a_round_nobody_looks(guests: tuple[Guest, Guest, list[int]]) -> None:
    first, _, served = guests
    first.submit()
    first.submitted()
    assert served == [0] and first.ways == 1
