"""What is known of a datagram beside its bytes and its sender, and what a program may ask for when it sends one.

See IP_PKTINFO, IP_RECVTTL and IP_RECVTOS in ip(7), and their IPv6 counterparts in ipv6(7).
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from socket import SCM_CREDENTIALS, SCM_RIGHTS, SOL_SOCKET
from typing import TYPE_CHECKING, NamedTuple

from ...abi.errors import SyscallError
from ...abi.socket import (
    AF_INET6,
    INT,
    SO_TIMESTAMPING,
    SOL_IP,
    SOL_IPV6,
    SOL_UDP,
    V4_MAPPED,
    ControlMessage,
    ControlWriter,
    InetAddress,
    decode_control,
    decode_inet,
)
from . import interface
from . import ipoptions as ip
from .ports import is_any

if TYPE_CHECKING:
    from .udp import UdpSocket

PKTINFO4 = struct.Struct("<i4s4s")  # interface, local address, destination
PKTINFO6 = struct.Struct("<16sI")  # destination, interface
SEGMENT = struct.Struct("<H")  # UDP_SEGMENT
CONTROL_MAX = 256  # bytes of control messages that go to the host, or come from it


class Packet(NamedTuple):
    """Of a datagram that came: where it was sent to, over which interface, and what its header said."""

    host: bytes
    link: int = interface.INDEX
    hops: int = ip.DEFAULT_HOPS
    service: int = 0
    port: int = 0
    # The size of the datagrams that were joined to this one (UDP_GRO), 0 if it is one by itself.
    segment: int = 0


class Wish(NamedTuple):
    """Of a datagram to be sent: its source address and header, where control messages ask for them.

    ``segment`` is the size of the datagrams that it is cut into (UDP_SEGMENT): 0 for not at all, -1 where the socket's
    option holds.
    """

    source: bytes = b""
    hops: int = 0
    service: int = -1
    segment: int = -1
    # The messages as they go to the host.
    control: bytes = b""


NO_WISH = Wish()


def plain_host(host: bytes) -> bytes:
    """An IPv4-mapped address as the IPv4 one that it is."""
    return host[12:] if host.startswith(V4_MAPPED) else host


def mapped_host(host: bytes) -> bytes:
    """An address as IPv6 shows it."""
    return V4_MAPPED + host if len(host) == 4 else host


# -- what came ---------------------------------------------------------------------


def packet_from_host(control: bytes, packet: Packet) -> Packet:
    """``packet`` with what the host tells in control messages; EINVAL for what can't be."""
    for message in decode_control(control):
        kind, data = (message.level, message.type), message.data
        if kind == (SOL_IP, ip.IP_PKTINFO) and len(data) == PKTINFO4.size:
            link, _, host = PKTINFO4.unpack(data)
            packet = packet._replace(host=host, link=link)
        elif kind == (SOL_IPV6, ip.IPV6_PKTINFO) and len(data) == PKTINFO6.size:
            host, link = PKTINFO6.unpack(data)
            packet = packet._replace(host=plain_host(host), link=link & ip.INT_MAX)
        elif kind in ((SOL_IP, ip.IP_TTL), (SOL_IPV6, ip.IPV6_HOPLIMIT)) and len(data) == INT.size:
            packet = packet._replace(hops=data[0])
        elif kind in ((SOL_IP, ip.IP_TOS), (SOL_IPV6, ip.IPV6_TCLASS)) and data:
            packet = packet._replace(service=data[0])
        elif kind == (SOL_IP, ip.IP_RECVORIGDSTADDR):
            packet = packet._replace(port=decode_inet(data).port)
    return packet


