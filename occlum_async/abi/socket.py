"""Socket addresses, message headers and control messages as the ABI lays them out, see socket(7), cmsg(3).

Plain numbers that Python's ``socket`` module has are taken from there. What it has as an enumeration (address
families, types, message flags) stands here: arithmetic with those costs a microsecond each time.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import SyscallError

AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET = 0, 1, 2, 10, 16, 17
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET = 1, 2, 3, 4, 5
SOCK_TYPE_MASK = 0xF
SHUT_RECEIVE, SHUT_SEND, SHUT_BOTH = 1, 2, 3  # bits of a socket's state, not shutdown(2)'s argument
SOMAXCONN = 4096
SCM_MAX_FD = 253

# Flags of send(2), recv(2) and struct msghdr.
MSG_OOB, MSG_PEEK, MSG_CTRUNC, MSG_TRUNC, MSG_DONTWAIT, MSG_WAITALL = 0x1, 0x2, 0x8, 0x20, 0x40, 0x100
MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_MORE, MSG_WAITFORONE, MSG_CMSG_CLOEXEC = 0x2000, 0x4000, 0x8000, 0x10000, 0x40000000
MSG_FASTOPEN, MSG_ZEROCOPY = 0x20000000, 0x4000000

# SOL_SOCKET options that Python's module may lack.
SO_NO_CHECK, SO_BSDCOMPAT, SO_PEERNAME, SO_SNDBUFFORCE, SO_RCVBUFFORCE = 11, 14, 28, 32, 33
SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING, SO_RXQ_OVFL, SO_PEEK_OFF, SO_NOFCS = 29, 35, 37, 40, 42, 43
SO_LOCK_FILTER, SO_SELECT_ERR_QUEUE, SO_BUSY_POLL, SO_MAX_PACING_RATE, SO_MEMINFO = 44, 45, 46, 47, 55
SO_COOKIE, SO_PEERGROUPS, SO_ZEROCOPY, SO_BINDTOIFINDEX = 57, 59, 60, 62
SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW, SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW = 63, 64, 66, 67
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27

SOL_IP, SOL_TCP, SOL_UDP, SOL_IPV6, SOL_NETLINK = 0, 6, 17, 41, 270

# ioctl(2) requests of sockets.
SIOCINQ, SIOCOUTQ, SIOCATMARK = 0x541B, 0x5411, 0x8905
FIOSETOWN, SIOCSPGRP, FIOGETOWN, SIOCGPGRP, SIOCGSTAMP = 0x8901, 0x8902, 0x8903, 0x8904, 0x8906

MSGHDR = struct.Struct("<QI4xQQQQi4x")
MSG_NAMELEN_AT, MSG_CONTROLLEN_AT, MSG_FLAGS_AT = 8, 40, 48
MMSGHDR_SIZE = 64
MMSG_LEN_AT = 56
IOVEC = struct.Struct("<QQ")
CMSG = struct.Struct("<Qii")
UCRED = struct.Struct("<iII")
LINGER = struct.Struct("<ii")
INT = struct.Struct("<i")
UINT = struct.Struct("<I")
TIMEVAL = struct.Struct("<qq")

SOCKADDR_MAX = 128  # sizeof(struct sockaddr_storage)
SOCKADDR_UN = 110
SOCKADDR_IN = 16
SOCKADDR_IN6 = 28
SOCKADDR_IN6_MIN = 24  # without sin6_scope_id, as RFC 2133 had it
CONTROL_MAX = 20480  # net.core.optmem_max

V4_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The name of a unix socket: ``b""`` unnamed, a leading NUL for the abstract name space, else a path.

    ``target`` is the socket that a path was found to lead to; who resolves paths fills it in.
    """

    name: bytes = b""
    target: Any = field(default=None, compare=False)

    @property
    def is_path(self) -> bool:
        return self.name[:1] not in (b"", b"\0")


class InetAddress(NamedTuple):
    """An address and a port. ``host`` is packed: 4 bytes for IPv4 (also where it came v4-mapped), 16 for IPv6."""

    host: bytes
    port: int
    flow: int = 0
    scope: int = 0


class NetlinkAddress(NamedTuple):
    """A netlink port id and its multicast groups."""

    port: int
    groups: int


