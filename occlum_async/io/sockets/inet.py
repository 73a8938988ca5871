"""What TCP and UDP sockets share: addresses, ports, and the options of IP. Only loopback is reachable."""

from __future__ import annotations

import errno
import socket as s
import struct
from typing import TYPE_CHECKING, Any

from ...abi.errors import SyscallError
from ...abi.socket import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    INT,
    MSG_ZEROCOPY,
    SO_ZEROCOPY,
    SOCK_DGRAM,
    SOCKADDR_IN,
    SOCKADDR_IN6_MIN,
    SOL_IP,
    SOL_IPV6,
    InetAddress,
    decode_inet,
    encode_inet,
    family_of,
)
from ..file import POLLERR
from . import interface
from .errorqueue import ErrorQueue
from .ipoptions import (
    INTERFACES,
    IP_ADD_MEMBERSHIP,
    IP_DROP_MEMBERSHIP,
    IP_FREEBIND,
    IP_MTU,
    IP_MULTICAST_IF,
    IP_OPTIONS,
    IP_TOS,
    IPV6_JOIN_GROUP,
    IPV6_LEAVE_GROUP,
    IPV6_MTU,
    IPV6_MULTICAST_IF,
    IPV6_TCLASS,
    IPV6_V6ONLY,
    PRIVILEGED,
    RULES,
    SAME,
    type_of_service,
)
from .ports import ANY4, ANY6, LOOPBACK4, LOOPBACK6, PortTable, is_any, is_loopback
from .socket import Socket

if TYPE_CHECKING:
    from .stack import NetworkStack

CAP_NET_BIND_SERVICE = 10
PRIVILEGED_PORTS = 1024

IPV6_MTU_MIN = 1280
MEMBERSHIPS_LIMIT = 20  # net.ipv4.igmp_max_memberships


