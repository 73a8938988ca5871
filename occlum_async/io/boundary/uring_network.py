"""The host's network over the io_uring: operations that repeat are submitted once, and leave in batches.

Received bytes come in buffers that were provided beforehand and are given back as soon as they are copied, so an
idle connection costs no memory and a busy one no submission. Everything that is started during a turn of the event
loop leaves in one exit at its end.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...abi.errors import SyscallError
from ...abi.socket import MSG_NOSIGNAL, MSG_WAITALL, SOCKADDR_IN6
from .network import (
    CONNECT_MAX,
    CONTROL_ROOM,
    MSG_ZEROCOPY,
    TRANSIENT,
    Accepted,
    Arrived,
    Connected,
    HostNetwork,
    Pending,
    Piece,
    Received,
    Sent,
    contained,
)

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from .ring import Operation, Ring
    from .uring import UringBoundary

# Of a receive buffer. Holds the largest UDP datagram with its header and its sender's address.
BUFFER_SIZE = 66 << 10

# The host has ended a repeating operation without anything being wrong: its buffers or its queue were full.
PASSING = frozenset((0, errno.ENOBUFS, errno.EINTR, errno.EAGAIN))


class RingPending(Pending):
    """An operation of the ring.

    A repeating one has ``resubmit``, which starts it again where the host ended it for a reason of its own (no
    buffer, a full completion queue). What is over refers to nothing any more: a cycle of memory that the host was
    lent must not be left to the garbage collector.
    """

    __slots__ = ("cancelled", "operation", "over", "resubmit", "ring")

    def __init__(self, ring: Ring, start: Callable[[], Operation], repeats: bool = False) -> None:
        self.ring = ring
        self.cancelled = self.over = False
        self.resubmit = start if repeats else None
        self.operation: Operation | None = start()

    def cancel(self) -> None:
        if self.operation is not None and not self.cancelled:
            self.cancelled = True
            self.ring.queue_cancel(self.operation)

    def finish(self) -> None:
        """The last completion was taken."""
        self.over = True
        self.operation = self.resubmit = None

    def ended(self, error: int) -> int:
        """The host ended a repeating one with ``error`` (0: without). What to tell, or 0 when it goes on."""
        if error in PASSING:
            if not self.cancelled and self.resubmit is not None:
                self.operation = self.resubmit()
                return 0
            error = errno.ECANCELED
        self.finish()
        return error


class UringNetwork(HostNetwork):
    """Sockets of the host behind one ring or several; a socket always uses the same one."""

    def __init__(self, boundary: UringBoundary, rings: Sequence[Ring]) -> None:
        super().__init__(boundary)
        self.boundary = boundary
        self._rings = rings
        for ring in rings:
            ring.provide(boundary.options.buffers, BUFFER_SIZE)
        self._lib, self._ffi = lib, _ = rings[0].lib, rings[0].ffi
        self._more, self._selected = lib.IORING_CQE_F_MORE, lib.IORING_CQE_F_BUFFER
        self._notification = lib.IORING_CQE_F_NOTIF
        self._shift = lib.IORING_CQE_BUFFER_SHIFT
        # One header serves all repeated receives of datagrams: the host only reads the sizes in it.
        self._datagram_head = self._ffi.new(
            "struct msghdr *", {"msg_namelen": SOCKADDR_IN6, "msg_controllen": CONTROL_ROOM}
        )
        self._head_size = self._ffi.sizeof("struct io_uring_recvmsg_out")

    def _ring(self, fd: int) -> Ring:
        return self._rings[fd % len(self._rings)]

    def _error(self, name: str, result: int) -> int:
        """The errno of a negative result, 0 for any other; EIO for what is none."""
        return self.calls.failure(name, result).errno if result < 0 else 0

    # -- operations ------------------------------------------------------------------

    def connect(self, fd: int, address: bytes, connected: Connected, timeout: float = CONNECT_MAX) -> Pending:
        ring = self._ring(fd)
        memory = self._ffi.from_buffer(address)

        def results(result: int, flags: int) -> None:
            timed_out = result == -errno.ECANCELED and not pending.cancelled
            pending.finish()
            if result:
                result = errno.ETIMEDOUT if timed_out else self.calls.failure("connect", result).errno
            contained("connect", connected, result)

        pending = RingPending(ring, lambda: ring.queue_socket(
            "connect", self._lib.IORING_OP_CONNECT, fd, results, address=ring.address(memory), offset=len(address),
            timeout=timeout, memory=(memory, address),
        ))  # fmt: skip
        return pending

    def accept(self, fd: int, accepted: Accepted) -> Pending:
        ring = self._ring(fd)

        def results(result: int, flags: int) -> None:
            if result >= 0:
                try:
                    contained("accept", accepted, self.calls.check_fd(result), 0)
                except SyscallError:
                    result = -errno.EAGAIN
            if not flags & self._more:
                code = 0 if -result in TRANSIENT else self._error("accept", result)
                if error := pending.ended(code):
                    contained("accept", accepted, -1, error)

        pending = RingPending(ring, lambda: ring.queue_socket(
            "accept", self._lib.IORING_OP_ACCEPT, fd, results, flags=int(socket.SOCK_CLOEXEC),
            priority=self._lib.IORING_ACCEPT_MULTISHOT, repeats=True,
        ), repeats=True)  # fmt: skip
        return pending

    def receive(self, fd: int, received: Received) -> Pending:
        ring = self._ring(fd)
        broken = False

        def results(result: int, flags: int) -> None:
            nonlocal broken
            if result > 0 and not broken:
                data = self._take_buffer(ring, result, flags)
                if data is None:  # bytes are lost: nothing that comes later is worth anything
                    broken = True
                    pending.cancel()
                else:
                    contained("receive", received, data, 0)
            if flags & self._more:
                return
            if broken:
                pending.finish()
                contained("receive", received, b"", errno.EIO)
            elif result == 0:
                pending.finish()
                contained("receive", received, b"", 0)
            elif error := pending.ended(self._error("recv", result)):
                contained("receive", received, b"", error)

        pending = RingPending(ring, lambda: ring.queue_socket(
            "recv", self._lib.IORING_OP_RECV, fd, results, priority=self._lib.IORING_RECV_MULTISHOT, select=True,
            repeats=True,
        ), repeats=True)  # fmt: skip
        return pending

    def receive_datagrams(self, fd: int, arrived: Arrived) -> Pending:
        ring = self._ring(fd)

        def results(result: int, flags: int) -> None:
            if result >= 0 and flags & self._selected:
                data = self._take_buffer(ring, result, flags)
                datagram = None if data is None else self._parse_datagram(data)
                if datagram is not None:
                    contained("receive", arrived, datagram, 0)
            if not flags & self._more and (error := pending.ended(self._error("recvmsg", result))):
                contained("receive", arrived, None, error)

        pending = RingPending(ring, lambda: ring.queue_socket(
            "recvmsg", self._lib.IORING_OP_RECVMSG, fd, results, address=ring.address(self._datagram_head), length=1,
            priority=self._lib.IORING_RECV_MULTISHOT, select=True, repeats=True, memory=self._datagram_head,
        ), repeats=True)  # fmt: skip
        return pending

    def send(self, fd: int, pieces: Sequence[Piece], sent: Sent, flags: int = 0) -> Pending:
        ring = self._ring(fd)
        size = sum(map(len, pieces))
        count = 0

        def results(result: int, completion: int) -> None:
            # Without a copy the result comes first, and a notification when the memory is free again.
            nonlocal count
            if not completion & self._notification:
                count = result
            if completion & self._more:
                return
            pending.finish()
            error = self._error("send", count)
            if not error and not (0 < count <= size or count == size):
                error = self.calls.refuse("send", count).errno
            taken = 0 if error else count
            self.counters.bytes_out += taken
            contained("send", sent, taken, error)

        code, where, length, memory = self._message(ring, pieces, bool(flags & MSG_ZEROCOPY))
        flags = flags & ~MSG_ZEROCOPY | MSG_WAITALL | MSG_NOSIGNAL
        pending = RingPending(ring, lambda: ring.queue_socket(
            "send", code, fd, results, address=where, length=length, flags=flags,
            repeats=code == self._lib.IORING_OP_SEND_ZC, memory=(memory, pieces),
        ))  # fmt: skip
        return pending

    def _message(self, ring: Ring, pieces: Sequence[Piece], zero_copy: bool) -> tuple[int, int, int, object]:
        """How to send the pieces: the operation, its address and length, and the memory to keep."""
        lib, ffi = self._lib, self._ffi
        memory = [ffi.from_buffer(piece) for piece in pieces]
        if len(pieces) == 1:
            code = lib.IORING_OP_SEND_ZC if zero_copy else lib.IORING_OP_SEND
            return code, ring.address(memory[0]), len(pieces[0]), memory
        vector = ffi.new("struct iovec[]", [(part, len(part)) for part in memory])
        head = ffi.new("struct msghdr *", {"msg_iov": vector, "msg_iovlen": len(pieces)})
        return lib.IORING_OP_SENDMSG, ring.address(head), 1, (memory, vector, head)

    def close(self, fd: int) -> None:
        def results(result: int, flags: int) -> None:
            # Never again, whatever the host says: the number may be somebody else's by now.
            if result < 0:
                log.warning("close(%d): %s", fd, os.strerror(-result))

        self.calls.descriptors.discard(fd)
        self._ring(fd).queue_socket("close", self._lib.IORING_OP_CLOSE, fd, results)

    # -- what the host has put into a buffer ----------------------------------------------

    def _take_buffer(self, ring: Ring, size: int, flags: int) -> bytes | None:
        """The first ``size`` bytes of the buffer that a completion names; None when that can't be true."""
        number = flags >> self._shift
        buffer = ring.buffer(number) if flags & self._selected else self._ffi.NULL
        if buffer == self._ffi.NULL or size > BUFFER_SIZE:
            self.calls.refuse("recv", (size, flags))
            return None
        data: bytes = self._ffi.buffer(buffer, size)[:]
        ring.give_back(number)
        self.counters.bytes_in += size
        self.counters.copies += size
        return data

    def _parse_datagram(self, data: bytes) -> Any:
        """The datagram behind a ``struct io_uring_recvmsg_out`` and the sender's address."""
        if len(data) < self._head_size:
            self.calls.refuse("recvmsg", len(data))
            return None
        name_size = int.from_bytes(data[:4], "little")
        control_size = int.from_bytes(data[4:8], "little")
        payload_size = int.from_bytes(data[8:12], "little")
        control = self._head_size + SOCKADDR_IN6
        start = control + CONTROL_ROOM
        payload = data[start:]
        if name_size > SOCKADDR_IN6 or control_size > CONTROL_ROOM or payload_size < len(payload):
            self.calls.refuse("recvmsg", (name_size, control_size, payload_size))
            return None
        self.counters.bytes_in -= len(data)  # counted with the datagram, without its head
        sender = data[self._head_size : self._head_size + name_size]
        return self._checked_datagram(payload, sender, data[control : control + control_size])

    def _flush_later(self) -> None:
        self.boundary.flush_later()
