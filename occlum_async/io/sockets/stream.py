"""A stream of bytes between two sockets: the machinery of unix stream sockets and of TCP.

What a sender pushes lies as ``Chunk`` objects in its peer's inbox until it is read. ``sent`` counts it
against the sender. A read returns the sender's own ``bytes`` object where sizes fit, so the common
request-and-answer costs no copy at all.
"""

from __future__ import annotations

import errno
import signal
import time

import msgspec

from ...abi.errors import Interrupted, SyscallError
from ...abi.socket import (
    INT,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_OOB,
    MSG_PEEK,
    MSG_WAITALL,
    SHUT_RECEIVE,
    SHUT_SEND,
    SIOCATMARK,
)
from ...abi.user import UserBuffer, UserPointer
from ..file import POLLERR, POLLHUP, POLLPRI
from .connection import ConnectionSocket
from .memory import PRESSED
from .socket import READABLE, WRITABLE, Ancillary, Chunk, Received

PIECE = 65536  # a longer send is cut, so that the reader may begin while the writer still waits
PINNED = 4  # a piece may keep so many times its own size alive


def _part(data: bytes, start: int, end: int, most: int) -> bytes | memoryview:
    """A part of ``data``, at most ``most`` bytes long: a view if what that keeps alive is not much more."""
    if end - start == len(data):
        return data
    part = memoryview(data)[start:end]
    return part if len(data) <= PINNED * most else bytes(part)


class Gathered(msgspec.Struct):
    """What one receive has collected so far. ``complete``: a boundary forbids to collect more."""

    pieces: list[bytes | memoryview] = msgspec.field(default_factory=list)
    size: int = 0
    complete: bool = False
    ancillary: Ancillary | None = None
    first: Chunk | None = None
    stamp: int = 0


