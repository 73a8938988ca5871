"""How a failing system call travels through the kernel: as one exception that carries an errno."""

from __future__ import annotations

import errno
import os


class SyscallError(Exception):
    """A system call fails with ``errno`` (a positive number of errno(3)).

    ``signal`` is set where Linux sends the caller a signal along with the error (SIGPIPE with EPIPE,
    SIGXFSZ with EFBIG, SIGTTIN/SIGTTOU with EIO): the dispatcher sends it before it answers.
    """

    __slots__ = ("errno", "signal")

    def __init__(self, number: int, signal: int = 0) -> None:
        super().__init__(number)
        self.errno = number
        self.signal = signal

    def __str__(self) -> str:
        return f"{errno.errorcode.get(self.errno, self.errno)}: {os.strerror(self.errno)}"


class Interrupted(Exception):
    """Raised at a wait point when a signal must be handled (or the thread must die).

    A handler that has already done part of its work catches it and returns what it did; every other
    handler lets it pass. What the guest then sees (a restart or EINTR) is decided by the declaration
    of the system call (its ``restart`` policy), as the list in signal(7) says.
    """
