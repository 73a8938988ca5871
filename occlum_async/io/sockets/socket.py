"""The socket as an open file description, and what all families have in common."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ...abi.errors import Interrupted, SyscallError
from ...abi.socket import (
    FIOGETOWN,
    INT,
    MSG_DONTWAIT,
    SHUT_BOTH,
    SIOCGPGRP,
    SIOCGSTAMP,
    SIOCINQ,
    SIOCOUTQ,
    ControlMessage,
)
from ...abi.stat import S_IFSOCK, Stat
from ...abi.user import UserPointer
from ..file import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDBAND,
    POLLRDHUP,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
    File,
)
from . import interface
from .memory import LEAST_WRITABLE, PRESSED, SOCKET_COST
from .options import SocketOptions

if TYPE_CHECKING:
    from .stack import NetworkStack

SOCKFS_DEVICE = 8
READABLE = POLLIN | POLLRDNORM | POLLRDBAND
WRITABLE = POLLOUT | POLLWRNORM | POLLWRBAND
# What poll(2) tells of the directions that are shut: the index is a socket's ``shut``.
SHUT_EVENTS = (0, POLLIN | POLLRDNORM | POLLRDHUP, 0, POLLIN | POLLRDNORM | POLLRDHUP | POLLHUP)


class Identity(NamedTuple):
    """Who acts on a socket: what SO_PEERCRED, SCM_CREDENTIALS and permission checks need to know."""

    pid: int = 0
    uid: int = 0
    gid: int = 0
    euid: int = 0
    egid: int = 0
    groups: tuple[int, ...] = ()
    capabilities: int = 0

    def capable(self, capability: int) -> bool:
        """Whether the capability of that number is effective."""
        return bool(self.capabilities >> capability & 1)


class Ancillary(msgspec.Struct):
    """What travels beside the data: open files (one reference each is owned) and the sender's (pid, uid, gid)."""

    files: list[File] = msgspec.field(default_factory=list)
    credentials: tuple[int, int, int] | None = None
    # Messages for the protocol itself, IP_PKTINFO for example.
    control: list[ControlMessage] = msgspec.field(default_factory=list)


class Received(msgspec.Struct):
    """What recvmsg(2) gives. ``length`` is the record's own length where it was cut (MSG_TRUNC).

    ``address`` is a ready ``struct sockaddr``, None where there is none to tell. The caller owns a
    reference of each of ``files``.
    """

    data: bytes
    address: bytes | None = None
    flags: int = 0
    length: int = 0
    control: list[ControlMessage] = msgspec.field(default_factory=list)
    files: list[File] = msgspec.field(default_factory=list)


class Chunk:
    """What one send put into a queue: bytes, or a record, and what travels with it.

    ``charge`` is what it counts against ``sender``'s buffer. ``urgent`` marks TCP's urgent byte; ``stamp``
    is when it arrived (ns since the epoch, 0 where nobody wants to know); ``packet`` what a datagram's header said.
    """

    __slots__ = ("address", "ancillary", "charge", "data", "packet", "sender", "stamp", "urgent")

    def __init__(
        self,
        data: bytes | memoryview,
        charge: int,
        sender: Socket | None = None,
        ancillary: Ancillary | None = None,
        address: bytes | None = None,
        urgent: bool = False,
    ) -> None:
        self.data = data
        self.charge = charge
        self.sender = sender
        self.ancillary = ancillary
        self.address = address
        self.urgent = urgent
        self.stamp = 0
        self.packet: Any = None


