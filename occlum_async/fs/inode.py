"""The inode, and the file system that it belongs to: what every file system implements.

Operations that may have to wait (a host, a disk) are coroutines; one that does not wait costs its caller
one ``await`` that never parks. Names are ``bytes`` without a slash. Permission checks are the VFS's: an
inode does what it is told. Errors are ``SyscallError``. The defaults refuse, so that a file system only
writes what it has.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any

import msgspec

from ..abi.errors import SyscallError
from ..abi.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, Stat

if TYPE_CHECKING:
    from ..io.file import File
    from .credentials import Credentials


class StatFs(msgspec.Struct):
    """statfs(2)'s numbers; ``type`` is the magic number of the file system."""

    type: int
    bsize: int = 4096
    blocks: int = 0
    bfree: int = 0
    bavail: int = 0
    files: int = 0
    ffree: int = 0
    namelen: int = 255
    flags: int = 0


class DirEntry(msgspec.Struct):
    """One directory entry. ``cookie`` is the d_off to continue *after* this entry; never 0."""

    name: bytes
    ino: int
    type: int  # S_IF* format bits, 0 if unknown
    cookie: int


class FileSystem:
    """A mounted file system instance (a superblock): ``root`` is its root inode."""

    name = "none"  # as in /proc/filesystems
    magic = 0
    needs_device = False
    # Whether the VFS may cache that a name does not exist, and keep dentries without asking again.
    cacheable = True
    # Whether dentries that nobody uses stay in the cache: not where they cost nothing and hold what they show.
    keeps_dentries = True
    # Whether reading and writing never park: then nobody needs to take turns.
    synchronous = False
    # Whether it can be changed at all, and whether its last mount is gone.
    writable = True
    closed = False
    whiteouts = False  # whether RENAME_WHITEOUT may leave a device 0:0 behind

    def __init__(self, device: int) -> None:
        self.device = device  # st_dev, unique per instance
        self.root: Inode

    async def statfs(self) -> StatFs:
        """Space and limits."""
        return StatFs(self.magic)

    async def sync(self) -> None:
        """Make everything written durable."""

    def options(self) -> str:
        """Mount options of the file system, as in /proc/mounts, without ro/rw."""
        return ""

    def busy(self) -> bool:
        """Whether it is used in a way that mounts and open files do not tell: guests have files of it mapped."""
        return False

    async def unmount(self) -> None:
        """The last mount is gone."""


