"""The host's end of a TCP connection: the peer that a socket inside has when the other side is outside.

A connection with the outside is an ordinary TCP connection in memory whose one end is a ``Wire``. What the socket
inside sends lies in the wire's inbox until the host has taken it; what the host receives is pushed into the socket's
inbox. So all that TCP sockets can do is done once, in ``tcp``, and readiness never asks the host.

Bounds: the wire takes no more from the host while ``HIGH`` bytes wait inside, and the socket can't send more while
its own send limit and the wire's receive limit are full.
"""

from __future__ import annotations

import errno
import logging
import socket as s
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.socket import INT, MSG_OOB, SHUT_BOTH, SHUT_SEND, SOL_IP, SOL_IPV6, SOL_TCP, InetAddress
from ..boundary.network import MSG_ZEROCOPY, PIECES_MAX, SEND_MAX, HostNetwork, Pending, Piece, reset_on_close
from .hostoptions import pass_option, passes
from .ipoptions import IP_MTU, IPV6_MTU
from .memory import PRESSED
from .ports import is_loopback
from .tcp import CLOSE_WAIT, ESTABLISHED, TcpSocket
from .tcpoptions import CLOSE
from .urgent import MarkedReceive

if TYPE_CHECKING:
    import asyncio

    from .stack import NetworkStack

log = logging.getLogger(__name__)

# Bytes that wait inside: from HIGH on nothing more is taken from the host, until fewer than LOW are left.
HIGH, LOW = 1 << 20, 256 << 10
RECEIVE_LIMIT = 256 << 10
# Seconds that the host may take to take what a closed socket had sent.
ORPHAN = 60.0
# A copy less is worth the host's trouble from here on, and not on the way to the host itself.
ZERO_COPY_MIN = 32 << 10
# Who sends more than that sends a stream, of which the more the better leaves at once.
GATHER_MIN = 16 << 10
# Corked bytes wait until there are so many, or for so many seconds, as on Linux.
CORK_MAX, CORK_TIME = 32 << 10, 0.2


