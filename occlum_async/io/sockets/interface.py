"""The ioctls that ask for network interfaces, see netdevice(7). Nobody may change one."""

from __future__ import annotations

import errno
import struct

from ...abi.errors import SyscallError
from ...abi.socket import AF_INET
from ...abi.user import UserPointer
from .links import IFF_LOWER_UP, LOOPBACK, Address, Link, Links

# What sockets are bound to where nothing else is said: the interface of the LibOS itself.
NAME, INDEX, MTU = LOOPBACK.name, LOOPBACK.index, LOOPBACK.mtu

SIOCGIFNAME, SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFDSTADDR = 0x8910, 0x8912, 0x8913, 0x8915, 0x8917
SIOCGIFBRDADDR, SIOCGIFNETMASK, SIOCGIFMETRIC, SIOCGIFMTU, SIOCGIFHWADDR = 0x8919, 0x891B, 0x891D, 0x8921, 0x8927
SIOCGIFINDEX, SIOCGIFTXQLEN, SIOCGIFMAP, SIOCETHTOOL = 0x8933, 0x8942, 0x8970, 0x8946
ADDRESSES = (SIOCGIFADDR, SIOCGIFDSTADDR, SIOCGIFBRDADDR, SIOCGIFNETMASK)
QUESTIONS = frozenset((
    *ADDRESSES, SIOCGIFFLAGS, SIOCGIFMETRIC, SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFTXQLEN, SIOCGIFMAP,
    SIOCETHTOOL,
))  # fmt: skip
# Those that change something: SIOCADDRT..SIOCDELRT, SIOCSIF*.
CHANGES = frozenset((
    0x890B, 0x890C, 0x8914, 0x8916, 0x8918, 0x891A, 0x891C, 0x891E, 0x8922, 0x8923, 0x8924, 0x8934, 0x8936, 0x8937,
    0x8943, 0x8971,
))  # fmt: skip

IFNAMSIZ = 16
IFREQ_SIZE = 40
IFCONF = struct.Struct("<i4xQ")


def _sockaddr(host: bytes) -> bytes:
    return struct.pack("<HH4s8x", AF_INET, 0, host)


def ioctl(links: Links, command: int, argument: UserPointer) -> int:
    """An interface ioctl on any socket; ENODEV for interfaces that are not there, EPERM for changes, else ENOTTY."""
    if command == SIOCGIFCONF:
        return _list_interfaces(links, argument)
    if command == SIOCGIFNAME:
        named = links.numbered(int.from_bytes(argument.read(4, IFNAMSIZ), "little"))
        if named is None:
            raise SyscallError(errno.ENODEV)
        argument.write(named.name.ljust(IFNAMSIZ, b"\0"))
        return 0
    if command in CHANGES:
        raise SyscallError(errno.EPERM)
    if command not in QUESTIONS:
        raise SyscallError(errno.ENOTTY)
    name = argument.read(IFNAMSIZ).split(b"\0", 1)[0].split(b":", 1)[0]
    link = links.named(name)
    if link is None:
        raise SyscallError(errno.ENODEV)
    if command == SIOCETHTOOL:
        raise SyscallError(errno.EOPNOTSUPP)
    argument.write(_answer(links, link, command), IFNAMSIZ)
    return 0


def _answer(links: Links, link: Link, command: int) -> bytes:
    """What follows the name in ``struct ifreq``."""
    if command in ADDRESSES:
        address = links.address_of(link)
        if address is None:
            raise SyscallError(errno.EADDRNOTAVAIL)
        return _sockaddr(_address(address, command))
    if command == SIOCGIFFLAGS:
        return struct.pack("<H", link.flags & ~IFF_LOWER_UP & 0xFFFF)
    if command == SIOCGIFHWADDR:
        return struct.pack("<H14s", link.kind, link.address[:14])
    if command == SIOCGIFMAP:
        return bytes(24)
    numbers = {SIOCGIFMTU: link.mtu, SIOCGIFINDEX: link.index, SIOCGIFTXQLEN: link.queue_length, SIOCGIFMETRIC: 0}
    return struct.pack("<i", numbers[command])


def _address(address: Address, command: int) -> bytes:
    if command == SIOCGIFNETMASK:
        return address.mask
    if command == SIOCGIFBRDADDR:
        return address.broadcast or bytes(4)
    return address.host


def _list_interfaces(links: Links, argument: UserPointer) -> int:
    """SIOCGIFCONF: the IPv4 addresses, as many as there is room for."""
    room, address = argument.unpack(IFCONF)
    entries = []
    for one in links.addresses:
        link = links.numbered(one.link)
        if one.family == AF_INET and link is not None:
            name = (one.label or link.name).ljust(IFNAMSIZ, b"\0")
            entries.append(name + _sockaddr(one.host).ljust(IFREQ_SIZE - IFNAMSIZ, b"\0"))
    if address:
        entries = entries[: max(0, room) // IFREQ_SIZE]
        if entries:
            argument.at(address).write(b"".join(entries))
    argument.pack(IFCONF, len(entries) * IFREQ_SIZE, address)
    return 0
