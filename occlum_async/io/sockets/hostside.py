"""The host's network, through a policy: what is not inside goes out from the host's own addresses."""

from __future__ import annotations

import errno
import socket as s
from typing import TYPE_CHECKING, Any

from ...abi.errors import SyscallError
from ...abi.socket import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    INT,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOL_IPV6,
    InetAddress,
    decode_inet,
    encode_inet,
)
from ..boundary.network import HostNetwork, Pending
from .datagrams import Datagrams, serve
from .gate import Gate
from .hostlinks import host_links
from .hostoptions import pass_option, pass_options, passes
from .ipoptions import IPV6_V6ONLY
from .links import Links
from .policy import FROM, IN, OUT
from .private import BACKLOG, WithWires
from .tcp import TcpSocket
from .udp import UdpSocket
from .wire import Wire

if TYPE_CHECKING:
    from .inet import InetSocket

OWN_SECONDS = 30.0  # how long it is believed whether an address is the host's
OWN_MAX = 1024
LINKS_SECONDS = 1.0  # how long the host's interfaces are taken to be the same
ADMITTED_MAX = 4096  # destinations of datagrams that the policy is not asked about again
UNSPECIFIED = AF_UNSPEC.to_bytes(2, "little") + bytes(14)


def protocol_of(socket: InetSocket) -> str:
    """The protocol's name, as policies call it."""
    return "tcp" if socket.type == SOCK_STREAM else "udp"


class Claim:
    """A descriptor of the host that is bound for a TCP socket, and its gate once that socket listens."""

    def __init__(self, network: HostNetwork, fd: int) -> None:
        self.network = network
        self.fd = fd
        self.gate: Gate | None = None

    def close(self) -> None:
        """Give the port back."""
        if self.gate is not None:
            self.gate.close()
        else:
            self.network.close(self.fd)


class HostAttempt:
    """A connect that goes outside: the policy is asked, then the host connects."""

    def __init__(self, outside: HostSide, socket: TcpSocket, destination: InetAddress) -> None:
        self.outside = outside
        self.network = outside.network
        self.socket = socket
        self.destination = destination
        self.cancelled = False
        self._fd = -1
        self._connecting: Pending | None = None
        if outside.policy.asks(OUT):
            outside.stack.scheduler.spawn(self._ask())
        else:
            allowed = outside.policy.allows(OUT, destination, "tcp")
            # Never within connect(2) itself: whoever waits has not begun to.
            outside.network.defer(self._begin if allowed else self._refuse)

    async def _ask(self) -> None:
        scheduler = self.outside.stack.scheduler
        if await scheduler.bridge(self.outside.policy.admits(OUT, self.destination, "tcp")):
            self._begin()
        else:
            self._refuse()

    def cancel(self) -> None:
        self.cancelled = True
        if self._connecting is not None:
            self._connecting.cancel()

    def _refuse(self, error: int = errno.ECONNREFUSED) -> None:
        if not self.cancelled:
            self.socket.refused(error)

    def _begin(self) -> None:
        if self.cancelled:
            return
        try:
            self._fd, family = self.outside.descriptor(self.socket, self.destination)
            address = encode_inet(self.destination, family)
            self._connecting = self.network.connect(self._fd, address, self._connected)
        except SyscallError as error:
            if self._fd >= 0:
                self.network.close(self._fd)
            self._refuse(error.errno)

    def _connected(self, error: int) -> None:
        self._connecting = None
        local = None
        if not error:
            try:
                local = decode_inet(self.network.name(self._fd))
            except SyscallError as failure:
                error = failure.errno
        if self.cancelled or local is None:
            self.network.close(self._fd)
            self._refuse(error)
            return
        self.socket.established(local)
        Wire(self.outside.stack, self.network, self._fd, self.socket.family).attach(self.socket)
        self.socket.waiters.wake()


