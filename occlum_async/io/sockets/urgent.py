"""Urgent data from outside: who wants it, and receiving with the mark kept.

The host keeps one urgent byte, at a mark in the stream, and a receive stops there. But what a repeating receive has
brought no longer tells where it stopped. So as soon as a program shows interest in urgent data the connection is
received in a way that asks for the mark before each receive. Whoever shows none loses the byte, as on Linux.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ...abi.errors import Interrupted, SyscallError
from ...sched.waitqueue import ANY, Waiter, WaitQueue
from ..boundary.network import HostNetwork, Pending
from ..file import POLLIN, POLLPRI

if TYPE_CHECKING:
    from ...sched.strand import Scheduler

RECEIVE_SIZE = 64 << 10
BURST = 16  # receives at one wake-up, so that one busy connection leaves room for the others

# ``received(data, error, urgent)``: as of ``HostNetwork.receive``; the first byte is urgent.
MarkedReceived = Callable[[bytes, int, bool], None]


class UrgentQueue(WaitQueue):
    """The wait queue of a TCP socket: ``wanted`` is called when somebody waits for urgent data."""

    __slots__ = ("_wanted",)

    def __init__(self, wanted: Callable[[], None]) -> None:
        super().__init__()
        self._wanted = wanted

    def add(self, callback: Callable[[int], Any], mask: int = ANY, exclusive: bool = False) -> Waiter:
        if mask & POLLPRI and mask != ANY:
            self._wanted()
        return super().add(callback, mask, exclusive)


class MarkedReceive(Pending):
    """Receives until the end, an error, or until it is cancelled, one plain call at a time."""

    __slots__ = ("_cancelled", "_fd", "_network", "_poll", "_received", "_strand", "over")

    def __init__(
        self, scheduler: Scheduler, network: HostNetwork, poll: Callable[[int, int], Awaitable[int]], fd: int,
        received: MarkedReceived,
    ) -> None:  # fmt: skip
        self.over = self._cancelled = False
        self._network = network
        self._poll = poll
        self._fd = fd
        self._received = received
        self._strand = scheduler.spawn(self._run())

    def cancel(self) -> None:
        if not self._cancelled and not self.over:
            self._cancelled = True
            self._strand.interrupt()

    async def _run(self) -> None:
        error = 0
        try:
            while await self._poll(self._fd, POLLIN) and self._take():
                pass
        except Interrupted:
            error = errno.ECANCELED
        except SyscallError as failure:
            error = failure.errno
        self.over = True
        self._received(b"", errno.ECANCELED if self._cancelled else error, False)

    def _take(self) -> bool:
        """Take what is there; False at the end of the stream."""
        for _ in range(BURST):
            if self._cancelled:
                raise Interrupted
            try:
                urgent = self._network.at_mark(self._fd)
                data = self._network.receive_now(self._fd, RECEIVE_SIZE)
            except SyscallError as error:
                if error.errno == errno.EAGAIN:
                    return True
                raise
            if not data:
                return False
            self._received(data, 0, urgent)
        return True
