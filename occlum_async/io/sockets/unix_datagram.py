"""Unix sockets that keep record boundaries: SOCK_DGRAM and SOCK_SEQPACKET."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.socket import (
    MSG_DONTWAIT,
    MSG_OOB,
    SHUT_RECEIVE,
    SHUT_SEND,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    UnixAddress,
    encode_unix,
)
from ...sched.waitqueue import WaitQueue, wait_any
from ..file import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM
from .memory import PRESSED
from .records import OVERHEAD, RecordSocket
from .socket import SHUT_EVENTS, WRITABLE, Ancillary, Chunk, Received
from .unix import UnixSocket
from .unix_stream import UnixConnection

if TYPE_CHECKING:
    from .stack import NetworkStack

QUEUE_LIMIT = 10  # net.unix.max_dgram_qlen: records that wait at a socket which is not connected back


class UnixRecords(UnixSocket, RecordSocket):
    """Sending and receiving records between unix sockets."""

    def make_chunk(self, data: bytes | memoryview, ancillary: Ancillary | None) -> Chunk:
        """A record of this socket's, charged to it."""
        chunk = Chunk(bytes(data), len(data) + OVERHEAD, self, ancillary)
        chunk.address = encode_unix(self.name) if self.name.name else None
        chunk.stamp = time.time_ns()
        self.charge(chunk.charge)
        return chunk

    def check_size(self, size: int, flags: int) -> None:
        """EMSGSIZE for a record that the send buffer could never hold."""
        if flags & MSG_OOB:
            raise SyscallError(errno.EOPNOTSUPP)
        if size > self.send_limit - 32:
            raise SyscallError(errno.EMSGSIZE)
        if size > PRESSED and self.stack.memory.pressed:
            raise SyscallError(errno.ENOBUFS)

    def buffers_changed(self) -> None:
        self.waiters.wake(WRITABLE)

    def answer(self, received: Received, chunk: Chunk, carried: Ancillary | None) -> Received:
        return self.deliver(received, carried, chunk.stamp)


