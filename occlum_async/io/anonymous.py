"""Files without a name or an inode of their own: what eventfd, timerfd, signalfd and epoll are."""

from __future__ import annotations

import errno
import struct

from ..abi.errors import SyscallError
from ..abi.stat import Stat, makedev
from ..abi.user import UserPointer
from .file import File

INT = struct.Struct("<i")

# The device numbers of Linux' internal mounts; no mounted file system of the LibOS uses them.
PIPE_DEVICE = makedev(0, 13)
ANONYMOUS_DEVICE = makedev(0, 14)
MQUEUE_DEVICE = makedev(0, 19)


class AnonymousFile(File):
    """A file of the one inode that Linux shares among all its anonymous files."""

    kind = "[file]"  # as /proc/self/fd/N shows it behind "anon_inode:"

    def describe(self) -> str:
        return f"anon_inode:{self.kind}"

    def reopen(self, flags: int) -> File:
        raise SyscallError(errno.ENXIO)

    async def stat(self) -> Stat:
        return Stat(0o600, ino=1, dev=ANONYMOUS_DEVICE)


def put_int(argument: UserPointer, value: int) -> int:
    """Answer an ioctl(2) that reports an ``int``."""
    argument.pack(INT, value)
    return 0