class Wire(TcpSocket):
    """One connection with the outside. It owns the host's descriptor ``fd``.

    Invariant: at most one send and one receive are under way, and the descriptor is closed when neither is.
    """

    def __init__(self, stack: NetworkStack, network: HostNetwork, fd: int, family: int) -> None:
        super().__init__(stack, family)
        self.network = network
        self.fd = fd
        self.receive_limit = RECEIVE_LIMIT
        self._receiving: Pending | None = None
        self._sending: Pending | None = None
        self._deferred = False
        # Whether urgent data comes in line from the host, at its mark.
        self._marked = False
        # TCP_CORK, or MSG_MORE with what was sent last: short pieces wait for more, but not for ever.
        self._corked = False
        self._more = False
        self._uncork: asyncio.TimerHandle | None = None
        self._end_sent = False
        self._leaving = False
        self._orphan: asyncio.TimerHandle | None = None
        # Called when the descriptor is closed.
        self.on_closed: list[Callable[[], None]] = []
        self.waiters.add(self._woken)

    def attach(self, inside: TcpSocket) -> None:
        """Become the peer of ``inside``: from now on bytes flow."""
        self.name = InetAddress(inside.destination.host, inside.destination.port) if inside.destination else self.name
        self.destination = InetAddress(inside.name.host, inside.name.port)
        self._corked = bool(inside.option(s.TCP_CORK, SOL_TCP))
        self.join(inside)
        self._receive()

    @property
    def state(self) -> int:
        """A wire can be reset until it leaves."""
        return CLOSE if self._leaving else ESTABLISHED

    @property
    def window(self) -> int:
        """What waits here was not received by anybody."""
        return 0

    @property
    def busy(self) -> bool:
        """Whether bytes or an end are still on their way to the host."""
        return bool(self.inbox) or self._leaving or (self.finished and not self._end_sent)

    def table_row(self) -> dict[str, object]:
        """A wire is nobody's socket."""
        return {}

    # -- from the host -------------------------------------------------------------

    def _receive(self) -> None:
        if self._receiving is not None or self._leaving or self.shut & SHUT_SEND:
            return
        inside = self.peer
        if inside is None or not inside.wants_urgent or not self._keep_mark():
            self._receiving = self.network.receive(self.fd, self._received)
            return
        self._receiving = MarkedReceive(
            self.scheduler, self.network, self.stack.outside.poll, self.fd, self._received_marked
        )

    def _keep_mark(self) -> bool:
        """Have urgent data come in line from now on; False where the host does not want to."""
        if not self._marked:
            try:
                self.network.set_option(self.fd, s.SOL_SOCKET, s.SO_OOBINLINE, INT.pack(1))
            except SyscallError as error:
                log.debug("SO_OOBINLINE: %s", error)
                return False
            self._marked = True
        return True

    def peer_wants_urgent(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()  # and begun again, with the mark

    def _received_marked(self, data: bytes, error: int, urgent: bool) -> None:
        inside = self.peer
        if urgent and data and inside is not None and not inside.closed and not self._leaving:
            self._push_urgent(inside, data[:1], None)
            data = data[1:]
            if not data:
                return
        self._received(data, error)

    def _received(self, data: bytes | memoryview, error: int) -> None:
        if data:
            inside = self.peer
            if self._leaving or inside is None:
                return
            if inside.closed:  # nobody will read it, and the other side is told so
                self._reset(errno.ECONNRESET)
                return
            self._push(inside, data, None)
            if self.sent >= (PRESSED if self.stack.memory.pressed else HIGH) and self._receiving is not None:
                self._receiving.cancel()
            return
        self._receiving = None
        if error == errno.ECANCELED or self._leaving:
            self._receive_again()
            self._close_when_idle()
        elif error:
            self._break(error)
        else:
            self.shut |= SHUT_SEND
            self._part(reset=False)
            self._woken(0)

    def uncharge(self, size: int) -> None:
        """The socket inside has read."""
        self.sent -= size
        self.stack.memory.uncharge(size)
        self._receive_again()

    def relieved(self) -> None:
        self._receive_again()

    def _receive_again(self) -> None:
        """Go on to take from the host if little enough waits inside."""
        if self._receiving is None and self.connected and self.sent < (PRESSED if self.stack.memory.pressed else LOW):
            self._receive()

    # -- to the host ---------------------------------------------------------------

    def _woken(self, events: int) -> None:
        """The socket inside has sent something, or shut down, or closed."""
        self._more = False
        if not self._deferred and not self._leaving:
            self._deferred = True
            self.network.defer(self._forward, self.peer is not None and self.peer.sent < GATHER_MIN)

    def _forward(self) -> None:
        self._deferred = False
        if self._sending is not None or self._leaving or self._holds_back():
            return
        if self.inbox:
            pieces, flags = self._pieces()
            self._sending = self.network.send(self.fd, pieces, self._sent, flags)
            if self.peer is None or self.peer.closed:
                self._watch_orphan()
        elif self.finished:
            self._end()

    def more_comes(self) -> None:
        """MSG_MORE: what was just sent may wait for what follows."""
        self._more = True

    def _holds_back(self) -> bool:
        """Whether what is there waits for more: until it is worth a segment, or CORK_TIME is over."""
        inside = self.peer
        wanted = (self._corked or self._more) and bool(self.inbox) and not self.finished and inside is not None
        if not wanted or inside.sent >= CORK_MAX or self.urgent is not None:  # type: ignore[union-attr]
            if self._uncork is not None:
                self._uncork.cancel()
                self._uncork = None
            return False
        if self._uncork is None:
            self._uncork = self.scheduler.loop.call_later(CORK_TIME, self._cork_time_over)
        return True

    def _cork_time_over(self) -> None:
        corked, self._corked, self._more, self._uncork = self._corked, False, False, None
        self._forward()
        self._corked = corked

    def _pieces(self) -> tuple[list[Piece], int]:
        """What to send next: everything up to the limits; the urgent byte by itself."""
        pieces: list[Piece] = []
        size = 0
        for chunk in self.inbox:
            if chunk.urgent:
                if pieces:
                    break
                return [chunk.data], MSG_OOB
            if len(pieces) == PIECES_MAX or size + len(chunk.data) > SEND_MAX:
                break
            if chunk.data:
                pieces.append(chunk.data)
                size += len(chunk.data)
        worth = len(pieces) == 1 and size >= ZERO_COPY_MIN and not is_loopback(self.name.host)
        return pieces or [b""], MSG_ZEROCOPY if worth else 0

    def _sent(self, count: int, error: int) -> None:
        self._sending = None
        while self.inbox and (count or not self.inbox[0].data):
            chunk = self.inbox[0]
            if len(chunk.data) <= count:
                count -= len(chunk.data)
                self._drop_first()
            else:
                self._shorten(chunk, count)
                break
        if self._leaving:
            self._close_when_idle()
        elif error:
            self._break(error)
        elif self.inbox or self.finished:
            self._forward()

    def _end(self) -> None:
        """Everything was sent, and no more will come."""
        inside = self.peer
        if inside is None or inside.closed:
            self._leave()
        elif not self._end_sent:
            self._end_sent = True
            try:
                self.network.shut_down(self.fd, s.SHUT_WR)
            except SyscallError as error:
                log.debug("shutdown: %s", error)

    # -- ending --------------------------------------------------------------------

    def _break(self, error: int) -> None:
        """The host says that the connection is broken."""
        inside = self.peer
        if inside is not None and inside.connected and not inside.closed:
            if error == errno.EPIPE:
                error = errno.EPIPE if inside.state == CLOSE_WAIT else errno.ECONNRESET
            inside._reset(error)
        self.connected = False
        self._leave()

    def _reset(self, error: int) -> None:
        """The socket inside resets the connection, or is gone with bytes unread."""
        if self._leaving:
            return
        self.connected = False
        if self.inbox and self._sending is None:
            # What it had sent before would be on its way already: so let go what the host takes at once.
            pieces, flags = self._pieces()
            self._sending = self.network.send(self.fd, pieces, self._sent, flags)
        reset_on_close(self.network, self.fd)
        self._leave()
        if self._sending is not None:
            self._sending.cancel()

    def _leave(self) -> None:
        """Give the connection up: what is under way ends, then the descriptor is closed."""
        self._leaving = True
        self.shut = SHUT_BOTH
        for timer in (self._orphan, self._uncork):
            if timer is not None:
                timer.cancel()
        self._orphan = self._uncork = None
        if self._receiving is not None:
            self._receiving.cancel()
        self._close_when_idle()

    def _close_when_idle(self) -> None:
        if not self._leaving or self._receiving is not None or self._sending is not None or self.closed:
            return
        self.drop_queue()
        self.network.close(self.fd)
        self.closed = True
        self.stack.forget(self)
        for tell in self.on_closed:
            tell()

    def _watch_orphan(self) -> None:
        """A closed socket's bytes are sent all the same, but not for ever."""
        if self._orphan is None:
            self._orphan = self.scheduler.loop.call_later(ORPHAN, self._reset, errno.ETIMEDOUT)

    # -- options -------------------------------------------------------------------

    def peer_option_set(self, level: int, name: int) -> None:
        inside = self.peer
        if inside is None or self._leaving:
            return
        if (level, name) == (SOL_TCP, s.TCP_CORK):
            self._corked = bool(inside.option(s.TCP_CORK, SOL_TCP))
            self._woken(0)
        elif passes(inside, level, name):
            pass_option(self.network, self.fd, inside, level, name)

    def ask(self, level: int, name: int) -> bytes:
        """An option of the host's connection; b"" when that is given up."""
        if self._leaving:
            return b""
        if level in (SOL_IP, SOL_IPV6):
            # The family of the descriptor decides which of the two the host knows.
            level, name = (SOL_IP, IP_MTU) if len(self.name.host) == 4 else (SOL_IPV6, IPV6_MTU)
        try:
            return self.network.get_option(self.fd, level, name)
        except SyscallError:
            return b""
