"""Which socket has which port: binding, its conflicts, and finding who a packet is for."""

from __future__ import annotations

import errno
import random
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.socket import InetAddress

if TYPE_CHECKING:
    from .inet import InetSocket

EPHEMERAL_FIRST, EPHEMERAL_LAST = 32768, 60999
ANY4, ANY6 = bytes(4), bytes(16)
LOOPBACK4, LOOPBACK6 = b"\x7f\0\0\x01", bytes(15) + b"\x01"


def is_any(host: bytes) -> bool:
    """0.0.0.0 or ::"""
    return not any(host)


def is_loopback(host: bytes) -> bool:
    """Whether ``host`` is one of this LibOS's own addresses: 127.0.0.0/8 and ::1."""
    return host[0] == 127 if len(host) == 4 else host == LOOPBACK6


class PortTable:
    """The bound sockets of one protocol, by port."""

    def __init__(self, check_listening: bool) -> None:
        # TCP: SO_REUSEADDR does not help against a listening socket.
        self.check_listening = check_listening
        self.bound: dict[int, list[InetSocket]] = {}
        self._next = random.randrange(EPHEMERAL_FIRST, EPHEMERAL_LAST + 1)

    def bind(self, socket: InetSocket, host: bytes, port: int) -> int:
        """Give ``socket`` the port (0: any free one); the port. EADDRINUSE."""
        if port == 0:
            port = self._free_port(socket, host)
        elif self.conflicts(socket, host, port):
            raise SyscallError(errno.EADDRINUSE)
        self.bound.setdefault(port, []).append(socket)
        return port

    def adopt(self, socket: InetSocket, port: int) -> None:
        """A connection that a listening socket has got shares that socket's port."""
        self.bound.setdefault(port, []).append(socket)

    def release(self, socket: InetSocket, port: int) -> None:
        """``socket`` gives the port back."""
        holders = self.bound.get(port)
        if holders is not None and socket in holders:
            holders.remove(socket)
            if not holders:
                del self.bound[port]

    def _free_port(self, socket: InetSocket, host: bytes) -> int:
        for _ in range(EPHEMERAL_FIRST, EPHEMERAL_LAST + 1):
            port = self._next
            self._next = port + 1 if port < EPHEMERAL_LAST else EPHEMERAL_FIRST
            if port not in self.bound:
                return port
        raise SyscallError(errno.EADDRINUSE)

    def conflicts(self, socket: InetSocket, host: bytes, port: int) -> bool:
        """Whether some other socket's claim to the port excludes this one."""
        return any(
            other is not socket and _overlap(socket, host, other) and not self._may_share(socket, other)
            for other in self.bound.get(port, ())
        )

    def _may_share(self, socket: InetSocket, other: InetSocket) -> bool:
        if socket.reuse_port and other.reuse_port and socket.creator.euid == other.creator.euid:
            return True
        return socket.reuse_address and other.reuse_address and not (self.check_listening and other.accepting())

    def find(self, family6: bool, destination: InetAddress, source: InetAddress | None = None) -> list[InetSocket]:
        """The sockets that ``destination`` may mean, those that fit best only; several with SO_REUSEPORT."""
        best: list[InetSocket] = []
        best_score = -1
        for socket in self.bound.get(destination.port, ()):
            score = _score(socket, destination, source)
            if score > best_score:
                best, best_score = [socket], score
            elif score == best_score and score >= 0:
                best.append(socket)
        return best


def _overlap(socket: InetSocket, host: bytes, other: InetSocket) -> bool:
    theirs = other.bound_host
    if len(host) == len(theirs):
        return host == theirs or is_any(host) or is_any(theirs)
    wide, narrow, wide_only6 = (host, theirs, socket.only6) if len(host) == 16 else (theirs, host, other.only6)
    # An IPv6 socket meets IPv4 ones only where it is bound to :: and takes IPv4 too.
    return is_any(wide) and not wide_only6 and bool(narrow)


def _score(socket: InetSocket, destination: InetAddress, source: InetAddress | None) -> int:
    """How well ``socket`` fits a packet; negative: not at all."""
    host = socket.bound_host
    score = 0
    if is_any(host):
        if len(host) < len(destination.host):
            return -1
        if len(host) > len(destination.host):
            if socket.only6:
                return -1
        else:
            score += 1
    elif host == destination.host:
        score += 4
    else:
        return -1
    if socket.destination is not None:
        if source is None or (socket.destination.host, socket.destination.port) != (source.host, source.port):
            return -1
        score += 8
    return score
