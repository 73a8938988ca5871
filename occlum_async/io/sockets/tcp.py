"""TCP over loopback: connections between processes of the LibOS, as streams in memory."""

from __future__ import annotations

import errno
import itertools
from typing import TYPE_CHECKING, Any, Protocol

from ...abi.errors import SyscallError
from ...abi.socket import (
    MSG_ERRQUEUE,
    MSG_FASTOPEN,
    MSG_MORE,
    SHUT_BOTH,
    SHUT_RECEIVE,
    SHUT_SEND,
    SIOCATMARK,
    SOCK_STREAM,
    InetAddress,
)
from ...abi.user import UserPointer
from ..file import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, POLLRDNORM, POLLWRNORM
from .memory import PRESSED
from .ports import PortTable
from .socket import WRITABLE, Ancillary, Received
from .stamps import stamp_messages
from .stream import ByteStream, Gathered
from .tcpoptions import CLOSE, LISTEN, TcpOptions
from .urgent import UrgentQueue

if TYPE_CHECKING:
    from .stack import NetworkStack

IPPROTO_TCP = 6
SEND_INITIAL, SEND_GROWN, RECEIVE_DEFAULT = 16384, 2626560, 131072

# What poll(2) tells of bytes that wait and of room for more.
DATA, ROOM = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM

ESTABLISHED, SYN_SENT, FIN_WAIT2, CLOSE_WAIT = 1, 2, 5, 8


class Attempt(Protocol):
    """A connect that could not be decided at once: it ends with ``TcpSocket.established`` or ``refused``."""

    def cancel(self) -> None:
        """Nobody wants to know any more."""


class BacklogAttempt:
    """A connect that waits for room in a listener's backlog."""

    def __init__(self, socket: TcpSocket, listener: TcpSocket) -> None:
        self._socket = socket
        self._listener = listener
        self._waiter = listener.vacancy.add(self._retry, exclusive=True)

    def cancel(self) -> None:
        self._listener.vacancy.remove(self._waiter)

    def _retry(self, events: int) -> bool:
        """The backlog has changed. False when that was of no use."""
        socket, listener = self._socket, self._listener
        if socket.pending is not self:
            return False
        if not listener.accepting():
            socket.refused(errno.ECONNREFUSED)
            return False
        if listener.backlog_full:
            return False
        socket.forget_attempt()
        socket.meet(listener)
        socket.waiters.wake()
        return True