class Socket(SocketOptions, File):
    """A socket. ``shut`` holds SHUT_RECEIVE and SHUT_SEND; ``error`` is SO_ERROR, taken by the next call that fails.

    Families implement the methods that raise EOPNOTSUPP here. Addresses are what ``parse_address`` makes of
    a ``struct sockaddr``; ``local`` and ``remote`` give such structs.
    """

    family = 0
    type = 0

    def __init__(self, stack: NetworkStack, protocol: int = 0) -> None:
        File.__init__(self, stack.scheduler, os.O_RDWR)
        SocketOptions.__init__(self)
        self.stack = stack
        self.protocol = protocol
        self.shut = 0
        self.error = 0
        self.closed = False
        # What waits to be read; connections that wait to be accepted; bytes (with overhead) sent and not read.
        self.inbox: deque[Chunk] = deque()
        self.backlog: deque[Any] = deque()
        self.sent = 0
        self.ino = stack.register(self)
        self.creator = stack.identify()
        self.created = time.time_ns()

    # -- the file's side -------------------------------------------------------

    def describe(self) -> str:
        return f"socket:[{self.ino}]"

    async def stat(self) -> Stat:
        return Stat(
            S_IFSOCK | 0o777, self.ino, SOCKFS_DEVICE, uid=self.creator.euid, gid=self.creator.egid,
            atime=self.created, mtime=self.created, ctime=self.created, btime=self.created,
        )  # fmt: skip

    async def read(self, size: int) -> bytes:
        """read(2): unlike recv(2), nothing is taken when nothing is asked for."""
        return (await self.receive(size)).data if size else b""

    async def write(self, data: bytes | memoryview) -> int:
        return await self.send(data)

    def close(self) -> None:
        """The last reference is gone."""
        self.closed = True
        self.shut = SHUT_BOTH
        self.stack.forget(self)

    async def ioctl(self, thread: Any, command: int, argument: UserPointer) -> int:
        if command in (SIOCINQ, SIOCOUTQ):
            argument.pack(INT, self.unread() if command == SIOCINQ else self.unsent())
        elif command in (FIOGETOWN, SIOCGPGRP):
            kind, number = self.owner
            argument.pack(INT, -number if kind == 2 else number)
        elif command == SIOCGSTAMP:
            raise SyscallError(errno.ENOENT)
        else:
            return interface.ioctl(self.stack.links(), command, argument)
        return 0

    @property
    def shown_inode(self) -> int:
        """The inode number that tables show: 0 while no file belongs to the socket."""
        return self.ino

    def unread(self) -> int:
        """SIOCINQ: bytes that wait to be read."""
        return 0

    def unsent(self) -> int:
        """SIOCOUTQ: bytes that the other side has not taken yet."""
        return 0

    def drop_queue(self) -> None:
        """Throw away what waits to be read, and connections that wait to be accepted."""
        files: list[File] = []
        while self.inbox:
            chunk = self.inbox.popleft()
            self.discharge(chunk)
            if chunk.ancillary is not None and chunk.ancillary.files:
                self.stack.flight.land(chunk.ancillary.files)
                files += chunk.ancillary.files
        if files:
            self.stack.flight.discard(files)

    def discharge(self, chunk: Chunk) -> None:
        """A chunk has left this socket's queue."""
        if chunk.sender is not None:
            chunk.sender.uncharge(chunk.charge)
        else:
            self.stack.memory.uncharge(chunk.charge)

    def charge(self, size: int) -> None:
        """``size`` bytes that this socket has sent wait to be read."""
        self.sent += size
        self.stack.memory.charge(size)

    def uncharge(self, size: int) -> None:
        """``size`` bytes of what this socket has sent were taken, or thrown away."""
        before = self.sent
        self.sent = before - size
        self.stack.memory.uncharge(size)  # which wakes whoever it has made room for
        if before > LEAST_WRITABLE and self.sent <= self.writable_at < before:
            self.waiters.wake(WRITABLE)

    @property
    def full_at(self) -> int:
        """A sender waits while this many bytes or more are unread."""
        return min(self.send_limit, PRESSED) if self.stack.memory.pressed else self.send_limit

    @property
    def writable_at(self) -> int:
        """POLLOUT holds while no more than this many bytes are unread: never fewer than LEAST_WRITABLE."""
        return self.full_at >> 2

    def relieved(self) -> None:
        """There is room again for what all sockets hold."""
        self.waiters.wake(WRITABLE)

    @property
    def held(self) -> int:
        return SOCKET_COST + sum(chunk.charge for chunk in self.inbox) + SOCKET_COST * len(self.backlog)

    # -- what a family implements ----------------------------------------------

    def parse_address(self, raw: bytes) -> Any:
        """A ``struct sockaddr`` as the other methods take it; EINVAL, EAFNOSUPPORT."""
        raise SyscallError(errno.EOPNOTSUPP)

    def local(self) -> bytes:
        """getsockname(2)."""
        raise SyscallError(errno.EOPNOTSUPP)

    def remote(self) -> bytes:
        """getpeername(2); ENOTCONN."""
        raise SyscallError(errno.EOPNOTSUPP)

    def origin(self) -> bytes:
        """Where a connection that was accepted comes from, even if it is over."""
        return self.remote()

    async def admit_bind(self, address: Any) -> None:
        """Ask whoever has a say whether this socket may take a name; EACCES."""

    def bind(self, address: Any) -> None:
        """Take a name; EADDRINUSE, EINVAL when there is one already."""
        raise SyscallError(errno.EOPNOTSUPP)

    async def admit_listen(self) -> None:
        """Ask whoever has a say whether this socket may listen, if it takes a name by that; EACCES."""

    def listen(self, backlog: int) -> None:
        """Accept connections from now on."""
        raise SyscallError(errno.EOPNOTSUPP)

    async def accept(self, flags: int = 0) -> Socket:
        """The next connection, as a socket that nobody holds yet. ``flags``: MSG_DONTWAIT."""
        raise SyscallError(errno.EOPNOTSUPP)

    async def connect(self, address: Any) -> None:
        """Connect; ``None`` dissolves the association (AF_UNSPEC)."""
        raise SyscallError(errno.EOPNOTSUPP)

    def shutdown(self, how: int) -> None:
        """``how`` is a set of SHUT_RECEIVE and SHUT_SEND."""
        raise SyscallError(errno.EOPNOTSUPP)

    async def send(
        self, data: bytes | memoryview, flags: int = 0, address: Any = None, ancillary: Ancillary | None = None
    ) -> int:
        """Send; the number of bytes taken. Owns the files of ``ancillary`` whatever happens."""
        raise SyscallError(errno.EOPNOTSUPP)

    async def receive(self, size: int, flags: int = 0) -> Received:
        """Receive at most ``size`` bytes."""
        raise SyscallError(errno.EOPNOTSUPP)

    def table_row(self) -> dict[str, Any]:
        """What /proc/net shows of this socket; see ``NetworkStack.table``."""
        return {}

    # -- for the families ------------------------------------------------------

    def take_error(self) -> int:
        """SO_ERROR: the pending error, which is gone thereafter."""
        error, self.error = self.error, 0
        return error

    def raise_error(self) -> None:
        """Fail with the pending error, if there is one."""
        if self.error:
            raise SyscallError(self.take_error())

    def deadline(self, seconds: float | None) -> float | None:
        """When a wait that starts now times out, on the loop's clock."""
        return None if seconds is None else self.scheduler.loop.time() + seconds

    async def wait_ready(self, events: int, flags: int, deadline: float | None, exclusive: bool = False) -> None:
        """Wait for ``events``: EAGAIN when that must not or may no longer be waited for.

        A wait with a time-out is never restarted after a signal, see signal(7): it fails with EINTR.
        """
        if flags & MSG_DONTWAIT or self.flags & os.O_NONBLOCK:
            raise SyscallError(errno.EAGAIN)
        events |= POLLERR | POLLHUP
        if deadline is None:
            await self.held_while(self.waiters.wait(self.scheduler, events, None, exclusive))
            return
        try:
            left = deadline - self.scheduler.loop.time()
            if not await self.held_while(self.waiters.wait(self.scheduler, events, left, exclusive)):
                raise SyscallError(errno.EAGAIN)
        except Interrupted:
            raise SyscallError(errno.EINTR) from None
