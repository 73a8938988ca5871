"""Linux AIO (io_submit(2)): a context is a ring of events in memory that its process maps, and requests in flight.

The C library reads the ring by itself, and may take events from it. What it has taken is read once, and checked.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Any

from ..abi.errors import SyscallError
from ..sched.strand import TIMED_OUT, CoroutineStrand, Scheduler
from ..sched.waitqueue import WaitQueue
from .eventfd import EventFd
from .tally import Tally
from .uring.memory import shared_memory

HEADER = struct.Struct("<8I")  # id, nr, head, tail, magic, two sets of features, length of this header
EVENT = struct.Struct("<QQqq")  # data, address of the iocb, result, second result
MAGIC, COMPATIBLE = 0xA10A10A1, 1
PAGE = 4096
MAX_EVENTS = 65536  # of all contexts of a LibOS: /proc/sys/fs/aio-max-nr
_HEAD, _TAIL = 2, 3  # words of the header


class AioRequest:
    """One request in flight: the address of its iocb is its name. ``polls``: it can be cancelled."""

    __slots__ = ("address", "data", "eventfd", "polls", "strand")

    def __init__(self, address: int, data: int, eventfd: EventFd | None, polls: bool) -> None:
        self.address = address
        self.data = data
        self.eventfd = eventfd
        self.polls = polls
        self.strand: CoroutineStrand | None = None


class AioContext:
    """A context for ``limit`` requests. ``tally`` counts, under 0, the events of all contexts; EAGAIN: too many."""

    def __init__(self, scheduler: Scheduler, limit: int, tally: Tally) -> None:
        if tally[0] + limit > MAX_EVENTS:
            raise SyscallError(errno.EAGAIN)
        self.scheduler = scheduler
        self.limit = limit
        self.size = (HEADER.size + (limit + 1) * EVENT.size + PAGE - 1) // PAGE * PAGE
        self._entries = (self.size - HEADER.size) // EVENT.size
        self.fd, self._memory = shared_memory("aio", self.size)
        self._words = memoryview(self._memory).cast("I")
        HEADER.pack_into(self._memory, 0, 0, self._entries, 0, 0, MAGIC, COMPATIBLE, 0, HEADER.size)
        self._tail = 0
        self._tally = tally
        tally.add(0, limit)
        self.requests: dict[AioRequest, None] = {}
        self.waiters = WaitQueue()
        self.closed = False

    # -- requests --------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether there is no room for the event of one more request."""
        return self.closed or len(self.requests) + self.available() >= self.limit

    def begin(self, request: AioRequest, work: Any, owner: Any) -> None:
        """Begin ``work`` (a coroutine that gives the result) when not ``full``; it may be over when this returns."""
        assert not self.full, "every request needs room for its event"
        self.requests[request] = None
        request.strand = strand = CoroutineStrand(self.scheduler, self._live(request, work))
        strand.owner = owner
        strand.step()

    async def _live(self, request: AioRequest, work: Any) -> None:
        result = -errno.EIO
        try:
            result = await work
        finally:
            self._finish(request, result)

    def _finish(self, request: AioRequest, result: int) -> None:
        del self.requests[request]
        if not self.closed:
            where = HEADER.size + self._tail * EVENT.size
            EVENT.pack_into(self._memory, where, request.data, request.address, result, 0)
            self._tail = (self._tail + 1) % self._entries
            self._words[_TAIL] = self._tail
        if request.eventfd is not None:
            request.eventfd.signal()
            request.eventfd.release()
        self.waiters.wake()

    def cancel(self, address: int) -> None:
        """io_cancel(2): only polls can be. EINVAL: there is none; EINPROGRESS: its event will come."""
        for request in self.requests:
            if request.address == address and request.polls and request.strand is not None:
                request.strand.interrupt()
                raise SyscallError(errno.EINPROGRESS)
        raise SyscallError(errno.EINVAL)

    def close(self) -> None:
        """End what is in flight, and forget the rest."""
        if self.closed:
            return
        self.closed = True
        self._tally.add(0, -self.limit)
        for request in tuple(self.requests):
            if request.strand is not None:
                request.strand.interrupt()
        self.waiters.wake()
        self._words.release()
        self._memory.close()
        os.close(self.fd)

    # -- events ----------------------------------------------------------------

    def available(self) -> int:
        """How many events are in the ring."""
        return (self._tail - self._words[_HEAD]) % self._entries

    def take(self, count: int) -> bytes:
        """At most ``count`` events, packed."""
        head = self._words[_HEAD] % self._entries
        count = min(count, self.available())
        first = min(count, self._entries - head)
        start = HEADER.size + head * EVENT.size
        data = self._memory[start : start + first * EVENT.size]
        data += self._memory[HEADER.size : HEADER.size + (count - first) * EVENT.size]
        self._words[_HEAD] = (head + count) % self._entries
        return data

    async def wait(self, count: int, deadline: float | None) -> bool:
        """Wait for ``count`` events; False at ``deadline`` (the loop's clock). EINVAL when it is destroyed."""
        strand = self.scheduler.current()
        count = min(count, self.limit)
        while not self.closed and self.available() < count:
            ticket = strand.ticket

            def enough(events: int, ticket: int = ticket) -> bool:
                return (self.closed or self.available() >= count) and strand.resume(ticket)

            waiter = self.waiters.add(enough)
            try:
                remaining = None if deadline is None else deadline - self.scheduler.loop.time()
                if await strand.park(remaining) is TIMED_OUT:
                    return False
            finally:
                self.waiters.remove(waiter)
        if self.closed:
            raise SyscallError(errno.EINVAL)
        return True