def told(socket: UdpSocket, packet: Packet) -> list[ControlMessage]:
    """What a program has asked to be told of a datagram."""
    messages = []
    if packet.segment and socket.option(ip.UDP_GRO, SOL_UDP):
        messages.append(ControlMessage(SOL_UDP, ip.UDP_GRO, INT.pack(packet.segment)))
    host = packet.host
    if len(host) == 4:
        if socket.option(ip.IP_PKTINFO, SOL_IP):
            local = host if is_any(socket.name.host) or len(socket.name.host) == 16 else socket.name.host
            messages.append(ControlMessage(SOL_IP, ip.IP_PKTINFO, PKTINFO4.pack(packet.link, local, host)))
        if socket.option(ip.IP_RECVTTL, SOL_IP):
            messages.append(ControlMessage(SOL_IP, ip.IP_TTL, INT.pack(packet.hops)))
        if socket.option(ip.IP_RECVTOS, SOL_IP):
            messages.append(ControlMessage(SOL_IP, ip.IP_TOS, bytes((packet.service,))))
        if socket.option(ip.IP_RECVORIGDSTADDR, SOL_IP):
            original = socket.format_address(InetAddress(host, packet.port or socket.name.port))
            messages.append(ControlMessage(SOL_IP, ip.IP_RECVORIGDSTADDR, original))
    if socket.family == AF_INET6 and socket.option(ip.IPV6_RECVPKTINFO, SOL_IPV6):
        messages.append(ControlMessage(SOL_IPV6, ip.IPV6_PKTINFO, PKTINFO6.pack(mapped_host(host), packet.link)))
    if len(host) == 16:
        if socket.option(ip.IPV6_RECVHOPLIMIT, SOL_IPV6):
            messages.append(ControlMessage(SOL_IPV6, ip.IPV6_HOPLIMIT, INT.pack(packet.hops)))
        if socket.option(ip.IPV6_RECVTCLASS, SOL_IPV6):
            messages.append(ControlMessage(SOL_IPV6, ip.IPV6_TCLASS, INT.pack(packet.service)))
    return messages


# -- what is sent ------------------------------------------------------------------


def wish_of(socket: UdpSocket, messages: Sequence[ControlMessage]) -> Wish:
    """What the control messages of a send ask for; EINVAL, ENODEV."""
    wish = NO_WISH
    writer = ControlWriter(CONTROL_MAX)
    for message in messages:
        if message.level == SOL_SOCKET:
            if message.type not in (SCM_RIGHTS, SCM_CREDENTIALS, SO_TIMESTAMPING):
                raise SyscallError(errno.EINVAL)
            continue
        if message.level == SOL_UDP:
            if message.type != ip.UDP_SEGMENT or len(message.data) != SEGMENT.size:
                raise SyscallError(errno.EINVAL)
            wish = wish._replace(segment=SEGMENT.unpack(message.data)[0])
            continue
        if message.level != SOL_IP and (message.level != SOL_IPV6 or socket.family != AF_INET6):
            continue  # another protocol's
        wish = _with(socket, wish, message)
        writer.put(message)
    if writer.truncated:
        raise SyscallError(errno.EINVAL)
    return wish._replace(control=bytes(writer.data)) if writer.data else wish


def with_segment(control: bytes, segment: int) -> bytes:
    """The control messages of a datagram, and that the host is to cut it into datagrams of so many bytes."""
    writer = ControlWriter(CONTROL_MAX)
    writer.put(ControlMessage(SOL_UDP, ip.UDP_SEGMENT, SEGMENT.pack(segment)))
    return control + bytes(writer.data)


def _with(socket: UdpSocket, wish: Wish, message: ControlMessage) -> Wish:
    kind, data = (message.level, message.type), message.data
    if kind == (SOL_IP, ip.IP_PKTINFO) and len(data) == PKTINFO4.size:
        link, source, _ = PKTINFO4.unpack(data)
        return wish._replace(source=_source(socket, source, link))
    if kind == (SOL_IPV6, ip.IPV6_PKTINFO) and len(data) >= PKTINFO6.size:
        source, link = PKTINFO6.unpack_from(data)
        return wish._replace(source=_source(socket, plain_host(source), link))
    if kind == (SOL_IP, ip.IP_TOS) and len(data) in (1, INT.size):
        return wish._replace(service=_number(data, 0, 255))
    if len(data) == INT.size:
        if kind == (SOL_IP, ip.IP_TTL):
            return wish._replace(hops=_number(data, 1, 255))
        if kind == (SOL_IPV6, ip.IPV6_HOPLIMIT):
            return wish._replace(hops=max(0, _number(data, -1, 255)))
        if kind == (SOL_IPV6, ip.IPV6_TCLASS):
            return wish._replace(service=max(0, _number(data, -1, 255)))
    raise SyscallError(errno.EINVAL)


def _source(socket: UdpSocket, host: bytes, link: int) -> bytes:
    if link and socket.stack.links().numbered(link) is None:
        raise SyscallError(errno.ENODEV)
    if is_any(host):
        return b""
    if not socket.stack.is_own(host):
        raise SyscallError(errno.EINVAL)
    return host


def _number(data: bytes, least: int, most: int) -> int:
    number = int.from_bytes(data, "little", signed=len(data) == INT.size)
    if not least <= number <= most:
        raise SyscallError(errno.EINVAL)
    return number
