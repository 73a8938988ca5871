"""The options of level SOL_SOCKET, see socket(7): what they hold, and how they are set and read."""

from __future__ import annotations

import errno
import socket as s
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...abi.errors import SyscallError
from ...abi.socket import (
    INT,
    LINGER,
    SO_BINDTOIFINDEX,
    SO_BSDCOMPAT,
    SO_BUSY_POLL,
    SO_COOKIE,
    SO_LOCK_FILTER,
    SO_MAX_PACING_RATE,
    SO_MEMINFO,
    SO_NO_CHECK,
    SO_NOFCS,
    SO_PEEK_OFF,
    SO_PEERNAME,
    SO_RCVBUFFORCE,
    SO_RCVTIMEO_NEW,
    SO_RXQ_OVFL,
    SO_SELECT_ERR_QUEUE,
    SO_SNDBUFFORCE,
    SO_SNDTIMEO_NEW,
    SO_TIMESTAMP,
    SO_TIMESTAMP_NEW,
    SO_TIMESTAMPING,
    SO_TIMESTAMPNS,
    SO_TIMESTAMPNS_NEW,
    SO_ZEROCOPY,
    TIMEVAL,
)
from . import interface
from .ipoptions import INT_MAX, INT_MIN

if TYPE_CHECKING:
    from .stack import NetworkStack

BUFFER_DEFAULT = 212992  # net.core.rmem_default, wmem_default, and both maxima
SEND_MINIMUM, RECEIVE_MINIMUM = 4608, 2304
CAP_NET_ADMIN = 12
TIMEOUT_LIMIT = 10**9  # seconds; what is longer is for ever

# Options that are stored and given back as 0 or 1.
FLAGS = frozenset((
    s.SO_DEBUG, s.SO_REUSEADDR, s.SO_REUSEPORT, s.SO_DONTROUTE, s.SO_BROADCAST, s.SO_KEEPALIVE, s.SO_OOBINLINE,
    SO_NO_CHECK, s.SO_PASSCRED, SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW, SO_RXQ_OVFL,
    SO_LOCK_FILTER, SO_SELECT_ERR_QUEUE, SO_NOFCS, s.SO_PASSSEC,
))  # fmt: skip
# Options that are stored and given back as a number: the least one, the largest one, and the one from the start.
NUMBERS = {
    s.SO_PRIORITY: (INT_MIN, INT_MAX, 0), s.SO_MARK: (INT_MIN, INT_MAX, 0), SO_TIMESTAMPING: (0, 0x1FFFF, 0),
    SO_BUSY_POLL: (0, INT_MAX, 0), SO_MAX_PACING_RATE: (INT_MIN, INT_MAX, -1), SO_ZEROCOPY: (0, 1, 0),
}  # fmt: skip
WIDE = frozenset((SO_TIMESTAMPING, SO_MAX_PACING_RATE))  # given back in 8 bytes where there is room
PRIORITY_MAX = 6  # beyond it a privilege is needed

TIMESTAMPS = (SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW)


def integer(value: bytes) -> int:
    """The int that an option is set to; EINVAL when the caller gave less than one."""
    if len(value) < INT.size:
        raise SyscallError(errno.EINVAL)
    return int(INT.unpack_from(value)[0])