class HostSide(WithWires):
    """Sockets that are bound, listen or connect outside have a descriptor of the host behind them."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._claims: dict[InetSocket, Claim | Datagrams] = {}
        self._own: dict[bytes, tuple[bool, float]] = {}
        self._admitted: set[tuple[bytes, int]] = set()
        self._links: tuple[Links, float] | None = None

    def owns(self, host: bytes) -> bool:
        """An address is the host's own when it can be bound there."""
        now = self.stack.scheduler.loop.time()
        known = self._own.get(host)
        if known is not None and now < known[1]:
            return known[0]
        own = self._can_bind(host)
        if len(self._own) >= OWN_MAX:
            self._own.clear()
        self._own[host] = own, now + OWN_SECONDS
        return own

    def _can_bind(self, host: bytes) -> bool:
        if not any(host) or (host[0] >> 4 == 14 if len(host) == 4 else host[0] == 0xFF):
            return False
        family = AF_INET if len(host) == 4 else AF_INET6
        try:
            fd = self.network.socket(family, SOCK_DGRAM)
        except SyscallError:
            return False
        try:
            self.network.bind(fd, encode_inet(InetAddress(host, 0), family))
        except SyscallError:
            return False
        finally:
            self.network.close(fd)
        return True

    def links(self) -> Links:
        now = self.stack.scheduler.loop.time()
        if self._links is None or now >= self._links[1]:
            self._links = host_links(self.network), now + LINKS_SECONDS
        return self._links[0]

    def takes(self, socket: InetSocket, destination: InetAddress) -> bool:
        return True

    # -- ports -----------------------------------------------------------------------

    async def admit_bind(self, socket: InetSocket, address: InetAddress) -> None:
        admitted = self.policy.admits(IN, address, protocol_of(socket))
        if not await self.stack.scheduler.bridge(admitted):
            raise SyscallError(errno.EACCES)

    def claim(self, socket: InetSocket, host: bytes, port: int) -> int:
        fd = self._make(socket, socket.family)
        try:
            self.network.bind(fd, encode_inet(InetAddress(host, port), socket.family))
            port = decode_inet(self.network.name(fd)).port
        except SyscallError:
            self.network.close(fd)
            raise
        if isinstance(socket, UdpSocket):
            self._claims[socket] = serve(self.boundary, fd, socket, self._admits_sender)
        else:
            self._claims[socket] = Claim(self.network, fd)
        return port

    def _admits_sender(self, sender: InetAddress) -> bool:
        """Whether the policy lets a datagram in; an answer to what was let out always may come."""
        return (sender.host, sender.port) in self._admitted or self.policy.allows(FROM, sender, "udp")

    def _make(self, socket: InetSocket, family: int) -> int:
        """A descriptor of the host with the options of ``socket``."""
        fd = self.network.socket(family, socket.type)
        try:
            self._prepare(fd, socket, family)
        except SyscallError:
            self.network.close(fd)
            raise
        return fd

    def _prepare(self, fd: int, socket: InetSocket, family: int) -> None:
        """Set the options that matter to binding, and then those that the host may refuse."""
        for name in (s.SO_REUSEADDR, s.SO_REUSEPORT):
            if socket.option(name):
                self.network.set_option(fd, s.SOL_SOCKET, name, INT.pack(1))
        if family == AF_INET6:
            self.network.set_option(fd, SOL_IPV6, IPV6_V6ONLY, INT.pack(socket.only6))
        if socket.type == SOCK_STREAM:
            self.network.set_option(fd, s.IPPROTO_TCP, s.TCP_NODELAY, INT.pack(1))
        pass_options(self.network, fd, socket)

    def option_set(self, socket: InetSocket, level: int, name: int) -> None:
        claim = self._claims.get(socket)
        if claim is not None and passes(socket, level, name):
            pass_option(self.network, claim.fd, socket, level, name)

    def has_congestion(self, name: bytes) -> bool:
        fd = self.network.socket(AF_INET, SOCK_STREAM)
        try:
            self.network.set_option(fd, s.IPPROTO_TCP, s.TCP_CONGESTION, name)
        except SyscallError:
            return False
        finally:
            self.network.close(fd)
        return True

    def release(self, socket: InetSocket) -> None:
        claim = self._claims.pop(socket, None)
        if claim is not None:
            claim.close()

    def listen(self, socket: TcpSocket, backlog: int) -> None:
        if not self.policy.allows(IN, socket.name, "tcp"):  # known only now if any port was asked for
            raise SyscallError(errno.EACCES)
        if socket not in self._claims:  # shutdown(2) had given the port back
            self.claim(socket, socket.name.host, socket.name.port)
        claim = self._claims[socket]
        if not isinstance(claim, Claim) or claim.gate is not None:
            return
        self.network.listen(claim.fd, BACKLOG if backlog < 0 else min(backlog, BACKLOG))
        claim.gate = Gate(
            self.stack, self.network, claim.fd, lambda peer: [socket] if socket.accepting() else [],
            lambda fd: decode_inet(self.network.name(fd)), self.admits_peer,
            inherits=True,
        )  # fmt: skip
        claim.gate.open()

    def descriptor(self, socket: TcpSocket, destination: InetAddress) -> tuple[int, int]:
        """The descriptor to connect ``socket`` with, and its family: the one that is bound for it, or a new one."""
        claim = self._claims.pop(socket, None)
        if isinstance(claim, Claim):
            return claim.fd, socket.family
        family = AF_INET if len(destination.host) == 4 else AF_INET6
        return self._make(socket, family), family

    def connect(self, socket: TcpSocket, destination: InetAddress) -> HostAttempt:
        return HostAttempt(self, socket, destination)

    # -- datagrams ---------------------------------------------------------------------

    async def associate(self, socket: UdpSocket, destination: InetAddress | None) -> bytes | None:
        if destination is not None:
            await self._admit(socket, destination, errno.ECONNREFUSED)
            socket.autobind(claim=True)
        claim = self._claims.get(socket)
        if not isinstance(claim, Datagrams):
            return None
        address = UNSPECIFIED if destination is None else encode_inet(destination, socket.family)
        self.network.associate(claim.fd, address)
        return None if destination is None else decode_inet(self.network.name(claim.fd)).host

    async def send(
        self, socket: UdpSocket, payload: bytes, destination: InetAddress, flags: int, control: bytes = b"",
        segment: int = 0,
    ) -> None:  # fmt: skip
        await self._admit(socket, destination, errno.EACCES)
        claim = self._claims.get(socket)
        if not isinstance(claim, Datagrams):
            raise SyscallError(errno.ENETUNREACH)
        known = destination == socket.destination
        await claim.send(payload, None if known else destination, flags, control, segment)

    async def _admit(self, socket: UdpSocket, destination: InetAddress, error: int) -> None:
        key = destination.host, destination.port
        if key in self._admitted:
            return
        if not await self.stack.scheduler.bridge(self.policy.admits(OUT, destination, "udp")):
            raise SyscallError(error)
        if len(self._admitted) >= ADMITTED_MAX:
            self._admitted.clear()
        self._admitted.add(key)

    def close(self) -> None:
        for claim in self._claims.values():
            claim.close()
        self._claims.clear()
