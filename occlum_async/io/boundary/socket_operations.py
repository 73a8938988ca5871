"""Operations of sockets under way on a ring: what each makes of its completions."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from .network import TRANSIENT, Pending, Sent, contained
from .ring import Operation

if TYPE_CHECKING:
    from .uring_network import UringNetwork

log = logging.getLogger(__name__)

STALL = 0.1  # seconds

# The host has ended a repeating operation without anything being wrong: its buffers or its queue were full.
PASSING = frozenset((0, errno.ENOBUFS, errno.EINTR, errno.EAGAIN))


class RingPending(Operation, Pending):
    """An operation of a socket. An error of who is told the last result is the ring's to log, see ``Ring.take``."""

    __slots__ = ("cancelled", "fd", "network", "over", "ring", "tell")

    def __init__(
        self, network: UringNetwork, fd: int, tell: Callable[..., None], memory: object = None, repeats: bool = False
    ) -> None:
        Operation.__init__(self, memory, repeats)
        self.network = network
        self.ring = network.ring(fd)
        self.fd = fd
        self.tell = tell
        self.cancelled = self.over = False

    def cancel(self) -> None:
        if not self.over and not self.cancelled:
            self.cancelled = True
            self.ring.queue_cancel(self)

    def finish(self, *answer: object) -> None:
        """It is over: tell how."""
        self.over = True
        self.tell(*answer)


class Repeating(RingPending):
    """An operation with many results. It is started again where the host ended it for a reason of its own."""

    __slots__ = ()

    def __init__(self, network: UringNetwork, fd: int, tell: Callable[..., None]) -> None:
        super().__init__(network, fd, tell, repeats=True)
        self.start()

    def start(self) -> None:
        """Queue it."""
        raise NotImplementedError

    def ended(self, error: int, nothing: object) -> None:
        """The host ended it with ``error`` (0: without): start it again, or tell ``nothing`` and the error."""
        if error not in PASSING:
            self.finish(nothing, error)
        elif self.cancelled:
            self.finish(nothing, errno.ECANCELED)
        else:
            self.start()


class Connecting(RingPending):
    """connect(2)."""

    __slots__ = ()

    def completed(self, result: int, flags: int) -> None:
        if result == -errno.ECANCELED and not self.cancelled:
            result = -errno.ETIMEDOUT
        self.finish(self.network.calls.failure("connect", result).errno if result else 0)


class Accepting(Repeating):
    """accept(2), again and again."""

    __slots__ = ()

    def start(self) -> None:
        lib = self.ring.lib
        self.ring.push("accept", self, lib.IORING_OP_ACCEPT, self.fd, flags=int(socket.SOCK_CLOEXEC),
                       priority=lib.IORING_ACCEPT_MULTISHOT)  # fmt: skip

    def completed(self, result: int, flags: int) -> None:
        if result >= 0:
            try:
                contained("accept", self.tell, self.network.calls.check_fd(result), 0)
            except SyscallError:
                result = -errno.EAGAIN
        if self.done:
            self.ended(0 if -result in TRANSIENT else self.network.error("accept", result), -1)


class Receiving(Repeating):
    """recv(2), again and again, into provided buffers.

    A host that said that there is more, and then brings nothing, has lost its way at an urgent mark (Linux 6.18: a
    receive that finds itself there while its task has other work says EAGAIN, and nothing wakes it again). So what is
    announced and does not come within ``STALL`` seconds is asked for anew.
    """

    __slots__ = ("announced", "broken", "results", "watched")

    def start(self) -> None:
        lib = self.ring.lib
        self.broken = self.announced = self.watched = False
        self.results = 0
        self.ring.push("recv", self, lib.IORING_OP_RECV, self.fd, priority=lib.IORING_RECV_MULTISHOT, select=True)

    def completed(self, result: int, flags: int) -> None:
        if result > 0 and not self.broken:
            data = self.network.take_buffer(self.ring, result, flags)
            if data is None:  # bytes are lost: nothing that comes later is worth anything
                self.broken = True
                self.cancel()
            else:
                contained("receive", self.tell, data, 0)
        if not self.done:
            self.results += 1
            self.announced = bool(flags & self.network.more_waits)
            if self.announced and not self.watched:
                self._watch()
            return
        if self.broken:
            self.finish(b"", errno.EIO)
        elif result == -errno.ECANCELED and not self.cancelled:
            self.start()
        elif result == 0:
            self.finish(b"", 0)
        else:
            self.ended(self.network.error("recv", result), b"")

    def _watch(self) -> None:
        self.watched = True
        self.ring.loop.call_later(STALL, self._look_again, self.number, self.results)

    def _look_again(self, number: int, results: int) -> None:
        if self.done or self.cancelled or number != self.number:
            return
        if not self.announced:
            self.watched = False
        elif results == self.results:
            self.ring.queue_cancel(self)
        else:
            self._watch()


class ReceivingDatagrams(Repeating):
    """recvmsg(2), again and again, into provided buffers."""

    __slots__ = ()

    def start(self) -> None:
        lib = self.ring.lib
        head = self.network.datagram_head
        self.memory = head
        self.ring.push("recvmsg", self, lib.IORING_OP_RECVMSG, self.fd, self.ring.address(head), 1,
                       priority=lib.IORING_RECV_MULTISHOT, select=True)  # fmt: skip

    def completed(self, result: int, flags: int) -> None:
        if result >= 0 and flags & self.network.selected:
            data = self.network.take_buffer(self.ring, result, flags)
            datagram = None if data is None else self.network.parse_datagram(bytes(data))
            if datagram is not None:
                contained("receive", self.tell, datagram, 0)
        if self.done:
            self.ended(self.network.error("recvmsg", result), None)


class Sending(RingPending):
    """send(2) of ``size`` bytes."""

    __slots__ = ("count", "size")

    def __init__(self, network: UringNetwork, fd: int, tell: Sent, size: int, memory: object, repeats: bool) -> None:
        RingPending.__init__(self, network, fd, tell, memory, repeats)
        self.count = 0
        self.size = size

    def completed(self, result: int, flags: int) -> None:
        # Without a copy the result comes first, and a notification when the memory is free again.
        if not flags & self.network.notification:
            self.count = result
        if not self.done:
            return
        count, error = self.count, 0
        if not (0 < count <= self.size or count == self.size):
            error = self.network.error("send", count) or self.network.calls.refuse("send", count).errno
            count = 0
        self.network.counters.bytes_out += count
        self.finish(count, error)


class Closing(Operation):
    """close(2). Nobody is told."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        super().__init__(None)
        self.fd = fd

    def completed(self, result: int, flags: int) -> None:
        # Never again, whatever the host says: the number may be somebody else's by now.
        if result < 0:
            log.warning("close(%d): %s", self.fd, errno.errorcode.get(-result, result))
