"""What one thread has asked for asynchronously: its requests in flight, and the rings it has registered."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError

if TYPE_CHECKING:
    from ...sched.strand import Strand
    from .request import Request
    from .ring import Uring

REGISTERED_RINGS = 16


class Errand:
    """What only the thread itself can do, in the midst of a call of its own, and the strand that waits for that."""

    __slots__ = ("call", "strand", "ticket")

    def __init__(self, call: Callable[[], Awaitable[int]], strand: Strand) -> None:
        self.call = call
        self.strand = strand
        self.ticket = strand.ticket


class Submitter:
    """A thread as the rings see it. Linux ends a thread's requests with the thread, and at execve(2)."""

    __slots__ = ("errands", "requests", "rings")

    def __init__(self) -> None:
        self.requests: dict[Request, None] = {}
        self.errands: deque[Errand] = deque()
        self.rings: list[Uring | None] = [None] * REGISTERED_RINGS

    def ring(self, index: int) -> Uring:
        """The ring registered as ``index``; EBADF, EINVAL."""
        if not 0 <= index < REGISTERED_RINGS:
            raise SyscallError(errno.EINVAL)
        ring = self.rings[index]
        if ring is None:
            raise SyscallError(errno.EBADF)
        return ring

    def register(self, ring: Uring, index: int | None) -> int:
        """Register ``ring`` as ``index``, or anywhere; its index. EINVAL, EBUSY."""
        if index is None:
            index = next((free for free, taken in enumerate(self.rings) if taken is None), -1)
            if index < 0:
                raise SyscallError(errno.EBUSY)
        if not 0 <= index < REGISTERED_RINGS:
            raise SyscallError(errno.EINVAL)
        if self.rings[index] is not None:
            raise SyscallError(errno.EBUSY)
        ring.acquire()
        self.rings[index] = ring
        return index

    def unregister(self, index: int) -> None:
        """Forget the ring registered as ``index``; nothing is said if there is none. EINVAL."""
        if not 0 <= index < REGISTERED_RINGS:
            raise SyscallError(errno.EINVAL)
        ring, self.rings[index] = self.rings[index], None
        if ring is not None:
            ring.release()

    async def delegate(self, ring: Uring, call: Callable[[], Awaitable[int]]) -> int:
        """Have the thread do ``call`` when it is in, or next comes to, io_uring_enter(2); what came of it."""
        strand = ring.scheduler.current()
        errand = Errand(call, strand)
        self.errands.append(errand)
        ring.tell_of_errands()
        try:
            result = await strand.park()
        finally:
            if errand in self.errands:
                self.errands.remove(errand)
        if isinstance(result, SyscallError):
            raise result
        return int(result)

    async def run_errands(self) -> bool:
        """The thread is here: let it do what it was sent to do. Whether there was anything."""
        ran = bool(self.errands)
        while self.errands:
            errand = self.errands.popleft()
            result: int | SyscallError
            try:
                result = await errand.call()
            except SyscallError as error:
                result = error
            errand.strand.resume(errand.ticket, result)
        return ran

    def end(self) -> None:
        """The thread ends, or executes another program: so does all that it asked for."""
        for request in tuple(self.requests):
            request.ring.withdraw(request)
        for index in range(REGISTERED_RINGS):
            self.unregister(index)
