"""The options of TCP, see tcp(7): set, read, and kept. What they do to a connection outside is the wire's affair."""

from __future__ import annotations

import errno
import socket as s
import struct

from ...abi.errors import SyscallError
from ...abi.socket import INT, SOL_TCP
from .inet import InetSocket
from .ipoptions import (
    FASTOPEN_QUEUE_MAX,
    FIN_TIMEOUT_MAX,
    INT_MAX,
    RULES,
    TCP_FASTOPEN_CONNECT,
    TCP_FASTOPEN_NO_COOKIE,
    TCP_THIN_DUPACK,
    TCP_ULP,
    WINDOW_MIN,
    deferral,
)
from .options import integer

MSS_DEFAULT, MSS_LOOPBACK = 536, 65483
MSS_LEAST, MSS_MOST = 88, 32767
CONGESTION_DEFAULT = b"cubic"
CONGESTION_INSIDE = (CONGESTION_DEFAULT, b"reno")  # nothing is congested inside: the name is kept, no more
CONGESTION_MAX = 16  # bytes of a name, with its NUL

CLOSE, LISTEN = 7, 10
# Options that can be set only as long as there is no connection.
EARLY = {
    s.TCP_FASTOPEN: (CLOSE, LISTEN), TCP_FASTOPEN_NO_COOKIE: (CLOSE, LISTEN), TCP_FASTOPEN_CONNECT: (CLOSE,),
}  # fmt: skip


class TcpOptions(InetSocket):
    """The part of a TCP socket that is its options."""

    congestion = b""  # the algorithm that was asked for

    @property
    def state(self) -> int:
        """The connection's state by its number in /proc/net/tcp."""
        raise NotImplementedError

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if level != SOL_TCP:
            super().set_option(level, name, value)
        elif name == s.TCP_CONGESTION:
            self._set_congestion(value[: CONGESTION_MAX - 1].split(b"\0", 1)[0])
        elif name == TCP_ULP:
            raise SyscallError(errno.ENOENT)
        else:
            self._set_tcp(name, integer(value))

    def _set_congestion(self, name: bytes) -> None:
        if name not in CONGESTION_INSIDE and not self.stack.outside.has_congestion(name):
            raise SyscallError(errno.ENOENT)
        self.congestion = name
        self.option_set(SOL_TCP, s.TCP_CONGESTION)

    def _set_tcp(self, name: int, number: int) -> None:
        if name == s.TCP_MAXSEG:
            if number and not MSS_LEAST <= number <= MSS_MOST:
                raise SyscallError(errno.EINVAL)
        elif (SOL_TCP, name) not in RULES:
            raise SyscallError(errno.ENOPROTOOPT)
        else:
            number = self._checked(name, RULES[SOL_TCP, name].accept(number))
        self.store_option(SOL_TCP, name, number)

    def _checked(self, name: int, number: int) -> int:
        """What is stored of options with rules of their own."""
        if name in EARLY and self.state not in EARLY[name]:
            raise SyscallError(errno.EINVAL)
        if name == s.TCP_LINGER2:
            return -1 if number < 0 else min(number or RULES[SOL_TCP, name].default, FIN_TIMEOUT_MAX)
        if name == s.TCP_DEFER_ACCEPT:
            return deferral(number)
        if name == s.TCP_WINDOW_CLAMP:
            if not number and self.state != CLOSE:
                raise SyscallError(errno.EINVAL)
            return max(number, WINDOW_MIN) if number else 0
        if name == s.TCP_FASTOPEN:
            return min(number, FASTOPEN_QUEUE_MAX)
        return 0 if name == TCP_THIN_DUPACK else number  # which the kernel accepts and forgets

    def get_option(self, level: int, name: int, size: int) -> bytes:
        if level != SOL_TCP:
            return super().get_option(level, name, size)
        if name == s.TCP_INFO:
            return self.stack.outside.get_option(self, level, name) or self.info()
        if name == s.TCP_CONGESTION:
            return (self.congestion or CONGESTION_DEFAULT).ljust(CONGESTION_MAX, b"\0")
        if name == TCP_ULP:
            return b""
        if name == s.TCP_MAXSEG:
            return self.stack.outside.get_option(self, level, name) or INT.pack(self._segment())
        if (SOL_TCP, name) not in RULES:
            raise SyscallError(errno.ENOPROTOOPT)
        return INT.pack(self.options.get((SOL_TCP, name), RULES[SOL_TCP, name].default))

    def _segment(self) -> int:
        """TCP_MAXSEG of what goes nowhere or stays inside."""
        connected = self.state not in (CLOSE, LISTEN)
        return self.option(s.TCP_MAXSEG, SOL_TCP) or (MSS_LOOPBACK if connected else MSS_DEFAULT)

    def waiting_connections(self) -> tuple[int, int]:
        """How many connections wait to be accepted, and how many may."""
        return 0, 0

    def info(self) -> bytes:
        """``struct tcp_info``: what a loss-free connection without delay would report."""
        mss = MSS_DEFAULT if self.state in (CLOSE, LISTEN) else MSS_LOOPBACK
        head = struct.pack("<8B", self.state, 0, 0, 0, 0, 7, 0x77, 0)
        body = struct.pack(
            "<24I", 201000, 40000, mss, mss, *self.waiting_connections(), 0, 0, 0, 0, 0, 0, 0, 65535, 65495, 20, 10,
            INT_MAX, 10, mss, 3, 0, 65495, 0,
        )  # fmt: skip
        return (head + body).ljust(232, b"\0")
