"""Unix sockets with a connection: SOCK_STREAM here, and the connecting that SOCK_SEQPACKET shares."""

from __future__ import annotations

import errno
from typing import Any, Self

from ...abi.errors import SyscallError
from ...abi.socket import (
    SHUT_BOTH,
    SHUT_RECEIVE,
    SHUT_SEND,
    SOCK_STREAM,
    UnixAddress,
)
from ..file import POLLERR, POLLHUP, POLLIN, POLLPRI, POLLRDNORM
from .connection import ConnectionSocket
from .socket import SHUT_EVENTS, WRITABLE, Ancillary, Chunk, Received
from .stream import ByteStream, Gathered
from .unix import LISTEN, UnixSocket


class UnixConnection(UnixSocket, ConnectionSocket):
    """Listening, connecting and closing of unix stream and seqpacket sockets."""

    def partner(self) -> UnixSocket | None:
        return self.peer if self.connected else None

    def listen(self, backlog: int) -> None:
        if self.connected or not self.name.name:
            raise SyscallError(errno.EINVAL)
        self.start_listening(backlog)
        self.peer_identity = self.stack.identify()  # what connectors see as SO_PEERCRED

    async def connect(self, address: UnixAddress | None) -> None:
        """Connect; blocks (for at most SO_SNDTIMEO) while the backlog is full."""
        if address is None or not address.name:
            raise SyscallError(errno.EINVAL)
        if self.pass_credentials:
            self.autobind()
        deadline = None
        while True:
            listener = self.find(address)
            assert isinstance(listener, type(self))
            if not listener.accepting() or listener.shut & SHUT_RECEIVE:
                raise SyscallError(errno.ECONNREFUSED)
            if self.connected:
                raise SyscallError(errno.EISCONN)
            if self.accepting():
                raise SyscallError(errno.EINVAL)
            if not listener.backlog_full:
                break
            if self.nonblocking:
                raise SyscallError(errno.EAGAIN)
            deadline = self.deadline(self.send_timeout) if deadline is None else deadline
            await self.wait_vacancy(listener, deadline)
        self._meet(listener)

    async def wait_vacancy(self, listener: ConnectionSocket, deadline: float | None) -> None:
        """Wait until ``listener`` may have room in its backlog."""
        left = None if deadline is None else deadline - self.scheduler.loop.time()
        if not await listener.vacancy.wait(self.scheduler, timeout=left, exclusive=True):
            raise SyscallError(errno.EAGAIN)

    def _meet(self, listener: Self) -> None:
        self.stack.memory.check_socket()
        child = type(self)(self.stack, self.protocol)
        child.creator = listener.creator
        child.name = UnixAddress(listener.name.name)
        child.peer_identity = self.stack.identify()
        child.send_limit, child.receive_limit = listener.send_limit, listener.receive_limit
        self.peer_identity = listener.peer_identity
        self.join(child)
        listener.enqueue_connection(child)

    async def accept(self, flags: int = 0) -> Self:
        child: Self = await super().accept(flags)
        if self.pass_credentials:
            child.setsockopt(1, 16, b"\1\0\0\0")  # SO_PASSCRED is inherited
        return child

    def pair(self, other: Self) -> None:
        """socketpair(2)."""
        self.join(other)
        self.peer_identity = other.peer_identity = self.stack.identify()

    def shutdown(self, how: int) -> None:
        self.shut |= how
        self.waiters.wake()
        self.vacancy.wake()
        if self.peer is not None:
            self.peer.shut |= (SHUT_SEND if how & SHUT_RECEIVE else 0) | (SHUT_RECEIVE if how & SHUT_SEND else 0)
            self.peer.waiters.wake()

    def close(self) -> None:
        # An empty record at the head was not worth reading.
        unread = len(self.inbox) > 1 or any(chunk.data for chunk in self.inbox) or not self.accepted
        super().close()
        self.drop_queue()
        peer = self.peer
        if peer is not None and not peer.closed:
            peer.shut = SHUT_BOTH
            if unread:
                peer.error = errno.ECONNRESET
            peer.waiters.wake()
        self.waiters.wake()

    def wants_credentials(self, peer: Self) -> bool:
        """Whether a message to ``peer`` carries the sender's credentials without being asked to."""
        return self.pass_credentials or peer.pass_credentials or not peer.accepted

    def poll(self) -> int:
        events = SHUT_EVENTS[self.shut]
        if self.error:
            events |= POLLERR
        if self.inbox or self.backlog:
            events |= POLLIN | POLLRDNORM
        if self.accepting():
            return events
        if not self.connected:
            events |= POLLHUP
        if self.sent <= self.writable_at:
            events |= WRITABLE
        return events

    @property
    def diagnosed_state(self) -> int:
        return LISTEN if self.accepting() else super().diagnosed_state

    def table_row(self) -> dict[str, Any]:
        return {**super().table_row(), "listening": self.accepting()}


class UnixStream(UnixConnection, ByteStream):
    """SOCK_STREAM."""

    type = SOCK_STREAM
    overhead = 768
    peeks_to_files = True
    unconnected = errno.EINVAL

    def check_destination(self, address: object) -> None:
        if address is not None:
            raise SyscallError(errno.EISCONN if self.connected else errno.EOPNOTSUPP)

    def check_sendable(self, flags: int, done: int) -> UnixStream | None:
        peer = self.peer
        if peer is None or not self.connected:
            raise SyscallError(errno.ENOTCONN)
        if self.shut & SHUT_SEND or peer.closed or peer.shut & SHUT_RECEIVE:
            if done:
                return None
            raise self.broken_pipe(flags)
        return peer

    def check_receivable(self) -> None:
        if not self.connected:
            raise SyscallError(errno.EINVAL)

    def prepare_ancillary(self, ancillary: Ancillary | None) -> Ancillary | None:
        assert self.peer is not None
        return self.carry(ancillary, self.wants_credentials(self.peer))

    def joins(self, gathered: Gathered, chunk: Chunk) -> bool:
        # Bytes of different writers are not mixed where the reader learns who wrote them.
        if not self.pass_credentials or gathered.first is None:
            return True
        before = gathered.first.ancillary.credentials if gathered.first.ancillary is not None else None
        return before == (chunk.ancillary.credentials if chunk.ancillary is not None else None)

    def finish(self, gathered: Gathered, flags: int) -> Received:
        received = super().finish(gathered, flags)
        return self.deliver(received, gathered.ancillary, gathered.stamp)

    def poll(self) -> int:
        events = super().poll()
        if self.inbox and not self.readable_now() and not self.shut & SHUT_RECEIVE:
            events &= ~(POLLIN | POLLRDNORM)
        return events | POLLPRI if self.has_urgent else events