class ByteStream(ConnectionSocket):
    """A connected stream. Subclasses say what a broken connection looks like."""

    # What each chunk costs beyond its bytes, so that many tiny ones cannot take unbounded memory.
    overhead = 64
    # Whether a peek that has its bytes still looks on until it finds files.
    peeks_to_files = False
    # Errno when a receive finds that the socket was never connected.
    unconnected = errno.ENOTCONN

    # The chunk of the urgent byte, as long as the reader has not gone past it.
    urgent: Chunk | None = None
    # An orderly end was received: an error that comes thereafter does not hide it.
    finished = False

    def buffers_changed(self) -> None:
        self.waiters.wake(WRITABLE)

    # -- sending ---------------------------------------------------------------

    async def write(self, data: bytes | memoryview) -> int:
        size = len(data)
        peer = self.peer
        if (
            peer is not None and self.connected and not self.error and not self.shut & SHUT_SEND
            and not peer.closed and not peer.shut & SHUT_RECEIVE and 0 < size <= PIECE and self.sent < self.full_at
            and not self.stack.memory.pressed
        ):  # fmt: skip
            # The common case: all is well and there is room for all of it.
            self._push(peer, data if isinstance(data, bytes) else bytes(data), self.prepare_ancillary(None))
            return size
        return await self.send(data)

    async def send(
        self, data: bytes | memoryview, flags: int = 0, address: object = None, ancillary: Ancillary | None = None
    ) -> int:
        try:
            self.check_destination(address)
            return await self._send(data, flags, ancillary)
        finally:
            # What was put into the queue has been taken out of the list; the rest is still ours.
            if ancillary is not None and ancillary.files:
                self.stack.flight.discard(ancillary.files)

    async def _send(self, data: bytes | memoryview, flags: int, ancillary: Ancillary | None) -> int:
        size = len(data)
        if not isinstance(data, bytes):
            data = bytes(data)  # the caller's buffer is the caller's
        urgent = bool(flags & MSG_OOB) and size > 0
        done = 0
        deadline = None
        while True:
            peer = self.check_sendable(flags, done)
            if peer is None:
                return done
            if not size:
                return 0
            while done < size and self.sent < self.full_at:
                most = PRESSED if self.stack.memory.pressed else PIECE
                last = size - done <= most
                end = size - urgent if last else done + most
                if end > done:
                    self._push(peer, _part(data, done, end, most), self.prepare_ancillary(ancillary))
                    ancillary = None
                if last and urgent:
                    self._push_urgent(peer, data[-1:], self.prepare_ancillary(ancillary))
                    end += 1
                done = end
            if done == size:
                return done
            if done and flags & MSG_DONTWAIT | self.nonblocking:
                return done
            if deadline is None:
                deadline = self.deadline(self.send_timeout)
            try:
                await self.wait_ready(WRITABLE, flags, deadline)
            except (SyscallError, Interrupted):
                if done:
                    return done
                raise

    def check_destination(self, address: object) -> None:
        """An address was given to send(2) on a stream: it is ignored, or an error of the family."""

    def check_sendable(self, flags: int, done: int) -> ByteStream | None:
        """The peer to send to. None: the connection broke, but ``done`` bytes were sent before."""
        raise NotImplementedError

    def broken_pipe(self, flags: int) -> SyscallError:
        """EPIPE, and SIGPIPE unless the caller asked for none."""
        return SyscallError(errno.EPIPE, 0 if flags & MSG_NOSIGNAL else signal.SIGPIPE)

    def prepare_ancillary(self, ancillary: Ancillary | None) -> Ancillary | None:
        """What shall travel with the next chunk; the files in it are no longer ``ancillary``'s."""
        return None

    def _push(self, peer: ByteStream, piece: bytes | memoryview, ancillary: Ancillary | None) -> None:
        charge = len(piece) + self.overhead
        chunk = Chunk(piece, charge, self, ancillary)
        if peer.stamps:
            chunk.stamp = time.time_ns()
        self.charge(charge)
        peer.inbox.append(chunk)
        if peer.waiters.entries:
            peer.waiters.wake(READABLE)

    def _push_urgent(self, peer: ByteStream, byte: bytes, ancillary: Ancillary | None) -> None:
        # There is one urgent byte at most: an older one becomes ordinary data, or vanishes if it was taken.
        if peer.urgent is not None:
            peer.urgent.urgent = False
        self.charge(1 + self.overhead)
        peer.urgent = Chunk(byte, 1 + self.overhead, self, ancillary, urgent=True)
        peer.inbox.append(peer.urgent)
        peer.waiters.wake(READABLE | POLLPRI)

    # -- receiving -------------------------------------------------------------

    async def read(self, size: int) -> bytes:
        inbox = self.inbox
        while True:
            if len(inbox) == 1 and not self.pass_credentials:
                # The common case: one whole message waits, and there is room for it.
                chunk = inbox[0]
                data = chunk.data
                if chunk.ancillary is None and chunk is not self.urgent and len(data) <= size and self.peek_offset <= 0:
                    inbox.clear()
                    chunk.sender.uncharge(chunk.charge)  # type: ignore[union-attr]
                    return data if isinstance(data, bytes) else bytes(data)
            if not self.may_park(size):
                break
            await self.held_while(self.waiters.wait(self.scheduler, READABLE | POLLERR | POLLHUP))
        if not size:
            return b""
        received = await self.receive(size)
        if received.files:
            self.stack.flight.discard(received.files)  # read(2) cannot pass them on
        return received.data

    async def read_into(self, target: UserBuffer, size: int) -> int:
        """``read`` of what may be long: each chunk is copied from where it lies to where it is wanted."""
        inbox = self.inbox
        while self.may_park(size):
            await self.held_while(self.waiters.wait(self.scheduler, READABLE | POLLERR | POLLHUP))
        done = 0
        while inbox and done < size and not self.pass_credentials and self.peek_offset < 0:
            chunk = inbox[0]
            if chunk.ancillary is not None or chunk.urgent:
                break
            length = min(len(chunk.data), size - done)
            try:
                target.write(memoryview(chunk.data)[:length], done)
            except SyscallError:
                if done:
                    break
                raise
            if length == len(chunk.data):
                self._drop_first()
            else:
                self._shorten(chunk, length)
            done += length
        if not done:
            data = await self.read(size)
            target.write(data)
            done = len(data)
        return done

    def may_park(self, size: int) -> bool:
        """Whether a read finds nothing to do but to wait, in the plainest way."""
        return (
            not self.inbox and self.connected and not self.shut & SHUT_RECEIVE and not self.error
            and not self.nonblocking and self.receive_timeout is None and self.low_water == 1 and size > 0
        )  # fmt: skip

    async def receive(self, size: int, flags: int = 0) -> Received:
        self.check_receivable()
        if flags & MSG_OOB:
            return self._receive_urgent(flags)
        peek = bool(flags & MSG_PEEK)
        # Even a receive of no bytes waits for the first one.
        target = max(1, size if flags & MSG_WAITALL and not peek else min(self.low_water, size))
        gathered = Gathered()
        deadline = None
        while True:
            if size or peek:
                self._gather(gathered, size, peek)
            elif self.inbox:
                # No byte is asked for, but the files of the next one come all the same.
                self._collect(gathered, self.inbox[0], b"", peek)
            if gathered.complete or gathered.size >= target or (not size and self.inbox):
                break
            if not gathered.size and not self.finished:
                self.raise_error()
            if self.shut & SHUT_RECEIVE or self.error or (gathered.size and not self._may_wait(flags)):
                break
            if deadline is None:
                deadline = self.deadline(self.receive_timeout)
            try:
                await self.wait_ready(READABLE, flags, deadline)
            except (SyscallError, Interrupted):
                if gathered.size:
                    break
                raise
            if peek:
                gathered = Gathered()
        return self.finish(gathered, flags)

    def _may_wait(self, flags: int) -> bool:
        return not (flags & MSG_DONTWAIT or self.nonblocking)

    def check_receivable(self) -> None:
        """Fail when there is no connection to receive from."""
        if not self.connected and not self.shut & SHUT_RECEIVE and not self.error and not self.inbox:
            raise SyscallError(self.unconnected)

    def finish(self, gathered: Gathered, flags: int) -> Received:
        """Make the answer of what was collected."""
        pieces = gathered.pieces
        if len(pieces) == 1:
            data = pieces[0] if isinstance(pieces[0], bytes) else bytes(pieces[0])
        else:
            data = b"".join(pieces)
        return Received(data, length=len(data))

    def joins(self, gathered: Gathered, chunk: Chunk) -> bool:
        """Whether a receive that has collected ``gathered`` may go on with ``chunk``."""
        return True

    def _gather(self, gathered: Gathered, size: int, peek: bool) -> None:
        """Collect what lies there, up to ``size`` bytes or the next boundary, and take it unless ``peek``."""
        index = 0
        skip = self.peek_offset if peek and self.peek_offset > 0 else 0
        to_files = peek and self.peeks_to_files
        while (gathered.size < size or to_files) and index < len(self.inbox) and not gathered.complete:
            chunk = self.inbox[index]
            if skip >= len(chunk.data) and not chunk.urgent:
                skip -= len(chunk.data)
                index += 1
                continue
            if chunk.urgent:
                if gathered.size:
                    gathered.complete = True  # a read stops at the urgent mark
                    return
                if not self.inline_urgent:
                    if peek:
                        index += 1
                    else:
                        self._drop_first()
                    continue
            if gathered.first is not None and not self.joins(gathered, chunk):
                gathered.complete = True
                return
            piece = chunk.data[skip : skip + size - gathered.size]
            skip = 0
            self._collect(gathered, chunk, piece, peek)
            if peek:
                index += 1
            elif len(piece) == len(chunk.data):
                self._drop_first()
            else:
                self._shorten(chunk, len(piece))
        if peek and self.peek_offset >= 0:
            self.peek_offset += gathered.size

    def _collect(self, gathered: Gathered, chunk: Chunk, piece: bytes | memoryview, peek: bool) -> None:
        gathered.first = gathered.first or chunk
        gathered.stamp = chunk.stamp or gathered.stamp
        gathered.pieces.append(piece)
        gathered.size += len(piece)
        carried = chunk.ancillary
        if carried is None:
            return
        if not carried.files:
            gathered.ancillary = gathered.ancillary or carried
            return
        # Files are received with the first byte of their chunk, and end the receive.
        gathered.complete = True
        if peek:
            copies = [file.acquire() for file in carried.files]
            gathered.ancillary = Ancillary(copies, carried.credentials)
        else:
            self.stack.flight.land(carried.files)
            gathered.ancillary = carried
            chunk.ancillary = Ancillary([], carried.credentials)

    def _drop_first(self) -> None:
        chunk = self.inbox.popleft()
        if chunk is self.urgent:
            self.urgent = None
        self.consumed(len(chunk.data))
        self.discharge(chunk)

    def _shorten(self, chunk: Chunk, size: int) -> None:
        rest = memoryview(chunk.data)[size:]
        chunk.data = bytes(rest) if len(rest) * PINNED < len(rest.obj) else rest  # type: ignore[arg-type]
        chunk.charge -= size
        self.consumed(size)
        if chunk.sender is not None:
            chunk.sender.uncharge(size)

    def consumed(self, size: int) -> None:
        """Bytes left the queue: SO_PEEK_OFF moves with them."""
        if self.peek_offset > 0:
            self.peek_offset = max(0, self.peek_offset - size)

    # -- urgent data -----------------------------------------------------------

    def _receive_urgent(self, flags: int) -> Received:
        """MSG_OOB: the urgent byte by itself. EINVAL when there is none, or it is read in line."""
        if not self.has_urgent or self.inline_urgent:
            raise SyscallError(errno.EINVAL)
        assert self.urgent is not None
        data = bytes(self.urgent.data)
        if not flags & MSG_PEEK:
            self.urgent.data = b""  # the mark stays where it is
        return Received(data, flags=MSG_OOB, length=1)

    @property
    def at_mark(self) -> bool:
        """SIOCATMARK: the next byte is the urgent one."""
        return bool(self.inbox) and self.inbox[0].urgent

    @property
    def has_urgent(self) -> bool:
        """POLLPRI: an urgent byte waits to be received."""
        return self.urgent is not None and bool(self.urgent.data)

    async def ioctl(self, thread: object, command: int, argument: UserPointer) -> int:
        if command == SIOCATMARK:
            argument.pack(INT, int(self.at_mark))
            return 0
        return await super().ioctl(thread, command, argument)

    # -- counting --------------------------------------------------------------

    def unread(self) -> int:
        if self.accepting():
            raise SyscallError(errno.EINVAL)
        return sum(len(chunk.data) for chunk in self.inbox if not chunk.urgent or self.inline_urgent)

    def unsent(self) -> int:
        if self.accepting():
            raise SyscallError(errno.EINVAL)
        return self.sent

    def memory_info(self) -> tuple[int, int]:
        return sum(chunk.charge for chunk in self.inbox), self.sent

    def readable_now(self) -> bool:
        """Whether a read would find a byte: a lone urgent one does not count unless it is read in line."""
        if not self.inbox:
            return False
        first = self.inbox[0]
        return not first.urgent or self.inline_urgent or len(self.inbox) > 1

    # -- ending ----------------------------------------------------------------

    def end_of_input(self, bits: int = SHUT_RECEIVE) -> None:
        """The peer will send no more (SHUT_RECEIVE), or take no more (SHUT_SEND)."""
        self.shut |= bits
        self.waiters.wake()

    def hang_up(self, error: int = 0) -> None:
        """The peer is gone; ``error`` when it went with data unread."""
        if error:
            self.error = error
        self.end_of_input(SHUT_RECEIVE | SHUT_SEND)
