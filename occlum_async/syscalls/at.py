"""What the calls with a ``dirfd`` share: from (descriptor, path, AT_* flags) to a place."""

from __future__ import annotations

import errno

from ..abi.errors import SyscallError
from ..fs.dentry import Location
from ..fs.namei import FOLLOW, resolve
from ..process.thread import Thread

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_EACCESS, AT_SYMLINK_FOLLOW = 0x100, 0x200, 0x200, 0x400
AT_NO_AUTOMOUNT, AT_EMPTY_PATH = 0x800, 0x1000


def start_of(thread: Thread, dirfd: int, path: bytes) -> Location | None:
    """Where a relative ``path`` starts; None for the working directory. EBADF, ENOTDIR."""
    if dirfd == AT_FDCWD or not path or path[:1] == b"/":
        return None
    location: Location | None = thread.files.get(dirfd).location
    if location is None or not location.inode.is_dir:
        raise SyscallError(errno.ENOTDIR)
    return location


def location_of(thread: Thread, fd: int) -> Location:
    """The place that an open file was opened at; EBADF for what has none."""
    location: Location | None = thread.files.get(fd).location
    if location is None:
        raise SyscallError(errno.EBADF)
    return location


async def locate(thread: Thread, dirfd: int, path: bytes, flags: int) -> Location:
    """The place that a call names; AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH count."""
    if not path and flags & AT_EMPTY_PATH:
        return thread.fs.cwd if dirfd == AT_FDCWD else location_of(thread, dirfd)
    follow = 0 if flags & AT_SYMLINK_NOFOLLOW else FOLLOW
    return await resolve(thread, path, start_of(thread, dirfd, path), follow)


def check_flags(flags: int, known: int) -> None:
    """EINVAL for a flag that the call does not know."""
    if flags & ~known:
        raise SyscallError(errno.EINVAL)
