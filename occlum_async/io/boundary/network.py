"""Sockets of the host: what every boundary can do with them.

Two kinds of work. What the host answers at once (making, naming, options, a datagram to send) is a plain call,
the same in every boundary. What may take time (connect, accept, receive, send) is started here and its results
come to a function, from the event loop, until the operation is over; so a connection needs neither a thread nor
a strand of its own, and an operation that repeats (accept, receive) is submitted once.

An operation that was cancelled still tells of everything that the host had done before it heard of that, and
then ends with ECANCELED: nothing is lost, and nothing comes twice. A descriptor may be closed when none of its
operations is under way.

Addresses are ``struct sockaddr`` as bytes. Everything the host says is checked before anybody sees it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ...abi.errors import SyscallError
from ...abi.socket import AF_INET, AF_INET6, AF_NETLINK, SIOCATMARK, SOCKADDR_IN, SOCKADDR_IN6, family_of
from .calls import HostCalls

log = logging.getLogger(__name__)

# The most bytes that one send takes, and the most pieces that they may lie in.
SEND_MAX = 1 << 20
PIECES_MAX = 64
OPTION_MAX = 256
NETLINK_MAX = 64 << 10  # bytes of one datagram of rtnetlink's
# Seconds that a connect may take: longer than the 127 of Linux' default, and not as long as an attacker likes.
CONNECT_MAX = 300.0
MSG_ZEROCOPY = 0x4000000
CONTROL_ROOM = 256  # bytes of control messages that come with a datagram

IN_PROGRESS = (errno.EINPROGRESS, errno.EALREADY)
# Errors of accept(2) that concern one connection that is gone already, see accept(2).
TRANSIENT = frozenset((
    errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EPERM,
))  # fmt: skip

Piece = bytes | memoryview
# ``received(data, error)``: data, or b"" with 0 at the end of the stream, or b"" with an errno: it is over.
Received = Callable[[bytes | memoryview, int], None]
# ``connected(error)``, ``sent(count, error)``, ``accepted(fd, error)``: an error ends it, and fd is -1 then.
Connected = Callable[[int], None]
Sent = Callable[[int, int], None]
Accepted = Callable[[int, int], None]


class Datagram(NamedTuple):
    """A datagram from outside: its bytes, its sender, and its control messages as they came."""

    data: bytes
    sender: bytes
    control: bytes = b""


# ``arrived(datagram, error)``: a datagram, or None with an errno: it is over.
Arrived = Callable[[Datagram | None, int], None]

_libc = ctypes.CDLL(None, use_errno=True)
for _name in ("sendto", "sendmsg", "recvmsg", "recv"):
    getattr(_libc, _name).restype = ctypes.c_ssize_t


class Part(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class MessageHead(ctypes.Structure):
    """``struct msghdr``. Keeps what it points to alive."""

    _fields_ = (
        ("name", ctypes.c_void_p), ("name_size", ctypes.c_uint32), ("parts", ctypes.POINTER(Part)),
        ("count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )  # fmt: skip

    @classmethod
    def of(cls, data: Any, name: Any, control: Any) -> MessageHead:
        """A head for three buffers, bytes or ctypes arrays; the name and the control messages may be empty."""
        part = Part(ctypes.cast(data, ctypes.c_void_p), len(data))
        head = cls(
            ctypes.cast(name, ctypes.c_void_p) if len(name) else None, len(name), ctypes.pointer(part), 1,
            ctypes.cast(control, ctypes.c_void_p) if len(control) else None, len(control), 0,
        )  # fmt: skip
        head.kept = (data, name, control, part)
        return head


def _libc_call(name: str, *arguments: object) -> int:
    result = int(getattr(_libc, name)(*arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _named(name: str, fd: int) -> bytes:
    buffer = ctypes.create_string_buffer(SOCKADDR_IN6)
    size = ctypes.c_uint32(SOCKADDR_IN6)
    _libc_call(name, fd, buffer, ctypes.byref(size))
    return buffer.raw[: min(size.value, SOCKADDR_IN6)]


def _get_option(fd: int, level: int, name: int, room: int) -> tuple[bytes, int]:
    buffer = ctypes.create_string_buffer(max(room, 1))
    size = ctypes.c_uint32(room)
    _libc_call("getsockopt", fd, level, name, buffer, ctypes.byref(size))
    return buffer.raw[: min(size.value, room)], size.value


def _receive_now(fd: int, room: int) -> bytes:
    """What waits at a socket, as much of it as there is room for; EAGAIN when nothing does."""
    buffer = ctypes.create_string_buffer(room)
    count = _libc_call("recv", fd, buffer, ctypes.c_size_t(room), int(socket.MSG_DONTWAIT))
    return buffer.raw[: min(count, room)]


def _at_mark(fd: int) -> bool:
    return any(fcntl.ioctl(fd, SIOCATMARK, bytes(4)))


def valid_address(address: bytes) -> bool:
    """Whether ``address`` is an IPv4 or IPv6 ``struct sockaddr`` of the right length."""
    if len(address) < 2:
        return False
    family = family_of(address)
    return (family == AF_INET and len(address) == SOCKADDR_IN) or (family == AF_INET6 and len(address) == SOCKADDR_IN6)


class Pending(ABC):
    """An operation under way, until it is ``over``."""

    __slots__ = ()

    over: bool

    @abstractmethod
    def cancel(self) -> None:
        """Ask the host to end it; its function is told how it ended, later. Harmless when it is over."""


class HostNetwork(ABC):
    """The host's network, by way of the boundary whose ``calls`` count and check."""

    # Descriptors are made with this status flag: an io_uring waits by itself, plain calls must not.
    NONBLOCKING = 0

    def __init__(self, calls: HostCalls) -> None:
        self.calls = calls
        self.counters = calls.counters
        self._deferred: list[Callable[[], None]] = []
        self._early: list[Callable[[], None]] = []  # those that ``run_ripe`` may call
        self._ripe = 0  # so many of these were there when it was called last

    # -- plain calls -----------------------------------------------------------------

    def socket(self, family: int, type: int, protocol: int = 0) -> int:
        """A new socket of the host. ENFILE when this process can't have another: no program's limit is meant."""
        flags = socket.SOCK_CLOEXEC | self.NONBLOCKING
        try:
            fd = self.calls.call("socket", _libc_call, "socket", family, type | flags, protocol)
        except SyscallError as error:
            raise SyscallError(errno.ENFILE if error.errno == errno.EMFILE else error.errno) from None
        return self.calls.check_fd(fd)

    def bind(self, fd: int, address: bytes) -> None:
        """bind(2)."""
        self.calls.call("bind", _libc_call, "bind", fd, address, len(address))

    def listen(self, fd: int, backlog: int) -> None:
        """listen(2)."""
        self.calls.call("listen", _libc_call, "listen", fd, backlog)

    def associate(self, fd: int, address: bytes) -> None:
        """connect(2) of a datagram socket, which never waits; AF_UNSPEC dissolves."""
        self.calls.call("connect", _libc_call, "connect", fd, address, len(address))

    def shut_down(self, fd: int, how: int) -> None:
        """shutdown(2). No send may be under way."""
        self.calls.call("shutdown", _libc_call, "shutdown", fd, how)

    def name(self, fd: int) -> bytes:
        """getsockname(2)."""
        return self._checked_address("getsockname", self.calls.call("getsockname", _named, "getsockname", fd))

    def peer(self, fd: int) -> bytes:
        """getpeername(2)."""
        return self._checked_address("getpeername", self.calls.call("getpeername", _named, "getpeername", fd))

    def set_option(self, fd: int, level: int, name: int, value: bytes) -> None:
        """setsockopt(2)."""
        self.calls.call("setsockopt", _libc_call, "setsockopt", fd, level, name, value, len(value))

    def get_option(self, fd: int, level: int, name: int, room: int = OPTION_MAX) -> bytes:
        """getsockopt(2)."""
        value, size = self.calls.call("getsockopt", _get_option, fd, level, name, room)
        self.calls.check_count("getsockopt", size, room)
        return value

    def send_datagram(self, fd: int, data: bytes, address: bytes = b"", control: bytes = b"") -> int:
        """Send a datagram now, perhaps with control messages; EAGAIN when there is no room for it."""
        flags = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if control:
            head = MessageHead.of(data, address, control)
            count = self.calls.call("sendto", _libc_call, "sendmsg", fd, ctypes.byref(head), flags)
        else:
            size = ctypes.c_size_t(len(data))
            count = self.calls.call(
                "sendto", _libc_call, "sendto", fd, data, size, flags, address or None, len(address)
            )
        self.calls.check_count("sendto", count, len(data))
        self.counters.bytes_out += count
        return count

    def at_mark(self, fd: int) -> bool:
        """Whether the next byte to be received is the urgent one."""
        return self.calls.call("ioctl", _at_mark, fd)

    def receive_now(self, fd: int, size: int) -> bytes:
        """What has come, at most ``size`` bytes; EAGAIN when nothing has."""
        data = self.calls.call("recv", _receive_now, fd, size)
        self.calls.check_count("recv", len(data), size)
        self.counters.bytes_in += len(data)
        self.counters.copies += len(data)
        return data

    def ask_routes(self, request: bytes) -> Iterator[bytes]:
        """Put a question to rtnetlink(7); the datagrams of the answer, which the host has ready at once."""
        fd = self.socket(AF_NETLINK, socket.SOCK_RAW)
        try:
            self.send_datagram(fd, request)
            while True:
                answer = self.calls.call("recv", _receive_now, fd, NETLINK_MAX)
                self.counters.bytes_in += len(answer)
                yield answer
        except SyscallError as error:
            if error.errno != errno.EAGAIN:
                raise
        finally:
            self.close(fd)

    # -- operations ------------------------------------------------------------------

    @abstractmethod
    def connect(self, fd: int, address: bytes, connected: Connected, timeout: float = CONNECT_MAX) -> Pending:
        """Connect; ``connected(0)`` when it stands, ETIMEDOUT after ``timeout`` seconds."""

    @abstractmethod
    def accept(self, fd: int, accepted: Accepted) -> Pending:
        """Accept every connection that comes, until it is cancelled or fails."""

    @abstractmethod
    def receive(self, fd: int, received: Received) -> Pending:
        """Receive everything that comes, until the end, an error, or until it is cancelled."""

    @abstractmethod
    def receive_datagrams(self, fd: int, arrived: Arrived) -> Pending:
        """Receive every datagram that comes, until it is cancelled or fails."""

    @abstractmethod
    def send(self, fd: int, pieces: Sequence[Piece], sent: Sent, flags: int = 0) -> Pending:
        """Send the pieces (see SEND_MAX, PIECES_MAX); ``sent`` hears how many bytes were taken. They must not change.

        MSG_ZEROCOPY in ``flags`` is a wish: a single piece may then leave without a copy.
        """

    @abstractmethod
    def close(self, fd: int) -> None:
        """Close a socket that has no operation under way."""

    # -- for those who submit at the end of a turn --------------------------------------

    def defer(self, function: Callable[[], None], early: bool = False) -> None:
        """Call ``function`` once at the end of this turn of the event loop, before what is queued leaves.

        ``early``: or before, when there is nothing else to do, see ``run_ripe``.
        """
        (self._early if early else self._deferred).append(function)
        if len(self._early) + len(self._deferred) == 1:
            self._flush_later()

    @abstractmethod
    def _flush_later(self) -> None:
        """See to it that ``run_deferred`` is called at the end of this turn."""

    def run_deferred(self) -> bool:
        """Call what was deferred; True when there was something."""
        if not self._deferred and not self._early:
            return False
        deferred = self._early + self._deferred
        self._deferred, self._early, self._ripe = [], [], 0
        for function in deferred:
            function()
        return True

    def run_ripe(self) -> None:
        """Call what was deferred, and may be early, before the last call of this: its program does something else now.

        For moments in which there is nothing else to do. A program that writes in pieces still gets them sent at once.
        """
        early = self._early
        if early:
            ripe, self._early = early[: self._ripe], early[self._ripe :]
            self._ripe = len(self._early)
            for function in ripe:
                function()

    def cancel_all(self) -> None:
        """The boundary shuts down: nothing deferred is called any more."""
        self._deferred, self._early, self._ripe = [], [], 0

    # -- checks --------------------------------------------------------------------------

    def _checked_address(self, operation: str, address: bytes) -> bytes:
        if not valid_address(address):
            raise self.calls.refuse(operation, address)
        return address

    def _checked_datagram(self, data: bytes, sender: bytes, control: bytes = b"") -> Datagram | None:
        """The datagram if it can be true; one that can't is dropped, as the network may drop any."""
        if valid_address(sender):
            self.counters.bytes_in += len(data)
            return Datagram(data, sender, control)
        self.calls.refuse("recvmsg", sender)
        return None


def contained(operation: str, function: Callable[..., None], *arguments: object) -> None:
    """Call a result's function. What it raises is an oops: logged, and the next result is taken all the same."""
    try:
        function(*arguments)
    except Exception:
        log.exception("oops: the result of %s found an error", operation)


LINGER_RESET = struct.pack("<ii", 1, 0)


def reset_on_close(network: HostNetwork, fd: int) -> None:
    """Let the close of ``fd`` reset its connection."""
    try:
        network.set_option(fd, socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    except SyscallError as error:
        log.debug("SO_LINGER: %s", error)
