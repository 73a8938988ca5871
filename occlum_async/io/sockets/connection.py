"""Connections: what stream and seqpacket sockets of all families share - a peer, and a backlog."""

from __future__ import annotations

import errno
from socket import SHUT_RD, SHUT_RDWR, SHUT_WR
from typing import TYPE_CHECKING, Any, Self

from ...abi.errors import SyscallError
from ...abi.socket import SHUT_BOTH, SHUT_RECEIVE, SHUT_SEND, SOMAXCONN
from ...sched.waitqueue import WaitQueue
from ..file import POLLIN, POLLOUT, POLLRDNORM
from .socket import READABLE, Socket

if TYPE_CHECKING:
    from .stack import NetworkStack

SHUT_BITS = {SHUT_RD: SHUT_RECEIVE, SHUT_WR: SHUT_SEND, SHUT_RDWR: SHUT_BOTH}


class ConnectionSocket(Socket):
    """A socket that listens, or has one ``peer``. ``peer`` stays set when the peer has closed."""

    def __init__(self, stack: NetworkStack, protocol: int = 0) -> None:
        super().__init__(stack, protocol)
        self.peer: Self | None = None
        # Whether the connection stands; a reset or dissolved one does not.
        self.connected = False
        self.accepted = True
        self.backlog_limit = -1  # < 0: not listening
        # Connectors that wait until the backlog has room.
        self.vacancy = WaitQueue()

    @property
    def shown_inode(self) -> int:
        return self.ino if self.accepted else 0

    def accepting(self) -> bool:
        return self.backlog_limit >= 0

    def start_listening(self, backlog: int) -> None:
        """Set the length of the backlog; a negative one means the longest."""
        self.backlog_limit = min(backlog, SOMAXCONN) if backlog >= 0 else SOMAXCONN
        self.vacancy.wake(POLLOUT)

    @property
    def backlog_full(self) -> bool:
        return len(self.backlog) > self.backlog_limit

    def enqueue_connection(self, child: Self) -> None:
        """``child`` is connected and waits to be accepted."""
        child.accepted = False
        self.backlog.append(child)
        self.waiters.wake(READABLE)

    async def accept(self, flags: int = 0) -> Self:
        if not self.accepting():
            raise SyscallError(errno.EINVAL)
        deadline = self.deadline(self.receive_timeout)
        while not self.backlog:
            if self.shut & SHUT_RECEIVE or not self.accepting():
                raise SyscallError(errno.EINVAL)
            await self.wait_ready(POLLIN | POLLRDNORM, flags, deadline, exclusive=True)
        child: Self = self.backlog.popleft()
        child.accepted = True
        self.vacancy.wake(POLLOUT)
        return child

    def join(self, other: Any) -> None:
        """Make ``self`` and ``other``, of the same family, each other's peers."""
        self.peer, other.peer = other, self
        self.connected = other.connected = True
        self.buffers_changed()
        other.buffers_changed()

    def refuse_backlog(self) -> None:
        """Nobody will accept what waits in the backlog: its other ends are reset."""
        while self.backlog:
            self.backlog.popleft().close()
        self.vacancy.wake()

    def drop_queue(self) -> None:
        super().drop_queue()
        self.refuse_backlog()
