"""The network interfaces that programs see: the loopback interface alone, and the ioctls that ask for it."""

from __future__ import annotations

import errno
import struct

from ...abi.errors import SyscallError
from ...abi.socket import AF_INET
from ...abi.user import UserPointer

NAME = b"lo"
INDEX = 1
MTU = 65536
QUEUE_LENGTH = 1000
ARPHRD_LOOPBACK = 772
IFF_UP, IFF_LOOPBACK, IFF_RUNNING, IFF_LOWER_UP = 0x1, 0x8, 0x40, 0x10000
FLAGS = IFF_UP | IFF_LOOPBACK | IFF_RUNNING
ADDRESS4, NETMASK4, PREFIX4 = b"\x7f\0\0\x01", b"\xff\0\0\0", 8
ADDRESS6, PREFIX6 = bytes(15) + b"\x01", 128

SIOCGIFNAME, SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFDSTADDR = 0x8910, 0x8912, 0x8913, 0x8915, 0x8917
SIOCGIFBRDADDR, SIOCGIFNETMASK, SIOCGIFMETRIC, SIOCGIFMTU, SIOCGIFHWADDR = 0x8919, 0x891B, 0x891D, 0x8921, 0x8927
SIOCGIFINDEX, SIOCGIFTXQLEN, SIOCGIFMAP, SIOCETHTOOL = 0x8933, 0x8942, 0x8970, 0x8946
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


ANSWERS = {
    SIOCGIFFLAGS: struct.pack("<H", FLAGS),
    SIOCGIFADDR: _sockaddr(ADDRESS4),
    SIOCGIFDSTADDR: _sockaddr(ADDRESS4),
    SIOCGIFBRDADDR: _sockaddr(bytes(4)),
    SIOCGIFNETMASK: _sockaddr(NETMASK4),
    SIOCGIFMETRIC: struct.pack("<i", 0),
    SIOCGIFMTU: struct.pack("<i", MTU),
    SIOCGIFHWADDR: struct.pack("<H14x", ARPHRD_LOOPBACK),
    SIOCGIFINDEX: struct.pack("<i", INDEX),
    SIOCGIFTXQLEN: struct.pack("<i", QUEUE_LENGTH),
    SIOCGIFMAP: bytes(24),
}


def ioctl(command: int, argument: UserPointer) -> int:
    """An interface ioctl on any socket; ENODEV for other interfaces, EPERM for changes, ENOTTY for the rest."""
    if command == SIOCGIFCONF:
        return _list_interfaces(argument)
    if command == SIOCGIFNAME:
        if int.from_bytes(argument.read(4, IFNAMSIZ), "little") != INDEX:
            raise SyscallError(errno.ENODEV)
        argument.write(NAME.ljust(IFNAMSIZ, b"\0"))
        return 0
    if command in CHANGES:
        raise SyscallError(errno.EPERM)
    if command not in ANSWERS and command != SIOCETHTOOL:
        raise SyscallError(errno.ENOTTY)
    name = argument.read(IFNAMSIZ).split(b"\0", 1)[0].split(b":", 1)[0]
    if name != NAME:
        raise SyscallError(errno.ENODEV)
    if command == SIOCETHTOOL:
        raise SyscallError(errno.EOPNOTSUPP)
    argument.write(ANSWERS[command], IFNAMSIZ)
    return 0


def _list_interfaces(argument: UserPointer) -> int:
    room, address = argument.unpack(IFCONF)
    entry = NAME.ljust(IFNAMSIZ, b"\0") + _sockaddr(ADDRESS4).ljust(IFREQ_SIZE - IFNAMSIZ, b"\0")
    if address == 0:
        argument.pack(IFCONF, len(entry), address)
        return 0
    fits = room >= len(entry)
    if fits:
        argument.at(address).write(entry)
    argument.pack(IFCONF, len(entry) if fits else 0, address)
    return 0
