"""Open files on their way between processes (SCM_RIGHTS), and what becomes of those that nobody can receive.

A message in a queue owns a reference of each file it carries. Two things follow. A socket may be reachable
only through a queue that is itself reachable only through that socket: such cycles are found by counting
(``collect``). And closing a socket may close what was on its way to it, to any depth: that is done with a
list of work, never by recursion.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError

if TYPE_CHECKING:
    from ..file import File
    from .socket import Socket

LIMIT = 16384  # files on their way in the whole LibOS
PAUSE_FACTOR = 10  # a collection may take a tenth of the time at most


class Flight:
    """All files that are on their way."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.count = 0
        # How often each socket is on its way.
        self.sockets: dict[Socket, int] = {}
        self._doomed: list[File] = []
        self._discarding = False
        self._loop = loop
        self._collection: asyncio.TimerHandle | None = None
        self._pause = 0.0

    def launch(self, files: list[File]) -> None:
        """A message with ``files`` enters a queue; ETOOMANYREFS when too many are on their way already."""
        from .socket import Socket

        if self.count + len(files) > LIMIT:
            raise SyscallError(errno.ETOOMANYREFS)
        self.count += len(files)
        for file in files:
            if isinstance(file, Socket):
                self.sockets[file] = self.sockets.get(file, 0) + 1

    def land(self, files: list[File]) -> None:
        """A message leaves its queue; its references are the caller's now."""
        self.count -= len(files)
        for file in files:
            left = self.sockets.get(file, 0) - 1  # type: ignore[call-overload]
            if left > 0:
                self.sockets[file] = left  # type: ignore[index]
            elif left == 0:
                del self.sockets[file]  # type: ignore[arg-type]

    def discard(self, files: list[File]) -> None:
        """Release references that the caller owns, without recursion."""
        self._doomed.extend(files)
        if self._discarding:
            return
        self._discarding = True
        try:
            while self._doomed:
                self._doomed.pop().release()
        finally:
            self._discarding = False

    def released(self, socket: Socket) -> None:
        """A reference of ``socket`` was dropped, others remain: look for cycles soon if it may be part of one.

        One that carries no socket in its queue is part of none. A collection looks at all that is on its way,
        so the next one is put off in proportion to what the last one cost.
        """
        if self._collection is not None or self.sockets.get(socket) != socket.users:
            return
        if any(True for _ in carried_sockets(socket)):
            self._collection = self._loop.call_later(self._pause, self._collect_timely)

    def _collect_timely(self) -> None:
        self._collection = None
        start = time.perf_counter()
        self.collect()
        self._pause = PAUSE_FACTOR * (time.perf_counter() - start)

    def collect(self) -> None:
        """Empty the queues of sockets that can only be reached through each other's queues."""
        unheld = {socket for socket, times in self.sockets.items() if socket.users == times}
        # References that do not come from the queue of an unheld socket keep a socket alive.
        outside = {socket: self.sockets[socket] for socket in unheld}
        for socket in unheld:
            for carried in carried_sockets(socket):
                if carried in outside:
                    outside[carried] -= 1
        alive = [socket for socket, times in outside.items() if times > 0]
        while alive:
            socket = alive.pop()
            if socket in unheld:
                unheld.discard(socket)
                alive.extend(carried for carried in carried_sockets(socket) if carried in unheld)
        for socket in unheld:
            socket.drop_queue()


def carried_sockets(socket: Socket) -> Iterator[Socket]:
    """The sockets that messages in the queue of ``socket``, or of connections it has not accepted, carry."""
    from .socket import Socket

    for chunk in socket.inbox:
        if chunk.ancillary is not None:
            yield from (file for file in chunk.ancillary.files if isinstance(file, Socket))
    for child in socket.backlog:
        yield from carried_sockets(child)
