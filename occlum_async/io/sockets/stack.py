"""The network of a LibOS: what makes sockets, and knows them all.

A *family* is a function that makes a socket of a given type and protocol. The loopback families here know
no host; another implementation of AF_INET and AF_INET6 is put in by replacing their entries of ``families``.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from ...abi.errors import SyscallError
from ...abi.socket import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_PACKET,
    AF_UNIX,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOCK_TYPE_MASK,
    InetAddress,
)
from ...sched.strand import Scheduler
from .flight import Flight
from .links import Links
from .memory import SOCKET_COST, SocketMemory
from .netlink import NetlinkSocket
from .outside import Outside
from .ports import PortTable, is_loopback
from .routing import RouteSocket
from .socket import Identity, Socket
from .tcp import TcpSocket
from .udp import UdpSocket
from .unix import UnixSocket
from .unix_datagram import UnixDatagram, UnixSeqpacket
from .unix_stream import UnixStream

IPPROTO_TCP, IPPROTO_UDP = 6, 17
IPPROTO_ECHO = {AF_INET: 1, AF_INET6: 58}  # ICMP and ICMPv6
BATCH = 256
NETLINK_ROUTE, NETLINK_SOCK_DIAG = 0, 4

Family = Callable[["NetworkStack", int, int], Socket]


class NetworkStack:
    """A network name space. ``identify`` tells who is calling; it is asked only where it matters.

    ``outside`` is the network beyond the LibOS's own loopback interface: nothing, unless somebody puts it there.
    """

    def __init__(self, scheduler: Scheduler, identify: Callable[[], Identity] = Identity) -> None:
        self.scheduler = scheduler
        self.identify = identify
        self.flight = Flight(scheduler.loop)
        # All open sockets by inode number, in that order; those with abstract names, by type and name; then those with
        # ports.
        self.sockets: dict[int, Socket] = {}
        self.memory = SocketMemory(self._relieved)
        self.abstract: dict[tuple[int, bytes], UnixSocket] = {}
        self.autobind_next = 0
        self.tcp_ports = PortTable(check_listening=True)
        self.udp_ports = PortTable(check_listening=False)
        self.outside = Outside()
        self.netlink_ports: dict[tuple[int, int], NetlinkSocket] = {}  # by protocol and port id
        self._numbers = itertools.count(1024)
        self.families: dict[int, Family] = {
            AF_UNIX: _create_unix,
            AF_INET: _create_inet,
            AF_INET6: _create_inet6,
            AF_NETLINK: _create_netlink,
            AF_PACKET: _create_packet,
        }

    def create(self, family: int, type: int, protocol: int) -> Socket:
        """socket(2), without the flags in ``type``. EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPERM."""
        if type != type & SOCK_TYPE_MASK or not SOCK_STREAM <= type <= 10:
            raise SyscallError(errno.EINVAL)
        make = self.families.get(family)
        if make is None:
            raise SyscallError(errno.EAFNOSUPPORT)
        self.memory.check_socket()
        return make(self, type, protocol)

    def pair(self, family: int, type: int, protocol: int) -> tuple[Socket, Socket]:
        """socketpair(2): unix sockets only, EOPNOTSUPP for others."""
        first = self.create(family, type, protocol)
        if not isinstance(first, (UnixStream, UnixDatagram, UnixSeqpacket)):
            first.close()
            raise SyscallError(errno.EOPNOTSUPP)
        second = type_of(first)(self, protocol)
        first.pair(second)
        return first, second

    def is_own(self, host: bytes) -> bool:
        """Whether ``host`` is an address of this LibOS."""
        return is_loopback(host) or self.outside.owns(host)

    def links(self) -> Links:
        """The network interfaces that programs see."""
        return self.outside.links()

    def listeners(self, destination: InetAddress) -> list[TcpSocket]:
        """The sockets inside that listen there; several with SO_REUSEPORT."""
        found = self.tcp_ports.find(False, destination)
        return [one for one in found if isinstance(one, TcpSocket) and one.accepting()]

    def register(self, socket: Socket) -> int:
        """Note a new socket; its inode number."""
        number = next(self._numbers)
        self.sockets[number] = socket
        self.memory.charge(SOCKET_COST)
        return number

    def forget(self, socket: Socket) -> None:
        """``socket`` was closed."""
        if self.sockets.pop(socket.ino, None) is not None:
            self.memory.uncharge(SOCKET_COST)

    def _relieved(self) -> None:
        for socket in tuple(self.sockets.values()):
            socket.relieved()

    def table(self, family: int, type: int = 0) -> list[dict[str, Any]]:
        """What /proc/net shows: one row for each open socket of the family (and type, if not 0).

        Rows have ``inode`` (0 for a connection that was not accepted) and ``uid``. Of unix sockets: ``type``, ``name``
        (bytes), ``state``, ``references``, ``listening``. Of TCP and UDP: ``local`` and ``remote`` as (packed host,
        port), ``state`` (the number as in /proc/net/tcp), ``receive_queue`` and ``send_queue`` in bytes; of listening
        TCP sockets the former in connections, and ``backlog_limit``. Of netlink ones: ``protocol``, ``port``,
        ``groups``, ``receive_queue``.
        """
        rows = []
        for socket in self.walk(family, type):
            row = socket.table_row()
            if row:
                rows.append({"inode": socket.shown_inode, "uid": socket.creator.euid, **row})
        return rows

    def walk(self, family: int, type: int = 0) -> Iterator[Socket]:
        """The sockets of the family (and type, if not 0), as far as they are open when they come.

        However long somebody takes to walk through them, no more than one batch is kept for him.
        """
        last = -1
        while batch := list(itertools.islice((one for number, one in self.sockets.items() if number > last), BATCH)):
            for socket in batch:
                if socket.family == family and type in (0, socket.type) and not socket.closed:
                    yield socket
            last = batch[-1].ino


def type_of(socket: Any) -> Any:
    """The class of ``socket``, to make another one of its kind."""
    return socket.__class__


def _create_unix(stack: NetworkStack, type: int, protocol: int) -> Socket:
    if protocol not in (0, AF_UNIX):
        raise SyscallError(errno.EPROTONOSUPPORT)
    if type == SOCK_STREAM:
        return UnixStream(stack, protocol)
    if type in (SOCK_DGRAM, SOCK_RAW):  # unix(7): a raw one is a datagram socket
        return UnixDatagram(stack, protocol)
    if type == SOCK_SEQPACKET:
        return UnixSeqpacket(stack, protocol)
    raise SyscallError(errno.ESOCKTNOSUPPORT)


def _create_inet(stack: NetworkStack, type: int, protocol: int) -> Socket:
    return _create_internet(stack, AF_INET, type, protocol)


def _create_inet6(stack: NetworkStack, type: int, protocol: int) -> Socket:
    return _create_internet(stack, AF_INET6, type, protocol)


def _create_internet(stack: NetworkStack, family: int, type: int, protocol: int) -> Socket:
    if not 0 <= protocol < 263:  # IPPROTO_MAX
        raise SyscallError(errno.EINVAL)
    if type == SOCK_STREAM and protocol in (0, IPPROTO_TCP):
        return TcpSocket(stack, family)
    if type == SOCK_DGRAM and protocol in (0, IPPROTO_UDP):
        return UdpSocket(stack, family)
    if type == SOCK_DGRAM and protocol == IPPROTO_ECHO[family]:
        raise SyscallError(errno.EACCES)  # nobody's group is in net.ipv4.ping_group_range
    if type == SOCK_RAW and protocol:
        raise SyscallError(errno.EPERM)
    if type in (SOCK_STREAM, SOCK_DGRAM, SOCK_RAW):
        raise SyscallError(errno.EPROTONOSUPPORT)
    raise SyscallError(errno.ESOCKTNOSUPPORT)


def _create_netlink(stack: NetworkStack, type: int, protocol: int) -> Socket:
    if type not in (SOCK_RAW, SOCK_DGRAM):
        raise SyscallError(errno.ESOCKTNOSUPPORT)
    if protocol == NETLINK_ROUTE:
        return RouteSocket(stack, type, protocol)
    if protocol == NETLINK_SOCK_DIAG:
        from .sockdiag import DiagSocket  # for those who look at sockets: a start does not wait for it

        return DiagSocket(stack, type, protocol)
    raise SyscallError(errno.EPROTONOSUPPORT)


def _create_packet(stack: NetworkStack, type: int, protocol: int) -> Socket:
    raise SyscallError(errno.EPERM)