class Attributes(msgspec.Struct, frozen=True):
    """What is to become of an inode's attributes; what is None stays. ``mode`` is the permission bits only."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime: int | None = None
    mtime: int | None = None
    ctime: int | None = None  # None: now

    def enter(self, inode: Inode) -> None:
        """Set the fields of ``inode``; all but the size, which is more than a field."""
        if self.mode is not None:
            inode.mode = inode.mode & S_IFMT | self.mode & 0o7777
        if self.uid is not None:
            inode.uid = self.uid
        if self.gid is not None:
            inode.gid = self.gid
        if self.atime is not None:
            inode.atime = self.atime
        if self.mtime is not None:
            inode.mtime = self.mtime
        inode.ctime = time.time_ns() if self.ctime is None else self.ctime


def check_xattr(flags: int, present: bool) -> None:
    """What the flags of setxattr(2) ask: EEXIST of XATTR_CREATE, ENODATA of XATTR_REPLACE."""
    if flags & os.XATTR_CREATE and present:
        raise SyscallError(errno.EEXIST)
    if flags & os.XATTR_REPLACE and not present:
        raise SyscallError(errno.ENODATA)


class Inode:
    """A file, whatever its kind. Attributes are plain fields; change them through ``setattr``.

    Times are nanoseconds since the epoch. ``flags`` are those of chattr(1), see ``inodeflags``, which only some file
    systems keep.
    """

    flags = 0
    keeps_flags = False
    generation = 0  # which of the files that have had this number it is

    def __init__(self, fs: FileSystem, ino: int, mode: int, uid: int = 0, gid: int = 0) -> None:
        self.fs = fs
        self.ino = ino
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.nlink = 1
        self.size = 0
        self.rdev = 0
        self.atime = self.mtime = self.ctime = self.btime = time.time_ns()
        # State that belongs to the VFS, by name, made on first use: "locks", "flock", "fifo", "socket",
        # "watches" (inotify).
        self.attached: dict[str, Any] = {}

    @property
    def format(self) -> int:
        """The S_IF* bits."""
        return self.mode & S_IFMT

    @property
    def is_dir(self) -> bool:
        return self.mode & S_IFMT == S_IFDIR

    @property
    def is_symlink(self) -> bool:
        return self.mode & S_IFMT == S_IFLNK

    @property
    def is_regular(self) -> bool:
        return self.mode & S_IFMT == S_IFREG

    # -- attributes ----------------------------------------------------------

    async def getattr(self) -> Stat:
        """The present attributes (a host file's are asked for again)."""
        return Stat(
            self.mode, self.ino, self.fs.device, self.nlink, self.uid, self.gid, self.rdev, self.size,
            4096, (self.size + 511) // 512, self.atime, self.mtime, self.ctime, self.btime,
        )  # fmt: skip

    async def setattr(
        self,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        size: int | None = None,
        atime: int | None = None,
        mtime: int | None = None,
        ctime: int | None = None,
    ) -> None:
        """Change attributes, see ``Attributes``. The VFS has checked the right to."""
        await self.change(Attributes(mode, uid, gid, size, atime, mtime, ctime))

    async def change(self, wanted: Attributes) -> None:
        """What ``setattr`` does in this file system."""
        raise SyscallError(errno.EPERM)

    async def set_flags(self, flags: int) -> None:
        """Change those of the flags that can be changed. The VFS has checked the right to."""
        raise SyscallError(errno.ENOTTY)

    # -- a directory's operations ---------------------------------------------

    async def lookup(self, name: bytes) -> Inode:
        """The inode of that name; ENOENT. Never called with "." or ".."."""
        raise SyscallError(errno.ENOTDIR)

    async def create(self, name: bytes, mode: int, credentials: Credentials, rdev: int = 0) -> Inode:
        """Make a regular file, FIFO, socket or device node (by ``mode``'s format); EEXIST."""
        raise SyscallError(errno.EROFS)

    async def mkdir(self, name: bytes, mode: int, credentials: Credentials) -> Inode:
        """Make a directory."""
        raise SyscallError(errno.EROFS)

    async def symlink(self, name: bytes, target: bytes, credentials: Credentials) -> Inode:
        """Make a symbolic link."""
        raise SyscallError(errno.EROFS)

    async def link(self, name: bytes, inode: Inode) -> None:
        """Make another name for ``inode`` (of the same file system)."""
        raise SyscallError(errno.EROFS)

    async def unlink(self, name: bytes, inode: Inode) -> None:
        """Remove the name of a non-directory."""
        raise SyscallError(errno.EROFS)

    async def rmdir(self, name: bytes, inode: Inode) -> None:
        """Remove an empty directory; ENOTEMPTY."""
        raise SyscallError(errno.EROFS)

    async def rename(
        self, name: bytes, inode: Inode, target: Inode, new_name: bytes, replaced: Inode | None, exchange: bool = False
    ) -> None:
        """Move ``name`` to ``new_name`` in the directory ``target`` of the same file system.

        The VFS has checked types and loops; a non-empty ``replaced`` directory is ENOTEMPTY.
        """
        raise SyscallError(errno.EROFS)

    async def tmpfile(self, mode: int, credentials: Credentials) -> Inode:
        """A regular file without a name in this directory's file system (O_TMPFILE)."""
        raise SyscallError(errno.EOPNOTSUPP)

    async def readdir(self, cookie: int) -> list[DirEntry]:
        """Entries after ``cookie`` (0: from the start), without "." and ".."; [] at the end.

        An entry that exists during the whole of a listing appears exactly once, whatever changes meanwhile.
        """
        raise SyscallError(errno.ENOTDIR)

    async def all_entries(self) -> AsyncIterator[DirEntry]:
        """All that ``readdir`` lists, from the start to the end."""
        cookie = 0
        while entries := await self.readdir(cookie):
            for entry in entries:
                yield entry
            cookie = entries[-1].cookie

    # -- a symbolic link's -----------------------------------------------------

    async def readlink(self) -> bytes:
        """The target."""
        raise SyscallError(errno.EINVAL)

    async def follow(self) -> Any:
        """For magic links (/proc/self/fd/N): the ``Location`` (dentry and mount) or ``File`` itself; else None."""
        return None

    # -- a regular file's ------------------------------------------------------

    def open(self, flags: int) -> File | None:
        """A special ``File`` for this inode (devices, procfs); None: the VFS's own ``RegularFile``.

        May also return an awaitable of one of these.
        """
        return None

    async def read(self, size: int, offset: int) -> bytes:
        """Bytes at ``offset``; fewer at the end of file."""
        raise SyscallError(errno.EINVAL)

    async def write(self, data: bytes | memoryview, offset: int) -> int:
        """Write at ``offset``, growing the file; ENOSPC, EFBIG."""
        raise SyscallError(errno.EINVAL)

    async def read_direct(self, size: int, offset: int) -> bytes:
        """Read past whatever is cached, for O_DIRECT; EINVAL for what is not aligned to the disk's sectors."""
        return await self.read(size, offset)

    async def write_direct(self, data: bytes | memoryview, offset: int) -> int:
        """Write past whatever is cached, for O_DIRECT; EINVAL as for reading."""
        return await self.write(data, offset)

    async def advise(self, advice: int, offset: int, length: int) -> None:
        """posix_fadvise(2) of a valid ``advice``; ``length`` 0 is to the end."""

    def accessed(self) -> None:
        """The data were read through a mount that keeps access times (relatime's rule is the VFS's)."""

    async def truncate(self, size: int) -> None:
        """Set the size."""
        await self.setattr(size=size)

    async def fallocate(self, mode: int, offset: int, length: int) -> None:
        """fallocate(2)."""
        raise SyscallError(errno.EOPNOTSUPP)

    async def seek_data(self, offset: int, hole: bool) -> int:
        """SEEK_DATA/SEEK_HOLE; ENXIO past the end."""
        if offset >= self.size:
            raise SyscallError(errno.ENXIO)
        return self.size if hole else offset

    async def sync(self, data_only: bool) -> None:
        """fsync(2)."""

    def before_mapping(self, offset: int, length: int, writable: bool) -> Awaitable[None] | None:
        """See ``File.before_mapping``."""
        return None

    def mapping(self, shared: bool, writable: bool) -> tuple[int, bool]:
        """See ``File.mapping``."""
        raise SyscallError(errno.ENODEV)

    # -- extended attributes ---------------------------------------------------

    async def getxattr(self, name: bytes) -> bytes:
        """ENODATA when there is none."""
        raise SyscallError(errno.EOPNOTSUPP)

    async def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        """See ``check_xattr``."""
        raise SyscallError(errno.EOPNOTSUPP)

    async def removexattr(self, name: bytes) -> None:
        raise SyscallError(errno.EOPNOTSUPP)

    async def listxattr(self) -> list[bytes]:
        return []
