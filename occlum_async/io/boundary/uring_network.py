"""The host's network over the io_uring: operations that repeat are submitted once, and leave in batches.

Received bytes come in buffers that were provided beforehand and are given back as soon as they are copied, so an
idle connection costs no memory and a busy one no submission. Everything that is started during a turn of the event
loop leaves in one exit at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...abi.socket import MSG_NOSIGNAL, MSG_WAITALL, SOCKADDR_IN6
from .network import (
    CONNECT_MAX,
    CONTROL_ROOM,
    MSG_ZEROCOPY,
    Accepted,
    Arrived,
    Connected,
    HostNetwork,
    Pending,
    Piece,
    Received,
    Sent,
)
from .socket_operations import Accepting, Closing, Connecting, Receiving, ReceivingDatagrams, Sending

if TYPE_CHECKING:
    from .ring import Ring
    from .uring import UringBoundary

# Of a receive buffer. Holds the largest UDP datagram with its header and its sender's address.
BUFFER_SIZE = 66 << 10
# Pieces that are no more than this in all are joined: that costs less than to describe them to the host.
JOIN_MAX = 16 << 10


class UringNetwork(HostNetwork):
    """Sockets of the host behind one ring or several; a socket always uses the same one."""

    def __init__(self, boundary: UringBoundary, rings: Sequence[Ring]) -> None:
        super().__init__(boundary)
        self.boundary = boundary
        self._rings = rings
        for ring in rings:
            ring.provide(boundary.options.buffers, BUFFER_SIZE)
        self._lib, self._ffi = lib, _ = rings[0].lib, rings[0].ffi
        self.selected, self.notification = lib.IORING_CQE_F_BUFFER, lib.IORING_CQE_F_NOTIF
        self.more_waits = lib.IORING_CQE_F_SOCK_NONEMPTY
        self._shift = lib.IORING_CQE_BUFFER_SHIFT
        # One header serves all repeated receives of datagrams: the host only reads the sizes in it.
        self.datagram_head = self._ffi.new(
            "struct msghdr *", {"msg_namelen": SOCKADDR_IN6, "msg_controllen": CONTROL_ROOM}
        )
        self._head_size = self._ffi.sizeof("struct io_uring_recvmsg_out")

    def ring(self, fd: int) -> Ring:
        """The ring of a socket."""
        return self._rings[fd % len(self._rings)]

    def error(self, name: str, result: int) -> int:
        """The errno of a negative result, 0 for any other; EIO for what is none."""
        return self.calls.failure(name, result).errno if result < 0 else 0

    # -- operations ------------------------------------------------------------------

    def connect(self, fd: int, address: bytes, connected: Connected, timeout: float = CONNECT_MAX) -> Pending:
        ring = self.ring(fd)
        memory = self._ffi.from_buffer(address)
        pending = Connecting(self, fd, connected, (memory, address))
        ring.push(
            "connect", pending, self._lib.IORING_OP_CONNECT, fd, ring.address(memory), offset=len(address),
            timeout=timeout,
        )  # fmt: skip
        return pending

    def accept(self, fd: int, accepted: Accepted) -> Pending:
        return Accepting(self, fd, accepted)

    def receive(self, fd: int, received: Received) -> Pending:
        return Receiving(self, fd, received)

    def receive_datagrams(self, fd: int, arrived: Arrived) -> Pending:
        return ReceivingDatagrams(self, fd, arrived)

    def send(self, fd: int, pieces: Sequence[Piece], sent: Sent, flags: int = 0) -> Pending:
        size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        zero_copy = bool(flags & MSG_ZEROCOPY) and len(pieces) == 1
        flags = flags & ~MSG_ZEROCOPY | MSG_WAITALL | MSG_NOSIGNAL
        if size <= JOIN_MAX and not zero_copy:
            data = pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else b"".join(pieces)
            pending = Sending(self, fd, sent, size, data, False)
            pending.ring.push_send(pending, fd, data, flags)
            return pending
        ring = self.ring(fd)
        code, where, length, memory = self._message(ring, pieces, zero_copy)
        pending = Sending(self, fd, sent, size, (memory, pieces), zero_copy)
        ring.push("send", pending, code, fd, where, length, 0, flags)
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
        self.calls.descriptors.discard(fd)
        self.ring(fd).push("close", Closing(fd), self._lib.IORING_OP_CLOSE, fd)

    # -- what the host has put into a buffer ----------------------------------------------

    def take_buffer(self, ring: Ring, size: int, flags: int) -> bytes | memoryview | None:
        """The first ``size`` bytes of the buffer that a completion names; None when that can't be true."""
        data = ring.take_buffer(flags >> self._shift, size) if flags & self.selected else None
        if data is None:
            self.calls.refuse("recv", (size, flags))
            return None
        counters = self.counters
        counters.bytes_in += size
        if isinstance(data, bytes):
            counters.copies += size
        return data

    def parse_datagram(self, data: bytes) -> Any:
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
