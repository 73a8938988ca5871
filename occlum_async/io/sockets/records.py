"""Receiving whole records: what datagram and seqpacket sockets of all families share."""

from __future__ import annotations

from ...abi.socket import MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, SHUT_RECEIVE
from ..file import POLLIN, POLLRDNORM
from .socket import READABLE, Ancillary, Chunk, Received, Socket

OVERHEAD = 768  # bytes that a record costs beyond its own


class RecordSocket(Socket):
    """A socket whose inbox holds records: each receive takes one, and cuts what does not fit."""

    def put_record(self, chunk: Chunk) -> None:
        """A record has arrived."""
        self.inbox.append(chunk)
        if chunk.sender is None:
            self.stack.memory.charge(chunk.charge)
        if self.waiters.entries:
            self.waiters.wake(READABLE)

    async def read(self, size: int) -> bytes:
        if not size:
            return b""
        received = await self.receive(size)
        if received.files:
            self.stack.flight.discard(received.files)  # read(2) cannot pass them on
        return received.data

    async def receive(self, size: int, flags: int = 0) -> Received:
        peek = bool(flags & MSG_PEEK)
        deadline = None
        while True:
            self.check_receivable()
            self.raise_error()
            index, skip = self._position(peek)
            if index < len(self.inbox):
                return self._take(index, skip, size, flags)
            if self.at_end(bool(flags & MSG_DONTWAIT) or self.nonblocking):
                return Received(b"")
            if deadline is None:
                deadline = self.deadline(self.receive_timeout)
            await self.wait_ready(POLLIN | POLLRDNORM, flags, deadline)

    def check_receivable(self) -> None:
        """Fail where the socket can never receive."""

    def at_end(self, nonblocking: bool) -> bool:
        """Nothing waits and nothing will come: a receive gives no bytes.

        Where datagrams were shut off, a receive that must not wait fails with EAGAIN all the same.
        """
        return bool(self.shut & SHUT_RECEIVE) and not nonblocking

    def _position(self, peek: bool) -> tuple[int, int]:
        """Which record to look at, and from which byte on (SO_PEEK_OFF)."""
        skip = self.peek_offset if peek and self.peek_offset > 0 else 0
        index = 0
        while skip and index < len(self.inbox) and skip >= len(self.inbox[index].data):
            skip -= len(self.inbox[index].data)
            index += 1
        return index, skip

    def _take(self, index: int, skip: int, size: int, flags: int) -> Received:
        chunk = self.inbox[index]
        data = chunk.data if not skip else chunk.data[skip:]
        whole = len(data)
        if whole > size:
            data = data[:size]
        received = Received(
            data if isinstance(data, bytes) else bytes(data),
            chunk.address,
            MSG_TRUNC if whole > size else 0,
            whole,
        )
        carried = chunk.ancillary
        if flags & MSG_PEEK:
            if carried is not None and carried.files:
                carried = Ancillary([file.acquire() for file in carried.files], carried.credentials, carried.control)
            if self.peek_offset >= 0:
                self.peek_offset += len(received.data)
        else:
            self._remove_first(chunk)
        return self.answer(received, chunk, carried)

    def _remove_first(self, chunk: Chunk) -> None:
        self.inbox.popleft()
        if self.peek_offset > 0:
            self.peek_offset = max(0, self.peek_offset - len(chunk.data))
        if chunk.ancillary is not None and chunk.ancillary.files:
            self.stack.flight.land(chunk.ancillary.files)
        self.discharge(chunk)
        self.record_taken()

    def record_taken(self) -> None:
        """The queue has got shorter."""

    def answer(self, received: Received, chunk: Chunk, carried: Ancillary | None) -> Received:
        """Add what the family tells beside the data."""
        return received

    def unread(self) -> int:
        return len(self.inbox[0].data) if self.inbox else 0

    def unsent(self) -> int:
        return self.sent

    def memory_info(self) -> tuple[int, int]:
        return sum(chunk.charge for chunk in self.inbox), self.sent
