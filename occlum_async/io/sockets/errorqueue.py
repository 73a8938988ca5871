"""A socket's queue of errors, which MSG_ERRQUEUE reads: what became of sends, see recvmsg(2), IP_RECVERR in ip(7).

Two things come here: that memory which was sent with MSG_ZEROCOPY may be used again (it was copied, and that is said,
too), and that a datagram found nobody, for those who asked with IP_RECVERR.
"""

from __future__ import annotations

import errno
import struct
from collections import deque

import msgspec

from ...abi.errors import SyscallError
from ...abi.socket import AF_INET, MSG_ERRQUEUE, SOL_IP, SOL_IPV6, ControlMessage, InetAddress, encode_inet
from .ipoptions import IP_RECVERR, IPV6_RECVERR
from .socket import Received

LIMIT = 32  # errors that are kept; later ones are lost, as on Linux where the receive buffer is full
EXTENDED = struct.Struct("<I3BxII")  # struct sock_extended_err: errno, origin, type, code, info, data
ORIGIN_ICMP, ORIGIN_ICMP6, ORIGIN_ZEROCOPY = 2, 3, 5
PORT_UNREACHABLE = {ORIGIN_ICMP: (3, 3), ORIGIN_ICMP6: (1, 4)}
# An ICMP message has 576 bytes at most, one of ICMPv6 1280: so much of the datagram comes back in it.
RETURNED = {ORIGIN_ICMP: 520, ORIGIN_ICMP6: 1184}
ZEROCOPY_COPIED = 1
NOBODY = {AF_INET: bytes(16)}
NOBODY6 = bytes(28)
NUMBERS = 1 << 32


class Entry(msgspec.Struct):
    """One error: the bytes it is about, where they went, and what is told of it."""

    data: bytes
    address: bytes | None
    number: int
    origin: int
    type: int
    code: int
    info: int
    extra: int
    offender: bytes


class ErrorQueue:
    """The errors of one socket of ``family``. ``sends`` counts those with MSG_ZEROCOPY."""

    def __init__(self, family: int) -> None:
        self.family = family
        self.sends = 0
        self.entries: deque[Entry] = deque()

    def __bool__(self) -> bool:
        return bool(self.entries)

    def copied(self) -> None:
        """The next send with MSG_ZEROCOPY is done with its memory."""
        number = self.sends % NUMBERS
        self.sends += 1
        last = self.entries[-1] if self.entries else None
        if last is not None and last.origin == ORIGIN_ZEROCOPY and (last.extra + 1) % NUMBERS == number:
            last.extra = number
            return
        self._add(Entry(b"", None, 0, ORIGIN_ZEROCOPY, 0, ZEROCOPY_COPIED, number, number, self._nobody))

    def refused(self, payload: bytes, destination: InetAddress, address: bytes) -> None:
        """Nobody at ``destination`` (``address``, as the socket shows it) takes datagrams."""
        origin = ORIGIN_ICMP if len(destination.host) == 4 else ORIGIN_ICMP6
        offender = encode_inet(destination._replace(port=0), self.family)
        payload = payload[: RETURNED[origin]]
        self._add(Entry(payload, address, errno.ECONNREFUSED, origin, *PORT_UNREACHABLE[origin], 0, 0, offender))

    @property
    def _nobody(self) -> bytes:
        return NOBODY.get(self.family, NOBODY6)

    def _add(self, entry: Entry) -> None:
        if len(self.entries) < LIMIT:
            self.entries.append(entry)

    def take(self, size: int) -> Received:
        """The oldest one, with at most ``size`` of its bytes; EAGAIN when there is none."""
        if not self.entries:
            raise SyscallError(errno.EAGAIN)
        entry = self.entries.popleft()
        told = EXTENDED.pack(entry.number, entry.origin, entry.type, entry.code, entry.info, entry.extra)
        level, kind = (SOL_IP, IP_RECVERR) if self.family == AF_INET else (SOL_IPV6, IPV6_RECVERR)
        message = ControlMessage(level, kind, told + entry.offender)
        return Received(entry.data[:size], entry.address, MSG_ERRQUEUE, len(entry.data), [message])