def family_of(raw: bytes) -> int:
    """The address family that a ``struct sockaddr`` claims; EINVAL when it is too short for one."""
    if len(raw) < 2:
        raise SyscallError(errno.EINVAL)
    return int.from_bytes(raw[:2], "little")


def decode_unix(raw: bytes) -> UnixAddress:
    """``struct sockaddr_un``. EINVAL for another family or an over-long name."""
    if len(raw) > SOCKADDR_UN or family_of(raw) != AF_UNIX:
        raise SyscallError(errno.EINVAL)
    name = raw[2:]
    return UnixAddress(name if name[:1] == b"\0" else name.split(b"\0", 1)[0])


def encode_unix(address: UnixAddress) -> bytes:
    """A path carries its NUL, an abstract name does not."""
    return struct.pack("<H", AF_UNIX) + address.name + (b"\0" if address.is_path else b"")


def decode_inet(raw: bytes) -> InetAddress:
    """``struct sockaddr_in`` or ``sockaddr_in6``; EINVAL when too short, EAFNOSUPPORT for other families."""
    family = family_of(raw)
    if family == AF_INET:
        if len(raw) < SOCKADDR_IN:
            raise SyscallError(errno.EINVAL)
        return InetAddress(raw[4:8], int.from_bytes(raw[2:4], "big"))
    if family != AF_INET6:
        raise SyscallError(errno.EAFNOSUPPORT)
    if len(raw) < SOCKADDR_IN6_MIN:
        raise SyscallError(errno.EINVAL)
    port, flow, host = struct.unpack_from(">HI16s", raw, 2)
    scope = int.from_bytes(raw[24:28], "little")
    return InetAddress(host[12:] if host.startswith(V4_MAPPED) else host, port, flow, scope)


def encode_inet(address: InetAddress, family: int) -> bytes:
    """The address as sockets of ``family`` see it: an IPv6 socket sees IPv4 hosts v4-mapped."""
    if family == AF_INET:
        return struct.pack("<H", AF_INET) + struct.pack(">H4s8x", address.port, address.host)
    host = address.host if len(address.host) == 16 else V4_MAPPED + address.host
    head = struct.pack("<H", AF_INET6) + struct.pack(">HI16s", address.port, address.flow, host)
    return head + struct.pack("<I", address.scope)


def decode_netlink(raw: bytes) -> NetlinkAddress:
    """``struct sockaddr_nl``."""
    if family_of(raw) != AF_NETLINK or len(raw) < 12:
        raise SyscallError(errno.EINVAL)
    port, groups = struct.unpack_from("<II", raw, 4)
    return NetlinkAddress(port, groups)


def encode_netlink(address: NetlinkAddress) -> bytes:
    return struct.pack("<HHII", AF_NETLINK, 0, address.port, address.groups)


class ControlMessage(NamedTuple):
    """One control message: its protocol level, its type there, its bytes."""

    level: int
    type: int
    data: bytes


def align(size: int) -> int:
    """CMSG_ALIGN."""
    return (size + 7) & ~7


def decode_control(raw: bytes) -> list[ControlMessage]:
    """The control messages in ``msg_control``; EINVAL for a header that lies about its length."""
    messages = []
    at = 0
    while at + CMSG.size <= len(raw):
        length, level, kind = CMSG.unpack_from(raw, at)
        if length < CMSG.size or at + length > len(raw):
            raise SyscallError(errno.EINVAL)
        messages.append(ControlMessage(level, kind, raw[at + CMSG.size : at + length]))
        at += align(length)
    return messages


class ControlWriter:
    """Fills a ``msg_control`` of ``room`` bytes; ``truncated`` tells whether something did not fit (MSG_CTRUNC)."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.data = bytearray()
        self.truncated = False

    @property
    def left(self) -> int:
        """Bytes that the next message's data may have."""
        return max(0, self.room - len(self.data) - CMSG.size)

    def put(self, message: ControlMessage) -> None:
        """Append one message, cut to what fits. Padding is part of the length only where there is room for it."""
        if self.room - len(self.data) < CMSG.size:
            self.truncated = True
            return
        data = message.data[: self.left]
        self.truncated |= len(data) < len(message.data)
        self.data += CMSG.pack(CMSG.size + len(data), message.level, message.type) + data
        self.data += bytes(min(align(len(data)) - len(data), self.room - len(self.data)))