class InetSocket(Socket):
    """A socket with a port. ``name`` is what it is bound to, ``destination`` what it is connected to."""

    def __init__(self, stack: NetworkStack, family: int, protocol: int) -> None:
        super().__init__(stack, protocol)
        self.family = family
        # What is in use, and what bind(2) asked for: dissolving an association goes back to that.
        self.name = self.chosen = InetAddress(self.any, 0)
        self.destination: InetAddress | None = None
        self.memberships: set[bytes] = set()
        self.errors = ErrorQueue(family)

    @property
    def ports(self) -> PortTable:
        """The table of this protocol."""
        raise NotImplementedError

    @property
    def any(self) -> bytes:
        """The wildcard address of the family."""
        return ANY4 if self.family == AF_INET else ANY6

    @property
    def bound_host(self) -> bytes:
        """The address that the port was bound for."""
        return self.name.host

    @property
    def only6(self) -> bool:
        """IPV6_V6ONLY."""
        return bool(self.option(IPV6_V6ONLY, SOL_IPV6))

    @property
    def reuse_address(self) -> bool:
        return bool(self.option(s.SO_REUSEADDR))

    @property
    def reuse_port(self) -> bool:
        return bool(self.option(s.SO_REUSEPORT))

    # -- addresses -------------------------------------------------------------

    def parse_address(self, raw: bytes) -> InetAddress | None:
        """None for AF_UNSPEC. An IPv4 socket takes IPv4 only; an IPv6 one takes both in sendto(2)."""
        family = family_of(raw)
        if family == AF_UNSPEC:
            return None
        if len(raw) < (SOCKADDR_IN if self.family == AF_INET else SOCKADDR_IN6_MIN) and family == self.family:
            raise SyscallError(errno.EINVAL)
        if family != self.family:
            raise SyscallError(errno.EAFNOSUPPORT)
        return decode_inet(raw)

    def format_address(self, address: InetAddress) -> bytes:
        """``struct sockaddr`` as this socket's family has it."""
        return encode_inet(address, self.family)

    def local(self) -> bytes:
        return self.format_address(self.name)

    def remote(self) -> bytes:
        if self.destination is None:
            raise SyscallError(errno.ENOTCONN)
        return self.format_address(self.destination)

    def bind(self, address: InetAddress | None) -> None:
        if address is None:  # an old habit: sin_family was left 0
            raise SyscallError(errno.EAFNOSUPPORT)
        host, port = address.host, address.port
        if len(host) == 4 and self.family == AF_INET6 and self.only6:
            raise SyscallError(errno.EINVAL)
        if not self._may_bind(host):
            raise SyscallError(errno.EADDRNOTAVAIL)
        if 0 < port < PRIVILEGED_PORTS and not self.stack.identify().capable(CAP_NET_BIND_SERVICE):
            raise SyscallError(errno.EACCES)
        if self.name.port or self.closed:
            raise SyscallError(errno.EINVAL)
        self._claim(host, port)
        self.chosen = InetAddress(host, port)

    def _claim(self, host: bytes, port: int) -> None:
        """Take a port (0: any) inside, and outside where there is one."""
        if port and self.ports.conflicts(self, host, port):
            raise SyscallError(errno.EADDRINUSE)
        port = self.stack.outside.claim(self, host, port)
        try:
            self.name = InetAddress(host, self.ports.bind(self, host, port))
        except SyscallError:
            self.stack.outside.release(self)
            raise

    async def admit_bind(self, address: InetAddress | None) -> None:
        if address is not None:
            await self.stack.outside.admit_bind(self, address)

    def _may_bind(self, host: bytes) -> bool:
        if self.option(IP_FREEBIND, SOL_IP):
            return True
        return is_any(host) or self.stack.is_own(host) or (self.type == SOCK_DGRAM and is_multicast(host))

    def autobind(self, claim: bool = False) -> None:
        """Take a port of the ephemeral range, unless there is one already; ``claim``: outside as well."""
        if not self.name.port:
            if claim:
                self._claim(self.name.host, 0)
            else:
                self.name = InetAddress(self.name.host, self.ports.bind(self, self.name.host, 0))

    def route(self, address: InetAddress) -> tuple[InetAddress, bytes]:
        """Where ``address`` leads, and the local address for it. ENETUNREACH for what can't be reached.

        The local address of what leads outside may be the wildcard: the host chooses it.
        """
        host = address.host
        if len(host) == 4 and self.family == AF_INET6 and (self.only6 or not self._speaks4()):
            raise SyscallError(errno.ENETUNREACH)
        if len(host) == 16 and len(self.name.host) == 4:
            raise SyscallError(errno.EAFNOSUPPORT)
        if is_any(host):
            # The wildcard means this host; an IPv6 socket that was bound to IPv4 never comes here.
            host = LOOPBACK4 if len(host) == 4 else LOOPBACK6
        destination = InetAddress(host, address.port, address.flow, address.scope)
        source = self.name.host
        if is_loopback(host):
            if is_any(source):
                source = LOOPBACK4 if len(host) == 4 else LOOPBACK6
        elif self.stack.is_own(host):
            source = host if is_any(source) else source
        elif self.device or not self.stack.outside.takes(self, destination):
            raise SyscallError(errno.ENETUNREACH)
        return destination, source

    def _speaks4(self) -> bool:
        return len(self.name.host) == 4 or is_any(self.name.host)

    def forget_name(self) -> None:
        """The association is dissolved: give back what the kernel had chosen."""
        port = self.name.port
        if port and not self.chosen.port:
            self.ports.release(self, port)
            self.stack.outside.release(self)
            port = 0
        self.name = InetAddress(self.chosen.host, port)

    def close(self) -> None:
        if self.name.port:
            self.ports.release(self, self.name.port)
            self.stack.outside.release(self)
        super().close()

    # -- options ---------------------------------------------------------------

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if level not in (SOL_IP, SOL_IPV6) or (level == SOL_IPV6 and self.family == AF_INET):
            raise SyscallError(errno.ENOPROTOOPT)
        if (level, name) in MEMBERSHIP:
            self._change_membership(level, name, value)
        elif (level, name) == (SOL_IP, IP_MULTICAST_IF):
            self._set_multicast_interface(value)
        elif (level, name) == (SOL_IP, IP_OPTIONS):
            if any(value):
                raise SyscallError(errno.EPERM)  # source routes and the like: no container may
        elif level == SOL_IP and 0 < len(value) < INT.size and (level, name) not in INTERFACES:
            self._set_number(level, name, value[0])  # IP takes a single byte as well
        else:
            self._set_number(level, name, INT.unpack_from(value)[0] if len(value) >= INT.size else None)

    def _set_number(self, level: int, name: int, number: int | None) -> None:
        """Set an option that is a number; None: the caller gave too little for one."""
        key = SAME.get((level, name), (level, name))
        stream = self.type != SOCK_DGRAM
        if not (key in RULES or key in PRIVILEGED or key in INTERFACES or key == (SOL_IPV6, IPV6_MTU)):
            raise SyscallError(errno.ENOPROTOOPT)
        if stream and key in RULES and RULES[key].kind == SOCK_DGRAM:
            raise SyscallError(errno.EINVAL if level == SOL_IP else errno.ENOPROTOOPT)
        if number is None:
            raise SyscallError(errno.EINVAL)
        if key in PRIVILEGED:
            if number:
                raise SyscallError(errno.EPERM)
        elif key in INTERFACES:
            index = int.from_bytes(INT.pack(number), "big") if level == SOL_IP else number
            if index not in (0, interface.INDEX):
                raise SyscallError(errno.EADDRNOTAVAIL if name != IPV6_MULTICAST_IF else errno.ENODEV)
        elif key == (SOL_IPV6, IPV6_MTU):
            if number and number < IPV6_MTU_MIN:
                raise SyscallError(errno.EINVAL)
        elif key == (SOL_IPV6, IPV6_V6ONLY) and self.name.port:
            raise SyscallError(errno.EINVAL)
        else:
            number = RULES[key].accept(number)
            if key in ((SOL_IP, IP_TOS), (SOL_IPV6, IPV6_TCLASS)):
                number = type_of_service(number, stream)
        self.store_option(*key, number)

    def store_option(self, level: int, name: int, number: int) -> None:
        """An option has a new value that was found good."""
        self.options[level, name] = number
        self.option_set(level, name)

    def option_set(self, level: int, name: int) -> None:
        self.stack.outside.option_set(self, level, name)

    def get_option(self, level: int, name: int, size: int) -> bytes:
        if level not in (SOL_IP, SOL_IPV6) or (level == SOL_IPV6 and self.family == AF_INET):
            raise SyscallError(errno.EOPNOTSUPP if self.family == AF_INET else errno.ENOPROTOOPT)
        if (level, name) == (SOL_IP, IP_OPTIONS):
            return b""
        if (level, name) == (SOL_IP, IP_MULTICAST_IF):
            return bytes(4)
        if (level, name) in ((SOL_IP, IP_MTU), (SOL_IPV6, IPV6_MTU)):
            if self.destination is None:
                raise SyscallError(errno.ENOTCONN)
            return self.stack.outside.get_option(self, level, name) or INT.pack(interface.MTU)
        key = SAME.get((level, name), (level, name))
        if key in RULES:
            return INT.pack(self.options.get(key, RULES[key].default))
        if key in PRIVILEGED or key in INTERFACES:
            return INT.pack(self.options.get(key, 0))
        raise SyscallError(errno.ENOPROTOOPT)

    def _set_multicast_interface(self, value: bytes) -> None:
        """``struct in_addr`` or ``struct ip_mreqn``, which names the interface at its end: there is lo alone."""
        if self.type != SOCK_DGRAM or len(value) < INT.size:
            raise SyscallError(errno.EINVAL)
        host, index = (value[4:8], value[8:12]) if len(value) >= 12 else (value[:4], bytes(4))
        if any(index) and int.from_bytes(index, "little") != interface.INDEX:
            raise SyscallError(errno.EADDRNOTAVAIL)
        if any(host) and not self.stack.is_own(host):
            raise SyscallError(errno.EADDRNOTAVAIL)

    def _change_membership(self, level: int, name: int, value: bytes) -> None:
        if self.type != SOCK_DGRAM:
            raise SyscallError(errno.EPROTO)
        if len(value) < (8 if level == SOL_IP else 20):
            raise SyscallError(errno.EINVAL)
        group = value[:4] if level == SOL_IP else value[:16]
        index = struct.unpack_from("<i", value, 16)[0] if level == SOL_IPV6 else 0
        if not is_multicast(group):
            raise SyscallError(errno.EINVAL)
        if index not in (0, interface.INDEX):
            raise SyscallError(errno.ENODEV)
        if name in (IP_DROP_MEMBERSHIP, IPV6_LEAVE_GROUP):
            if group not in self.memberships:
                raise SyscallError(errno.EADDRNOTAVAIL)
            self.memberships.discard(group)
        elif group in self.memberships:
            raise SyscallError(errno.EADDRINUSE)
        elif len(self.memberships) >= MEMBERSHIPS_LIMIT:
            raise SyscallError(errno.ENOBUFS)
        else:
            self.memberships.add(group)

    def sent_without_copy(self, flags: int, size: int) -> None:
        """A send of ``size`` bytes is done; one with MSG_ZEROCOPY is told of that, as its memory was copied."""
        if flags & MSG_ZEROCOPY and size and self.option(SO_ZEROCOPY):
            self.errors.copied()
            self.waiters.wake(POLLERR)

    def table_row(self) -> dict[str, Any]:
        remote = self.destination or InetAddress(self.any, 0)
        return {
            "local": (encoded_host(self.name.host, self.family), self.name.port),
            "remote": (encoded_host(remote.host, self.family), remote.port),
            "receive_queue": self.memory_info()[0],
            "send_queue": self.sent,
        }


MEMBERSHIP = frozenset((
    (SOL_IP, IP_ADD_MEMBERSHIP), (SOL_IP, IP_DROP_MEMBERSHIP), (SOL_IPV6, IPV6_JOIN_GROUP),
    (SOL_IPV6, IPV6_LEAVE_GROUP),
))  # fmt: skip


def is_multicast(host: bytes) -> bool:
    """224.0.0.0/4 and ff00::/8."""
    return host[0] >> 4 == 14 if len(host) == 4 else host[0] == 0xFF


def encoded_host(host: bytes, family: int) -> bytes:
    """The packed address as sockets of ``family`` show it."""
    return host if family == AF_INET or len(host) == 16 else encode_inet(InetAddress(host, 0), AF_INET6)[8:24]
