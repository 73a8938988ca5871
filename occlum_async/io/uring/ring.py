"""The io_uring as an open file: its completion queue, what is registered with it, and the requests in flight."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Awaitable
from typing import Any

from ...abi.errors import SyscallError
from ...abi.uring import (
    BUFFER,
    BUFFER_RING_SHIFT,
    IOSQE_ASYNC,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_IO_DRAIN,
    IOSQE_IO_HARDLINK,
    OFF_BUFFER_RING,
    SETUP_R_DISABLED,
    SETUP_SQPOLL,
    SQ_CQ_OVERFLOW,
    SQ_NEED_WAKEUP,
    Op,
)
from ...sched.mutex import Mutex
from ...sched.strand import TIMED_OUT, CoroutineStrand, Scheduler
from ..anonymous import AnonymousFile
from ..eventfd import EventFd
from ..file import POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from .account import Account, Accounts
from .memory import PAGE, RingMemory, SharedPages
from .registered import BufferGroup, BufferRing, FileTable, FixedBuffer
from .request import Request, Work
from .submitter import Submitter

REQUEST_SIZE = 2  # of a request in the account: itself, and room for its completion
COUNTED = "counted"  # what a time-out is resumed with when enough requests have completed
_READY = POLLIN | POLLRDNORM


class Restrictions:
    """What a guest has sworn not to do with a ring from the day it is enabled."""

    def __init__(self) -> None:
        self.registers: set[int] = set()
        self.ops: set[int] = set()
        self.flags_allowed = 0
        self.flags_required = 0


class Uring(AnonymousFile):
    """One io_uring. ``sequence`` counts submissions; ``completions`` counts what completed, time-outs excepted.

    Invariant: a request is in ``requests`` from its submission until its completion was queued.
    """

    kind = "[io_uring]"

    def __init__(self, scheduler: Scheduler, memory: RingMemory, setup: int, uid: int, accounts: Accounts) -> None:
        """It is charged to user ``uid``; ENOMEM when he has too many."""
        super().__init__(scheduler, os.O_RDWR)
        try:
            self.account = Account(accounts, uid, memory.size // PAGE)
        except SyscallError:
            memory.close()
            raise
        self.memory = memory
        self.setup = setup
        self.enabled = not setup & SETUP_R_DISABLED
        self.lock = Mutex()  # one thread at a time submits, as in Linux
        self.closed = False
        self.buried = False
        self.sequence = 0
        self.completions = 0
        self.requests: dict[int, Request] = {}  # by sequence, in ascending order
        self.by_user_data: dict[int, dict[Request, None]] = {}
        self.deferred: deque[Request] = deque()  # those that drain, and all that came after them
        self.counting: list[tuple[int, int, Request]] = []  # time-outs by the count of completions they wait for
        self._barrier = -1  # the sequence of the last request that drained: none begins before it has finished
        self._startable: deque[Request] = deque()
        self._starting = False
        self._overflow: deque[tuple[int, int, int]] = deque()
        self.stirred = False  # something was cancelled, and has not said so yet
        self.files = FileTable(lambda tag: self.post(tag, 0))
        self.buffers: list[FixedBuffer] | None = None
        self.groups: dict[int, BufferGroup | BufferRing] = {}
        self.personalities: dict[int, Any] = {}  # credentials by number
        self.restrictions: Restrictions | None = None
        self.eventfd: EventFd | None = None
        self.eventfd_async = False
        self.drain_refused = False
        self._show_flags()

    def _show_flags(self) -> None:
        flags = SQ_NEED_WAKEUP if self.setup & SETUP_SQPOLL else 0
        self.memory.set_sq_flags(flags | (SQ_CQ_OVERFLOW if self._overflow else 0))

    # -- the file --------------------------------------------------------------

    def close(self) -> None:
        self.closed = True
        for request in tuple(self.requests.values()):
            self.withdraw(request)
        self.files.clear()
        if self.eventfd is not None:
            self.eventfd.release()
        self._bury()

    def _bury(self) -> None:
        """The memory goes with the last request: until then completions may come."""
        if self.closed and not self.requests and not self.buried:
            self.buried = True
            for number in [number for number, group in self.groups.items() if isinstance(group, BufferRing)]:
                self.drop_buffer_ring(number)
            self.memory.close()
            self.account.settle()

    def poll(self) -> int:
        events = _READY if self.memory.completed() or self._overflow else 0
        return events | (POLLOUT | POLLWRNORM if self.memory.submitted() < self.memory.sq_entries else 0)

    def mapping_at(self, offset: int, length: int, shared: bool, writable: bool) -> tuple[int, bool, int]:
        if offset >= OFF_BUFFER_RING:
            group = self.groups.get(offset - OFF_BUFFER_RING >> BUFFER_RING_SHIFT)
            pages = group.pages if isinstance(group, BufferRing) else None
            if pages is None or length > pages.size or offset & (1 << BUFFER_RING_SHIFT) - 1:
                raise SyscallError(errno.EINVAL)
            return pages.fd, False, 0
        return self.memory.fd, False, self.memory.place(offset, length)

    def make_buffer_ring(self, number: int, entries: int) -> None:
        """Group ``number`` becomes a ring of buffers in memory of ours, for the guest to map. ENOMEM, ENFILE."""
        pages = SharedPages(entries * BUFFER.size)
        try:
            self.account.charge_pages(pages.size // PAGE)
        except SyscallError:
            pages.close()
            raise
        self.groups[number] = BufferRing(pages, 0, entries, pages)

    def drop_buffer_ring(self, number: int) -> None:
        """Group ``number`` is no more. ENOENT, EINVAL when it is no ring of buffers."""
        group = self.groups.get(number)
        if group is None:
            raise SyscallError(errno.ENOENT)
        if not isinstance(group, BufferRing):
            raise SyscallError(errno.EINVAL)
        del self.groups[number]
        if group.pages is not None:
            self.account.charge_pages(-(group.pages.size // PAGE))
            group.pages.close()

    def fdinfo(self) -> str:
        memory = self.memory
        return (
            f"SqMask:\t0x{memory.sq_entries - 1:x}\nSqHead:\t{memory.sq_head}\nSqTail:\t"
            f"{memory.sq_head + memory.submitted()}\nCqMask:\t0x{memory.cq_entries - 1:x}\n"
            f"CqTail:\t{memory.cq_tail}\nUserFiles:\t{len(self.files.slots)}\nUserBufs:\t{len(self.buffers or ())}\n"
        )

    # -- completions -----------------------------------------------------------

    def post(self, user_data: int, result: int, flags: int = 0, last: bool = True, counted: bool = True) -> bool:
        """Queue a completion. What finds no room waits for it, unless more are to come (not ``last``): then False."""
        if self.closed:
            return False
        if self._overflow or not self.memory.put(user_data, result, flags):
            if not last or not self.account.room():
                return False
            self._overflow.append((user_data, result, flags))
            self.account.charge(1)
            self._show_flags()
        if counted:
            self.completions += 1
            while self.counting and self.counting[0][0] <= self.completions:
                self.counting.pop(0)[2].update(COUNTED)
        if self.waiters.entries:
            self.waiters.wake(_READY)
        quiet = (self.eventfd_async and self._starting) or self.memory.eventfd_disabled
        if self.eventfd is not None and not quiet:
            self.eventfd.signal()
        return True

    def flush(self) -> None:
        """Bring completions that found no room into the ring, as far as there is some now."""
        overflow = self._overflow
        if not overflow:
            return
        while overflow and self.memory.put(*overflow[0]):
            overflow.popleft()
            self.account.charge(-1)
        self._show_flags()

    @property
    def crowded(self) -> bool:
        """Whether no more requests are taken for now: their completions could not be kept."""
        return not self.account.room(REQUEST_SIZE)

    def tell_of_errands(self) -> None:
        """A thread that waits for completions has something to do meanwhile."""
        self.waiters.wake(POLLIN)

    async def wait(self, count: int, deadline: float | None, submitter: Submitter) -> bool:
        """Wait for ``count`` completions; False at ``deadline`` (of the loop's clock). Raises ``Interrupted``.

        Meanwhile the thread, ``submitter``, runs its errands.
        """
        strand = self.scheduler.current()
        memory = self.memory
        count = min(count, memory.cq_entries)
        self.flush()
        while memory.completed() < count:
            if await submitter.run_errands():
                continue
            ticket = strand.ticket

            def enough(events: int, ticket: int = ticket) -> bool:
                return (memory.completed() >= count or bool(submitter.errands)) and strand.resume(ticket)

            waiter = self.waiters.add(enough, POLLIN)
            try:
                remaining = None if deadline is None else deadline - self.scheduler.loop.time()
                if await strand.park(remaining) is TIMED_OUT:
                    return False
            finally:
                self.waiters.remove(waiter)
            self.flush()
        return True

    # -- requests --------------------------------------------------------------

    def admit(self, request: Request) -> None:
        """A request is new: from now on it will be finished, one way or another."""
        self.account.charge(REQUEST_SIZE)
        self.requests[request.sequence] = request
        self.by_user_data.setdefault(request.user_data, {})[request] = None
        request.submitter.requests[request] = None

    def queue(self, head: Request) -> None:
        """Begin a chain of requests; after those before it, when it drains or one of them waits to."""
        self.deferred.append(head)
        self._undefer()
        self._start()

    def _undefer(self) -> None:
        """Let those begin for whom it is time: after all before them if they drain, and after the last that drained."""
        while self.deferred:
            head = self.deferred[0]
            oldest = next(iter(self.requests))
            if oldest < head.sequence and (head.flags & IOSQE_IO_DRAIN or oldest <= self._barrier):
                return
            if head.flags & IOSQE_IO_DRAIN:
                self._barrier = head.last().sequence
            self._startable.append(self.deferred.popleft())

    def _start(self) -> None:
        """Begin what may begin. A loop, not a recursion: a chain may be as long as the ring."""
        if self._starting:
            return
        self._starting = True
        try:
            while self._startable:
                self._begin(self._startable.popleft())
        finally:
            self._starting = False

    def _begin(self, request: Request) -> None:
        following = request.following
        if following is not None and following.op == Op.LINK_TIMEOUT and following.work is not None:
            request.guard, following.guarded = following, request
            request.following, following.following = following.following, None
        if request.work is None:
            self.finish(request, request.failure)
            return
        if request.flags & IOSQE_ASYNC:
            request.strand = CoroutineStrand(self.scheduler, self._live(request, request.work))
            request.strand.owner = request.owner
            request.strand.start()
        else:
            result = request.work(request)
            if isinstance(result, int):
                self.finish(request, result)
                return
            request.strand = CoroutineStrand(self.scheduler, self._await(request, result))
            request.strand.owner = request.owner
            request.strand.step()
        if request.guard is not None and not request.finished:
            self._begin(request.guard)

    async def _live(self, request: Request, work: Work) -> None:
        result = work(request)
        if isinstance(result, int):
            self.finish(request, result)
        else:
            await self._await(request, result)

    async def _await(self, request: Request, work: Awaitable[int]) -> None:
        result = -errno.EIO
        try:
            result = await work
        finally:
            self.finish(request, result)

    def finish(self, request: Request, result: int) -> None:
        """A request has its result: tell the guest, and go on with what waited for it."""
        request.finished = True
        self.account.charge(-REQUEST_SIZE)
        del self.requests[request.sequence]
        del request.submitter.requests[request]
        self._unname(request)
        if not request.silent and not (request.flags & IOSQE_CQE_SKIP_SUCCESS and result >= 0):
            self.post(request.user_data, result, request.more_flags, counted=request.op != Op.TIMEOUT)
        guard = request.guard
        if guard is not None:
            request.guard = None
            guard.guarded = None
            if guard.begun:
                guard.cancel()
            elif not guard.finished:
                self.finish(guard, -errno.ECANCELED)
        file = request.file
        if file is not None:
            request.file = None
            file.release()
        if request.following is not None:
            self._go_on(request, result)
        if self.deferred:
            self._undefer()
        if self._startable:
            self._start()
        if self.closed:
            self._bury()

    def _go_on(self, request: Request, result: int) -> None:
        """The next one of the chain begins, or the rest of it fails."""
        following, request.following = request.following, None
        assert following is not None, "it is not the last of its chain"
        if ((result >= 0 or request.tolerated) and request.succeeded) or request.flags & IOSQE_IO_HARDLINK:
            self._startable.append(following)
            return
        silent = request.silent or bool(request.flags & IOSQE_CQE_SKIP_SUCCESS)
        while following is not None:
            rest, following.following = following.following, None
            following.silent = silent
            self.finish(following, following.failure or -errno.ECANCELED)
            following = rest

    def withdraw(self, request: Request) -> None:
        """Whoever wanted the request is gone: it ends as soon as it can."""
        if request.begun:
            request.cancel()
        elif not request.finished:
            request.fail(-errno.ECANCELED)

    def find(self, user_data: int, op: int) -> Request | None:
        """A request at work on ``op`` that bears ``user_data``."""
        found = self.by_user_data.get(user_data, ())
        return next((request for request in found if request.begun and request.op == op), None)

    def rename(self, request: Request, user_data: int) -> None:
        """Let a request bear another ``user_data`` from now on."""
        self._unname(request)
        request.user_data = user_data
        self.by_user_data.setdefault(user_data, {})[request] = None

    def _unname(self, request: Request) -> None:
        same = self.by_user_data[request.user_data]
        del same[request]
        if not same:
            del self.by_user_data[request.user_data]

    def cancel(self, request: Request) -> bool:
        """Cancel a request that has begun; False when it is too late. Its completion follows soon."""
        self.stirred = True
        return request.cancel()
