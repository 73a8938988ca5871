"""The kernel's say in every host clone: a guest that makes threads or processes on its own is refused.

The guests' seccomp filter asks through a listener (seccomp_unotify(2)) before it lets a clone happen. What the kernel
has ordered is expected, once, from that thread with those flags; everything else is EPERM. So the LibOS's limit of
tasks binds guests that have taken over their shim, too.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import struct
from collections import Counter

from ..sched.strand import Scheduler

log = logging.getLogger(__name__)

_SYS_PIDFD_GETFD = 438
_NOTIF = struct.Struct("<QIIiIQ6Q")  # id, pid, flags, then struct seccomp_data
_RESPONSE = struct.Struct("<QqiI")  # id, value, error, flags
_CONTINUE = 1
_RECEIVE = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV
_SEND = 0xC0182101  # SECCOMP_IOCTL_NOTIF_SEND

_libc = ctypes.CDLL(None, use_errno=True)


class CloneListener:
    """Answers the guests' clones. ``refused`` counts those that nobody has ordered."""

    def __init__(self, scheduler: Scheduler, pidfd: int, remote: int) -> None:
        self._loop = scheduler.loop
        self.refused = 0
        # How many clones with those flags a thread may make. The ids are the guests' own say, so one that names
        # another's thread adds to what is expected of that, and takes nothing away.
        self._expected: Counter[tuple[int, int]] = Counter()
        self._fd = _libc.syscall(_SYS_PIDFD_GETFD, pidfd, remote, 0)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "the seccomp listener can't be taken over (pidfd_getfd)")
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._asked)

    def expect(self, tid: int, flags: int) -> None:
        """The host thread ``tid`` has been ordered to clone with ``flags``."""
        self._expected[tid, flags] += 1

    def settle(self, tid: int, flags: int) -> None:
        """The order has been carried out, or has failed before the host was asked."""
        self._take(tid, flags)

    def _take(self, tid: int, flags: int) -> bool:
        """Whether that clone was expected; it is not any more."""
        left = self._expected[tid, flags] - 1
        if left > 0:
            self._expected[tid, flags] = left
        else:
            del self._expected[tid, flags]
        return left >= 0

    def _asked(self) -> None:
        buffer = bytearray(_NOTIF.size)
        try:
            fcntl.ioctl(self._fd, _RECEIVE, buffer)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                log.error("the seccomp listener is broken: %s", error)
                self._loop.remove_reader(self._fd)
            return
        identity, tid, _, _, _, _, flags, *_ = _NOTIF.unpack(buffer)
        agreed = self._take(tid, flags)
        if not agreed:
            self.refused += 1
            if self.refused == 1:
                log.warning("a guest (host thread %d) tried to clone on its own: refused", tid)
        answer = _RESPONSE.pack(identity, 0, 0 if agreed else -errno.EPERM, _CONTINUE if agreed else 0)
        try:
            fcntl.ioctl(self._fd, _SEND, answer)
        except OSError:
            # The thread is gone, or a signal has interrupted it and it will ask again.
            if agreed:
                self.expect(tid, flags)

    def close(self) -> None:
        """The guests are gone."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
