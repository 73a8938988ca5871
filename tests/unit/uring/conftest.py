"""A ring whose entries are written from here, as a guest would, and requests whose work the test decides."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Awaitable, Callable

import pytest

from occlum_async.abi.errors import Interrupted, SyscallError
from occlum_async.abi.uring import CQE, OFF_SQES, SQE
from occlum_async.io.uring.account import Accounts
from occlum_async.io.uring.memory import RingMemory
from occlum_async.io.uring.request import Request, Work
from occlum_async.io.uring.ring import Uring
from occlum_async.io.uring.submission import submit
from occlum_async.io.uring.submitter import Submitter
from occlum_async.sched.strand import Scheduler

ECANCELED = 125


class Guest:
    """The user's side of a ring, by its own mapping of the memfd."""

    def __init__(self, memory: RingMemory) -> None:
        sq, cq = memory.offsets()
        self.sq = struct.unpack("<7I12x", sq)
        self.cq = struct.unpack("<7I12x", cq)
        self.memory = mmap.mmap(memory.fd, memory.size)
        self.sqes = memory.place(OFF_SQES, 0)
        self.entries = memory.sq_entries

    def word(self, offset: int) -> int:
        return int(struct.unpack_from("<I", self.memory, offset)[0])

    def set_word(self, offset: int, value: int) -> None:
        struct.pack_into("<I", self.memory, offset, value & 0xFFFFFFFF)

    def put(self, user_data: int = 0, op: int = 0, flags: int = 0, **fields: int) -> None:
        """Add an entry and tell the kernel."""
        names = ("ioprio", "fd", "off", "addr", "length", "op_flags")
        values = [fields.get(name, 0) for name in names]
        tail = self.word(self.sq[1])
        index = tail % self.entries
        SQE.pack_into(self.memory, self.sqes + index * SQE.size, op, flags, *values, user_data, 0, 0, 0, 0)
        self.set_word(self.sq[6] + index * 4, index)
        self.set_word(self.sq[1], tail + 1)

    def results(self) -> list[tuple[int, int, int]]:
        """Take all completions: user_data, result, flags."""
        head, tail, mask = self.word(self.cq[0]), self.word(self.cq[1]), self.word(self.cq[2])
        found = []
        while head != tail:
            found.append(CQE.unpack_from(self.memory, self.cq[5] + (head & mask) * CQE.size))
            head = (head + 1) & 0xFFFFFFFF
        self.set_word(self.cq[0], head)
        return found


class Bench:
    """A ring, its user, and what each ``user_data`` does: a number (the result), or an event to wait for."""

    def __init__(self, scheduler: Scheduler, entries: int = 8, cq_entries: int = 16, setup: int = 0) -> None:
        self.accounts = Accounts()
        self.ring = Uring(scheduler, RingMemory(entries, cq_entries), setup, 0, self.accounts)
        self.ring.acquire()
        self.user = Guest(self.ring.memory)
        self.submitter = Submitter()
        self.order: list[int] = []
        self.behaviour: dict[int, int | Callable[[Request], Awaitable[int]]] = {}
        self.wrong: set[int] = set()

    def prepare(self, request: Request) -> Work:
        if request.user_data in self.wrong:
            raise SyscallError(22)
        return self.work

    async def work(self, request: Request) -> int:
        self.order.append(request.user_data)
        behaviour = self.behaviour.get(request.user_data, 0)
        try:
            return behaviour if isinstance(behaviour, int) else await behaviour(request)
        except Interrupted:
            return -ECANCELED

    async def submit(self, count: int = 1000) -> int:
        return await submit(self.ring, self.submitter, None, count, self.prepare)

    def waiting(self, user_data: int) -> None:
        """Let a request wait until it is cancelled or resumed by ``release``."""

        async def wait(request: Request) -> int:
            assert request.strand is not None
            return int(await request.strand.park() or 0)

        self.behaviour[user_data] = wait

    def release(self, user_data: int, result: int = 0) -> None:
        request = next(iter(self.ring.by_user_data[user_data]))
        request.update(result)

    def results(self) -> dict[int, int]:
        return {user_data: result for user_data, result, _ in self.user.results()}


@pytest.fixture
async def bench(scheduler: Scheduler) -> Bench:
    return Bench(scheduler)


@pytest.fixture
def make_bench(scheduler: Scheduler) -> Callable[..., Bench]:
    return lambda *arguments, **options: Bench(scheduler, *arguments, **options)