class SocketOptions:
    """The part of a socket that setsockopt(2) and getsockopt(2) reach. Limits are bytes, time-outs seconds."""

    if TYPE_CHECKING:
        stack: NetworkStack
        family: int
        type: int
        protocol: int
        ino: int

        def take_error(self) -> int: ...
        def remote(self) -> bytes: ...

    # Whether this kind of socket can look ahead at an offset (SO_PEEK_OFF).
    peeks_at_offset = False

    def __init__(self) -> None:
        self.options: dict[tuple[int, int], int] = {}
        self.send_limit = BUFFER_DEFAULT
        self.receive_limit = BUFFER_DEFAULT
        self.send_timeout: float | None = None
        self.receive_timeout: float | None = None
        self.low_water = 1
        self.linger: tuple[int, int] = (0, 0)
        self.peek_offset = -1
        self.device = b""  # SO_BINDTODEVICE
        # Copies of flags that hot paths look at.
        self.pass_credentials = False
        self.inline_urgent = False
        self.stamps = False

    def option(self, name: int, level: int = s.SOL_SOCKET) -> int:
        """A stored option's value, 0 when it was never set."""
        return self.options.get((level, name), 0)

    # -- set -------------------------------------------------------------------

    def setsockopt(self, level: int, name: int, value: bytes) -> None:
        """setsockopt(2); ENOPROTOOPT for what there is not."""
        if level == s.SOL_SOCKET:
            self._set_generic(name, value)
        else:
            self.set_option(level, name, value)

    def set_option(self, level: int, name: int, value: bytes) -> None:
        """Options of the protocol; families override it."""
        raise SyscallError(errno.EOPNOTSUPP)

    def option_set(self, level: int, name: int) -> None:
        """A stored option has a new value: for those who pass it on."""

    def buffers_changed(self) -> None:
        """A limit has changed: who waits for room must look again."""

    def _set_generic(self, name: int, value: bytes) -> None:
        if name in FLAGS or name in NUMBERS:
            number = integer(value)
            self._check_privilege(name, number)
            if name in NUMBERS and not NUMBERS[name][0] <= number <= NUMBERS[name][1]:
                raise SyscallError(errno.EINVAL)
            self._set_flag(name, int(number != 0) if name in FLAGS else number)
        elif name in SETTERS:
            SETTERS[name](self, value)
        else:
            integer(value)
            if name != SO_BSDCOMPAT:
                raise SyscallError(errno.ENOPROTOOPT)

    def _check_privilege(self, name: int, number: int) -> None:
        needed = (
            name == s.SO_MARK or (name == s.SO_DEBUG and number != 0)
            or (name == s.SO_PRIORITY and not 0 <= number <= PRIORITY_MAX)
        )  # fmt: skip
        if needed and not self.stack.identify().capable(CAP_NET_ADMIN):
            raise SyscallError(errno.EACCES if name == s.SO_DEBUG else errno.EPERM)

    def _set_flag(self, name: int, number: int) -> None:
        if name in TIMESTAMPS and number:
            # The kernel has one time stamp option with several looks: the last one set is the one that counts.
            for other in TIMESTAMPS:
                self.options.pop((s.SOL_SOCKET, other), None)
        self.options[s.SOL_SOCKET, name] = number
        if name == s.SO_PASSCRED:
            self.pass_credentials = bool(number)
        elif name == s.SO_OOBINLINE:
            self.inline_urgent = bool(number)
        elif name in TIMESTAMPS:
            self.stamps = bool(number)
        self.option_set(s.SOL_SOCKET, name)

    def _set_send_limit(self, value: bytes) -> None:
        wanted = min(integer(value) & 0xFFFFFFFF, BUFFER_DEFAULT)
        self.send_limit = max(wanted * 2, SEND_MINIMUM)
        self._set_flag(s.SO_SNDBUF, wanted)
        self.buffers_changed()

    def _set_receive_limit(self, value: bytes) -> None:
        wanted = min(integer(value) & 0xFFFFFFFF, BUFFER_DEFAULT)
        self.receive_limit = max(wanted * 2, RECEIVE_MINIMUM)
        self._set_flag(s.SO_RCVBUF, wanted)
        self.buffers_changed()

    def _force_limit(self, value: bytes) -> None:
        raise SyscallError(errno.EPERM)

    def _set_send_timeout(self, value: bytes) -> None:
        self.send_timeout = _timeout(value)

    def _set_receive_timeout(self, value: bytes) -> None:
        self.receive_timeout = _timeout(value)

    def _set_low_water(self, value: bytes) -> None:
        wanted = integer(value)
        self.low_water = 0x7FFFFFFF if wanted < 0 else wanted or 1

    def _set_linger(self, value: bytes) -> None:
        if len(value) < LINGER.size:
            raise SyscallError(errno.EINVAL)
        on, seconds = LINGER.unpack_from(value)
        self.linger = (int(on != 0), seconds)

    def _set_peek_offset(self, value: bytes) -> None:
        if not self.peeks_at_offset:
            raise SyscallError(errno.EOPNOTSUPP)
        self.peek_offset = integer(value)

    def _set_device(self, value: bytes) -> None:
        """SO_BINDTODEVICE: to lo, or to nothing. A way around the host's routes is not given to anybody."""
        name = value[: interface.IFNAMSIZ - 1].split(b"\0", 1)[0]
        if name not in (b"", interface.NAME):
            raise SyscallError(errno.EPERM if self.stack.links().named(name) else errno.ENODEV)
        self.device = name

    def _set_device_index(self, value: bytes) -> None:
        index = integer(value)
        if index not in (0, interface.INDEX):
            raise SyscallError(errno.EPERM if self.stack.links().numbered(index) else errno.ENODEV)
        self.device = interface.NAME if index else b""

    def _attach_filter(self, value: bytes) -> None:
        # A filter that was accepted and not applied would be a hole: programs fall back when refused.
        raise SyscallError(errno.EPERM)

    def _detach_filter(self, value: bytes) -> None:
        raise SyscallError(errno.ENOENT)

    # -- get -------------------------------------------------------------------

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        """getsockopt(2): at most ``size`` bytes of the value; ENOPROTOOPT for what there is not."""
        value = self._get_generic(name, size) if level == s.SOL_SOCKET else self.get_option(level, name, size)
        return value[:size]

    def get_option(self, level: int, name: int, size: int) -> bytes:
        """Options of the protocol; families override it."""
        raise SyscallError(errno.EOPNOTSUPP)

    def _get_generic(self, name: int, size: int) -> bytes:
        if name in FLAGS:
            return INT.pack(self.option(name))
        if name in NUMBERS:
            number = self.options.get((s.SOL_SOCKET, name), NUMBERS[name][2])
            return number.to_bytes(8 if name in WIDE and size >= 8 else INT.size, "little", signed=True)
        getter = GETTERS.get(name)
        if getter is None:
            raise SyscallError(errno.ENOPROTOOPT)
        value: Any = getter(self)
        return value if isinstance(value, bytes) else INT.pack(value)

    def accepting(self) -> bool:
        """SO_ACCEPTCONN: whether listen(2) was called."""
        return False

    def memory_info(self) -> tuple[int, int]:
        """Bytes that wait to be read here, and bytes sent that are not yet read there."""
        return 0, 0


