"""Times as the ABI lays them out. Inside the LibOS a time is an ``int`` of nanoseconds."""

from __future__ import annotations

import errno
import struct

from .errors import SyscallError

BILLION = 10**9
TIMESPEC = struct.Struct("<qq")  # struct timespec and struct timeval: two longs
ITIMERSPEC = struct.Struct("<qqqq")  # interval, value


def from_timespec(seconds: int, nanoseconds: int) -> int:
    """``struct timespec`` in nanoseconds; EINVAL when it is none."""
    if seconds < 0 or not 0 <= nanoseconds < BILLION:
        raise SyscallError(errno.EINVAL)
    return seconds * BILLION + nanoseconds


def from_timeval(seconds: int, microseconds: int) -> int:
    """``struct timeval`` in nanoseconds; EINVAL when it is none."""
    if seconds < 0 or not 0 <= microseconds < 10**6:
        raise SyscallError(errno.EINVAL)
    return seconds * BILLION + microseconds * 1000


def to_timeval(nanoseconds: int) -> tuple[int, int]:
    """Seconds and microseconds, rounded up: a timer that runs never shows 0."""
    return divmod(-(-nanoseconds // 1000), 10**6)
