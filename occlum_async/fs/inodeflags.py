"""The flags of chattr(1), which are ext2's, and what two of them forbid to everybody, root too."""

from __future__ import annotations

import errno

from ..abi.errors import SyscallError
from .inode import Inode

SYNC, IMMUTABLE, APPEND, NOATIME = 0x8, 0x10, 0x20, 0x80
LOCKED = IMMUTABLE | APPEND


def check_unlocked(inode: Inode, flags: int = LOCKED) -> None:
    """EPERM for an inode with one of ``flags``."""
    if inode.flags & flags:
        raise SyscallError(errno.EPERM)