def _timeout(value: bytes) -> float | None:
    if len(value) < TIMEVAL.size:
        raise SyscallError(errno.EINVAL)
    seconds, micros = TIMEVAL.unpack_from(value)
    if not 0 <= micros < 10**6:
        raise SyscallError(errno.EDOM)
    if seconds < 0:
        return 0.0
    if (seconds == 0 and micros == 0) or seconds >= TIMEOUT_LIMIT:
        return None
    return float(seconds + micros / 1e6)


def _timeval(seconds: float | None) -> bytes:
    whole = 0 if seconds is None else round(seconds * 1e6)
    return TIMEVAL.pack(*divmod(whole, 10**6))


def _meminfo(self: SocketOptions) -> bytes:
    received, sent = self.memory_info()
    return struct.pack("<9I", received, self.receive_limit, sent, self.send_limit, 0, 0, 0, 0, 0)


SETTERS: dict[int, Callable[[SocketOptions, bytes], None]] = {
    s.SO_SNDBUF: SocketOptions._set_send_limit,
    s.SO_RCVBUF: SocketOptions._set_receive_limit,
    SO_SNDBUFFORCE: SocketOptions._force_limit,
    SO_RCVBUFFORCE: SocketOptions._force_limit,
    s.SO_SNDTIMEO: SocketOptions._set_send_timeout,
    SO_SNDTIMEO_NEW: SocketOptions._set_send_timeout,
    s.SO_RCVTIMEO: SocketOptions._set_receive_timeout,
    SO_RCVTIMEO_NEW: SocketOptions._set_receive_timeout,
    s.SO_RCVLOWAT: SocketOptions._set_low_water,
    s.SO_LINGER: SocketOptions._set_linger,
    SO_PEEK_OFF: SocketOptions._set_peek_offset,
    s.SO_BINDTODEVICE: SocketOptions._set_device,
    SO_BINDTOIFINDEX: SocketOptions._set_device_index,
    26: SocketOptions._attach_filter,  # SO_ATTACH_FILTER
    27: SocketOptions._detach_filter,  # SO_DETACH_FILTER
}

GETTERS: dict[int, Callable[[SocketOptions], int | bytes]] = {
    s.SO_SNDBUF: lambda self: self.send_limit,
    s.SO_RCVBUF: lambda self: self.receive_limit,
    s.SO_SNDTIMEO: lambda self: _timeval(self.send_timeout),
    SO_SNDTIMEO_NEW: lambda self: _timeval(self.send_timeout),
    s.SO_RCVTIMEO: lambda self: _timeval(self.receive_timeout),
    SO_RCVTIMEO_NEW: lambda self: _timeval(self.receive_timeout),
    s.SO_RCVLOWAT: lambda self: self.low_water,
    s.SO_SNDLOWAT: lambda self: 1,
    s.SO_LINGER: lambda self: LINGER.pack(*self.linger),
    s.SO_TYPE: lambda self: self.type,
    s.SO_ERROR: lambda self: self.take_error(),
    s.SO_DOMAIN: lambda self: self.family,
    s.SO_PROTOCOL: lambda self: self.protocol,
    s.SO_ACCEPTCONN: lambda self: int(self.accepting()),
    SO_BSDCOMPAT: lambda self: 0,
    SO_PEEK_OFF: lambda self: self.peek_offset,
    SO_COOKIE: lambda self: self.ino.to_bytes(8, "little"),
    SO_PEERNAME: lambda self: self.remote(),
    SO_MEMINFO: _meminfo,
    s.SO_BINDTODEVICE: lambda self: self.device and self.device + b"\0",
    SO_BINDTOIFINDEX: lambda self: interface.INDEX if self.device else 0,
}
