"""pidfd_open(2)'s file: a process that cannot be mistaken for another, and whose end can be polled for."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, cast

from ..abi.errors import SyscallError
from ..fs.procfs.process import TaskDirectory
from ..io.anonymous import AnonymousFile
from ..io.file import POLLIN, POLLRDNORM, File

if TYPE_CHECKING:
    from .process import Process


class PidFd(AnonymousFile):
    """Refers to ``process`` even after its pid has been given to another."""

    kind = "[pidfd]"

    def __init__(self, process: Process, flags: int = 0) -> None:
        super().__init__(process.kernel.scheduler, os.O_RDWR | flags)
        self.process = process
        self._waiter = process.exit_waiters.add(lambda _: self.waiters.wake(POLLIN | POLLRDNORM))

    def close(self) -> None:
        self.process.exit_waiters.remove(self._waiter)

    def poll(self) -> int:
        return POLLIN | POLLRDNORM if self.process.zombie else 0

    def fdinfo(self) -> str:
        pid = -1 if self.process.reaped else self.process.pid
        return f"Pid:\t{pid}\nNSpid:\t{pid}\n"


def process_of(file: File) -> Process:
    """The process that a pidfd refers to; EBADF when ``file`` is none."""
    if not isinstance(file, PidFd):
        raise SyscallError(errno.EBADF)
    return file.process


def signalled_by(file: File) -> Process:
    """The process that pidfd_send_signal(2) means: a pidfd's, or that of a directory /proc/PID."""
    inode = file.location.inode if file.location is not None else None
    if isinstance(inode, TaskDirectory) and inode.whole:
        return cast("Process", inode.process)
    return process_of(file)
