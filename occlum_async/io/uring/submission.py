"""From entries in the submission ring to requests and chains of them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from ...abi.errors import SyscallError
from ...abi.uring import IOSQE_CQE_SKIP_SUCCESS, IOSQE_IO_DRAIN, IOSQE_LINKS, SETUP_SUBMIT_ALL, Op
from ...sched.strand import Scheduler
from .request import Request, Work
from .ring import Uring
from .submitter import Submitter

# What makes a request ready to begin, or fails as the entry is wrong: ``SyscallError``.
Prepare = Callable[[Request], Work]
BATCH = 64  # so many entries are taken before others have a turn


async def breathe(scheduler: Scheduler) -> None:
    """Let everyone who is ready have a turn."""
    strand = scheduler.current()
    scheduler.loop.call_soon(strand.resume, strand.ticket)
    await strand.park(interruptible=False)


class _Chain:
    """The requests that are linked so far."""

    def __init__(self) -> None:
        self.head: Request | None = None
        self.last: Request | None = None

    def add(self, request: Request) -> None:
        if self.last is None:
            self.head = request
        else:
            self.last.following = request
        self.last = request

    def take(self) -> Request | None:
        head, self.head, self.last = self.head, None, None
        return head


async def submit(ring: Uring, submitter: Submitter, owner: Any, count: int, prepare: Prepare) -> int:
    """Take at most ``count`` entries; how many were taken. An entry that is wrong completes with its error.

    It also ends the batch, unless the ring was set up with IORING_SETUP_SUBMIT_ALL. EBUSY when nothing can be taken.
    """
    async with ring.lock.hold(ring.scheduler):
        chain = _Chain()
        taken = 0
        count = min(count, ring.memory.submitted())
        try:
            while taken < count and not ring.closed:
                if ring.crowded:
                    if not taken:
                        raise SyscallError(errno.EBUSY)
                    break
                entry = ring.memory.take()
                taken += 1
                if entry is None:
                    break
                request = Request(ring, submitter, owner, entry, ring.sequence)
                ring.sequence += 1
                if not _enqueue(ring, chain, request, prepare) and not ring.setup & SETUP_SUBMIT_ALL:
                    break
                if taken % BATCH == 0:
                    await breathe(ring.scheduler)
        finally:
            head = chain.take()
            if head is not None:
                ring.queue(head)
        return taken


def _enqueue(ring: Uring, chain: _Chain, request: Request, prepare: Prepare) -> bool:
    """Prepare one request and begin its chain if it is the last of one; False when it is wrong and alone or last."""
    ring.admit(request)
    wrong = False
    try:
        if request.op == Op.LINK_TIMEOUT and (chain.last is None or chain.last.op == Op.LINK_TIMEOUT):
            raise SyscallError(errno.EINVAL)
        if request.flags & IOSQE_CQE_SKIP_SUCCESS:
            ring.drain_refused = True
        if request.flags & IOSQE_IO_DRAIN:
            _drain(ring, chain)
        request.work = prepare(request)
    except SyscallError as error:
        wrong = True
        request.fail(-error.errno)
        if chain.head is not None and chain.head.work is not None:
            chain.head.fail(-errno.ECANCELED)
    chain.add(request)
    if request.flags & IOSQE_LINKS:
        return True
    head = chain.take()
    assert head is not None, "the chain holds the request at least"
    ring.queue(head)
    return not wrong


def _drain(ring: Uring, chain: _Chain) -> None:
    """A request drains: so does the chain it is in the middle of."""
    if ring.drain_refused:
        raise SyscallError(errno.EOPNOTSUPP)
    if chain.head is not None:
        chain.head.flags |= IOSQE_IO_DRAIN