class TcpSocket(TcpOptions, ByteStream):
    """A TCP socket. Invariant: ``pending`` is set while a connect waits for its end."""

    type = SOCK_STREAM

    def __init__(self, stack: NetworkStack, family: int) -> None:
        super().__init__(stack, family, IPPROTO_TCP)
        self.send_limit, self.receive_limit = SEND_INITIAL, RECEIVE_DEFAULT
        # Whether the program has shown interest in urgent data: the queue tells of those who wait for it.
        self.wants_urgent = False
        self.waiters = UrgentQueue(self.want_urgent)
        # A connect that was not waited for: the next connect tells how it ended.
        self.connecting = False
        self.pending: Attempt | None = None

    @property
    def ports(self) -> PortTable:
        return self.stack.tcp_ports

    @property
    def full_at(self) -> int:
        full = self.send_limit + (self.peer.receive_limit if self.peer is not None else 0)
        return min(full, PRESSED) if self.stack.memory.pressed else full

    @property
    def window(self) -> int:
        """Bytes that count as received; what waits here beyond them waits at the sender, as tables show it."""
        return self.receive_limit

    @property
    def writable_at(self) -> int:
        # The kernel reports room once a third of the buffer is free.
        return self.full_at * 2 // 3

    @property
    def state(self) -> int:
        """The connection's state by its number in /proc/net/tcp."""
        if self.accepting():
            return LISTEN
        if self.pending is not None:
            return SYN_SENT
        if not self.connected or (self.finished and self.shut & SHUT_SEND):
            return CLOSE
        if self.finished:
            return CLOSE_WAIT
        return FIN_WAIT2 if self.shut & SHUT_SEND else ESTABLISHED

    def remote(self) -> bytes:
        if self.state in (CLOSE, SYN_SENT):
            raise SyscallError(errno.ENOTCONN)
        return super().remote()

    def origin(self) -> bytes:
        return super().remote()

    # -- connecting ------------------------------------------------------------

    async def admit_listen(self) -> None:
        if not self.name.port:
            await self.admit_bind(self.name)

    def listen(self, backlog: int) -> None:
        if self.connected or self.pending is not None:
            raise SyscallError(errno.EINVAL)
        if not self.accepting():
            self.autobind(claim=True)
            if self.ports.check_listening and self._port_listened():
                raise SyscallError(errno.EADDRINUSE)
            self.stack.outside.listen(self, backlog)
        self.start_listening(backlog)

    def _port_listened(self) -> bool:
        """Whether a socket that shares this port (SO_REUSEADDR) listens already, and excludes this one."""
        return self.ports.conflicts(self, self.name.host, self.name.port)

    async def connect(self, address: InetAddress | None) -> None:
        if address is None:
            self._dissolve()
            return
        if self.accepting() or (self.connected and not self.connecting):
            raise SyscallError(errno.EISCONN)
        resumed = self.connecting
        if not resumed:
            self._start(address)
            self.connecting = True
            if self.nonblocking:
                raise SyscallError(errno.EINPROGRESS)
        elif self.pending is not None and self.nonblocking:
            raise SyscallError(errno.EALREADY)
        await self._wait_connected()
        self.connecting = False
        if not self.connected:
            error = self.take_error() or errno.ECONNABORTED
            self._dissolve()
            raise SyscallError(error)

    def _start(self, address: InetAddress) -> None:
        destination, source = self.route(address)
        if destination.port == 0:
            raise SyscallError(errno.ECONNREFUSED)
        listeners = self.stack.listeners(destination)
        outside = not listeners and self.stack.outside.takes(self, destination)
        if not outside:
            self.autobind()
            if self.reuse_address and self._taken(source, destination):
                raise SyscallError(errno.EADDRNOTAVAIL)
        self.name = InetAddress(source, self.name.port)
        self.destination = destination
        self.shut = self.error = 0
        if outside:
            self.pending = self.stack.outside.connect(self, destination)
            return
        if not listeners:
            self._reset(errno.ECONNREFUSED)
            return
        listener = listeners[self.name.port % len(listeners)]
        if listener.backlog_full:
            self.pending = BacklogAttempt(self, listener)
        else:
            self.meet(listener)

    def _taken(self, source: bytes, destination: InetAddress) -> bool:
        """Whether the very same connection exists already."""
        return any(
            other is not self and other.name.host == source and other.destination is not None
            and other.destination[:2] == destination[:2]
            for other in self.ports.bound.get(self.name.port, ())
        )  # fmt: skip

    def established(self, local: InetAddress) -> None:
        """The attempt has led outside: ``local`` is this end's address there."""
        self.pending = None
        if not self.name.port:
            self.ports.adopt(self, local.port)
        self.name = local
        if self.send_limit == SEND_INITIAL:
            self.send_limit = SEND_GROWN

    def refused(self, error: int) -> None:
        """The attempt has failed."""
        self.forget_attempt()
        self._reset(error)

    def forget_attempt(self) -> None:
        """Give a pending attempt up."""
        attempt, self.pending = self.pending, None
        if attempt is not None:
            attempt.cancel()

    async def _wait_connected(self) -> None:
        deadline = self.deadline(self.send_timeout)
        while self.pending is not None:
            try:
                await self.wait_ready(POLLOUT, 0, deadline)
            except SyscallError as failure:
                if failure.errno == errno.EAGAIN:
                    raise SyscallError(errno.EINPROGRESS) from None
                raise

    def meet(self, listener: TcpSocket) -> None:
        """Connect to a listener inside that has room."""
        assert self.destination is not None
        child = listener.child(
            InetAddress(self.destination.host, self.destination.port), InetAddress(self.name.host, self.name.port)
        )
        if self.send_limit == SEND_INITIAL:
            self.send_limit = SEND_GROWN  # what the kernel's auto-tuning ends with on loopback
        self.join(child)
        listener.enqueue_connection(child)

    def child(self, local: InetAddress, remote: InetAddress) -> TcpSocket:
        """The socket of a connection that this listener has got. It is nobody's peer yet."""
        self.stack.memory.check_socket()
        child = TcpSocket(self.stack, self.family)
        child.creator = self.creator
        child.options, child.congestion = dict(self.options), self.congestion
        child.send_limit, child.receive_limit = self.send_limit, self.receive_limit
        child.linger, child.low_water = self.linger, self.low_water
        child.inline_urgent, child.stamps = self.inline_urgent, self.stamps
        child.wants_urgent = self.inline_urgent
        child.name, child.destination = local, remote
        if child.send_limit == SEND_INITIAL:
            child.send_limit = SEND_GROWN
        self.ports.adopt(child, local.port)
        return child

    # -- ending ----------------------------------------------------------------

    def _reset(self, error: int) -> None:
        """The connection is broken: ``error`` is told once, then nothing more can be sent or received."""
        self.connected = False
        self.hang_up(error)

    def _dissolve(self) -> None:
        """Back to the state before connect(2); an existing connection is reset."""
        self.forget_attempt()
        self._part(reset=True)
        self.drop_queue()
        self.error = errno.ECONNRESET if self.connected else 0
        self.peer, self.destination = None, None
        self.connected = self.connecting = self.finished = False
        self.shut = self.sent = 0
        self.forget_name()
        self.waiters.wake()

    def _part(self, reset: bool) -> None:
        """Tell the peer that this end is gone."""
        peer = self.peer
        if peer is None or peer.peer is not self or not peer.connected:
            return
        if reset:
            if peer.state != CLOSE:
                peer._reset(errno.EPIPE if peer.state == CLOSE_WAIT else errno.ECONNRESET)
        else:
            peer.finished = True
            peer.end_of_input(SHUT_RECEIVE)

    def shutdown(self, how: int) -> None:
        if self.accepting():
            if how & SHUT_RECEIVE:
                self.backlog_limit = -1
                self.stack.outside.release(self)
                self.refuse_backlog()
                self.waiters.wake()
            return
        if self.pending is not None:
            self._dissolve()
            return
        if self.state == CLOSE:
            raise SyscallError(errno.ENOTCONN)
        self.shut |= how
        if how & SHUT_SEND:
            self._part(reset=False)
        self.waiters.wake()

    def close(self) -> None:
        reset = bool(self.inbox) or not self.accepted or self.linger == (1, 0)
        self.forget_attempt()
        super().close()
        self.backlog_limit = -1
        self._part(reset)
        self.drop_queue()
        self.waiters.wake()

    # -- data ------------------------------------------------------------------

    async def send(
        self, data: bytes | memoryview, flags: int = 0, address: Any = None, ancillary: Ancillary | None = None
    ) -> int:
        if flags & MSG_FASTOPEN:
            if address is None:
                raise SyscallError(errno.EOPNOTSUPP)
            await self.connect(address)  # nobody has a cookie yet: the handshake comes first
        if self.pending is not None:
            if not self._may_wait(flags):
                raise SyscallError(errno.EAGAIN)
            await self._wait_connected()
        peer = self.peer
        if self.connected and peer is not None and not self.shut & SHUT_SEND and peer.shut == SHUT_BOTH and len(data):
            # Nobody is there to take it: what comes back is a reset, too late for this call to see.
            if not peer.closed:
                peer._reset(errno.ECONNRESET)
            self._reset(errno.EPIPE if self.finished else errno.ECONNRESET)
            return len(data)
        done = await super().send(data, flags, None, ancillary)
        self.sent_without_copy(flags, done)
        if flags & MSG_MORE and self.peer is not None:
            self.peer.more_comes()
        return done

    def more_comes(self) -> None:
        """The peer has sent with MSG_MORE: of interest to the end of a connection that is the host's."""

    def check_sendable(self, flags: int, done: int) -> TcpSocket | None:
        if not self.error and self.connected and not self.shut & SHUT_SEND:
            return self.peer
        if done:
            return None
        error = self.take_error()
        if error in (0, errno.EPIPE):
            raise self.broken_pipe(flags)
        raise SyscallError(error)

    async def receive(self, size: int, flags: int = 0) -> Received:
        if flags & MSG_ERRQUEUE:
            return self.errors.take(size)
        if self.pending is not None:
            if not self._may_wait(flags):
                raise SyscallError(errno.EAGAIN)
            await self._wait_connected()
        return await super().receive(size, flags)

    def want_urgent(self) -> None:
        """The program is interested in urgent data: of interest to the end of a connection that is the host's."""
        if not self.wants_urgent:
            self.wants_urgent = True
            if self.peer is not None:
                self.peer.peer_wants_urgent()

    def peer_wants_urgent(self) -> None:
        """The peer must be told of urgent data from now on."""

    def _receive_urgent(self, flags: int) -> Received:
        self.want_urgent()
        return super()._receive_urgent(flags)

    def unread(self) -> int:
        if self.urgent is None or self.inline_urgent:
            return super().unread()
        before = itertools.takewhile(lambda chunk: chunk is not self.urgent, self.inbox)
        return sum(len(chunk.data) for chunk in before)  # up to the mark, where a read stops

    async def ioctl(self, thread: object, command: int, argument: UserPointer) -> int:
        if command == SIOCATMARK:
            self.want_urgent()
        return await super().ioctl(thread, command, argument)

    def finish(self, gathered: Gathered, flags: int) -> Received:
        received = super().finish(gathered, flags)
        if self.stamps and gathered.stamp:
            received.control += stamp_messages(self, gathered.stamp)
        return received

    def poll(self) -> int:
        if not self.connected and self.accepting():
            return DATA if self.backlog else 0
        events = POLLERR if self.error or self.errors.entries else 0
        if self.pending is not None:
            return events
        if self.shut == SHUT_BOTH or not self.connected:
            events |= POLLHUP
        if self.shut & SHUT_RECEIVE:
            events |= DATA | POLLRDHUP
        elif (
            self.inbox and (self.urgent is None or self.readable_now())
            and (self.low_water <= 1 or self.unread() >= self.low_water)
        ):  # fmt: skip
            events |= DATA
        # Nothing sent is the common case, and its limit takes longer to ask for than all else here.
        if not self.sent or self.shut & SHUT_SEND or not self.connected or self.sent <= self.writable_at:
            events |= ROOM
        return events | POLLPRI if self.urgent is not None and self.has_urgent else events

    def buffers_changed(self) -> None:
        self.waiters.wake(WRITABLE)
        if self.peer is not None:
            self.peer.waiters.wake(WRITABLE)

    # -- options ---------------------------------------------------------------

    def waiting_connections(self) -> tuple[int, int]:
        return (len(self.backlog), self.backlog_limit) if self.accepting() else (0, 0)

    def option_set(self, level: int, name: int) -> None:
        if self.inline_urgent:
            self.want_urgent()
        if self.peer is not None and self.connected:
            self.peer.peer_option_set(level, name)
        else:
            super().option_set(level, name)

    def peer_option_set(self, level: int, name: int) -> None:
        """An option of the peer was set: of interest to the end of a connection that is the host's."""

    def table_row(self) -> dict[str, Any]:
        state = self.state
        if state == CLOSE:
            return {}
        row = {**super().table_row(), "state": state, "backlog_limit": max(0, self.backlog_limit)}
        if state == LISTEN:
            row["receive_queue"], row["send_queue"] = len(self.backlog), 0
        else:
            waiting = ByteStream.unread(self.peer) if self.peer is not None else 0
            # The end of the stream counts as one byte more.
            row["receive_queue"] = min(ByteStream.unread(self), self.window) + self.finished
            row["send_queue"] = max(0, waiting - self.peer.window) if self.peer is not None else 0
        return row