class UnixDatagram(UnixRecords):
    """SOCK_DGRAM. ``peer`` is the default destination, which need not know of it."""

    type = SOCK_DGRAM

    def __init__(self, stack: NetworkStack, protocol: int = 0) -> None:
        super().__init__(stack, protocol)
        self.peer: UnixDatagram | None = None
        # Senders that wait until this socket's queue has room, and all sockets whose ``peer`` this one is.
        self.vacancy = WaitQueue()
        self.admirers: set[UnixDatagram] = set()

    def partner(self) -> UnixSocket | None:
        return self.peer

    def pair(self, other: UnixDatagram) -> None:
        """socketpair(2)."""
        self._set_peer(other)
        other._set_peer(self)
        self.peer_identity = other.peer_identity = self.stack.identify()

    async def connect(self, address: UnixAddress | None) -> None:
        """Set the default destination; None removes it."""
        target = None
        if address is not None:
            if not address.name:
                raise SyscallError(errno.EINVAL)
            if self.pass_credentials:
                self.autobind()
            target = self._allowed(address)
        before = self.peer
        self._set_peer(target)
        if before is not None and before is not target:
            self.drop_queue()
            if before.peer is self:
                before.error = errno.ECONNRESET
                before.waiters.wake()
        self.waiters.wake(WRITABLE)

    def _set_peer(self, target: UnixDatagram | None) -> None:
        if self.peer is not None:
            self.peer.admirers.discard(self)
        self.peer = target
        if target is not None:
            target.admirers.add(self)

    def _allowed(self, address: UnixAddress) -> UnixDatagram:
        target = self.find(address)
        assert isinstance(target, UnixDatagram)
        if target.peer is not None and target.peer is not self:
            raise SyscallError(errno.EPERM)
        return target

    def _queue_full(self, target: UnixDatagram) -> bool:
        return target.peer is not self and len(target.inbox) > QUEUE_LIMIT

    async def send(
        self,
        data: bytes | memoryview,
        flags: int = 0,
        address: UnixAddress | None = None,
        ancillary: Ancillary | None = None,
    ) -> int:
        try:
            self.check_size(len(data), flags)
            if self.pass_credentials:
                self.autobind()
            target = await self._wait_for_room(flags, address)
            carried = self.carry(ancillary, self.pass_credentials or target.pass_credentials)
            target.put_record(self.make_chunk(data, carried))
            return len(data)
        finally:
            if ancillary is not None and ancillary.files:
                self.stack.flight.discard(ancillary.files)

    async def _wait_for_room(self, flags: int, address: UnixAddress | None) -> UnixDatagram:
        deadline = None
        while True:
            self.raise_error()
            if self.shut & SHUT_SEND:
                raise SyscallError(errno.EPIPE)
            target = self._target(address)
            if self.sent < self.full_at and not self._queue_full(target):
                return target
            if deadline is None:
                deadline = self.deadline(self.send_timeout)
            if self.sent >= self.full_at:
                await self.wait_ready(WRITABLE, flags, deadline)
            else:
                await self._wait_vacancy(target, flags, deadline)

    def _target(self, address: UnixAddress | None) -> UnixDatagram:
        if address is not None:
            target = self._allowed(address)
        elif self.peer is None:
            raise SyscallError(errno.ENOTCONN)
        elif self.peer.closed:
            self._set_peer(None)
            self.drop_queue()
            raise SyscallError(errno.ECONNREFUSED)
        else:
            target = self.peer
            if target.peer is not None and target.peer is not self:
                raise SyscallError(errno.EPERM)
        if target.shut & SHUT_RECEIVE:
            raise SyscallError(errno.EPIPE)
        return target

    async def _wait_vacancy(self, target: UnixDatagram, flags: int, deadline: float | None) -> None:
        if flags & MSG_DONTWAIT or self.nonblocking:
            raise SyscallError(errno.EAGAIN)
        left = None if deadline is None else deadline - self.scheduler.loop.time()
        queues = [(target.vacancy, POLLOUT), (self.waiters, POLLERR | POLLHUP)]
        if not await wait_any(self.scheduler, queues, left):
            raise SyscallError(errno.EAGAIN)

    def record_taken(self) -> None:
        self.vacancy.wake(POLLOUT)
        if len(self.inbox) == QUEUE_LIMIT:
            # There is room again; those who poll for it wait at their own sockets.
            for sender in tuple(self.admirers):
                sender.waiters.wake(WRITABLE)

    def shutdown(self, how: int) -> None:
        self.shut |= how
        self.waiters.wake()
        self.vacancy.wake()

    def close(self) -> None:
        super().close()
        self.drop_queue()
        self._set_peer(None)
        self.waiters.wake()
        self.vacancy.wake()

    def poll(self) -> int:
        events = SHUT_EVENTS[self.shut]
        if self.error:
            events |= POLLERR
        if self.inbox:
            events |= POLLIN | POLLRDNORM
        if self.sent <= self.writable_at and (self.peer is None or not self._queue_full(self.peer)):
            events |= WRITABLE
        return events


class UnixSeqpacket(UnixConnection, UnixRecords):
    """SOCK_SEQPACKET: records over a connection."""

    type = SOCK_SEQPACKET

    async def send(
        self,
        data: bytes | memoryview,
        flags: int = 0,
        address: UnixAddress | None = None,
        ancillary: Ancillary | None = None,
    ) -> int:
        try:
            deadline = None
            while True:
                self.raise_error()
                peer = self.peer
                if peer is None or not self.connected:
                    raise SyscallError(errno.ENOTCONN)
                self.check_size(len(data), flags)
                if self.shut & SHUT_SEND or peer.closed or peer.shut & SHUT_RECEIVE:
                    raise SyscallError(errno.EPIPE)
                if self.sent < self.full_at:
                    break
                if deadline is None:
                    deadline = self.deadline(self.send_timeout)
                await self.wait_ready(WRITABLE, flags, deadline)
            carried = self.carry(ancillary, self.wants_credentials(peer))
            peer.put_record(self.make_chunk(data, carried))
            return len(data)
        finally:
            if ancillary is not None and ancillary.files:
                self.stack.flight.discard(ancillary.files)

    def unread(self) -> int:
        return sum(len(chunk.data) for chunk in self.inbox)

    def check_receivable(self) -> None:
        if not self.connected:
            raise SyscallError(errno.ENOTCONN)

    def at_end(self, nonblocking: bool) -> bool:
        return bool(self.shut & SHUT_RECEIVE)
