"""Open regular files, open directories, and O_PATH's mere places."""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ..abi.errors import SyscallError
from ..abi.stat import S_IFDIR
from ..abi.user import UserPointer
from ..io.file import POLLNVAL, File
from ..sched.mutex import Mutex
from ..sched.strand import Scheduler
from . import inotify
from .credentials import Credentials
from .dentry import Location
from .inode import DirEntry, Inode
from .inodeflags import APPEND, NOATIME, SYNC, check_unlocked
from .mount import MS_NOATIME, MS_NODIRATIME, MS_STRICTATIME
from .pages import MAX_FILE_SIZE
from .permissions import must_drop_privileges, without_privileges

DAY = 86400 * 10**9
O_DIRECT = os.O_DIRECT  # bound once: every read and write asks
FIONREAD = 0x541B
FICLONE, FICLONERANGE = 0x40049409, 0x4020940D
FIGETBSZ = 2


def touch_access(inode: Inode, mount_flags: int, readonly: bool) -> None:
    """Note a read, by relatime's rule unless the mount says otherwise."""
    if readonly or mount_flags & MS_NOATIME or inode.flags & NOATIME:
        return
    atime = inode.atime
    if atime <= inode.mtime or atime <= inode.ctime or mount_flags & MS_STRICTATIME or time.time_ns() - atime > DAY:
        inode.accessed()


class PlacedFile(File):
    """A file that was opened at a place of the tree."""

    location: Location

    def __init__(self, scheduler: Scheduler, flags: int, location: Location) -> None:
        super().__init__(scheduler, flags)
        self.location = location
        self.inode = location.inode

    @property
    def seekable(self) -> bool:
        return True

    def describe(self) -> str:
        return os.fsdecode(self.location.path())


class RegularFile(PlacedFile):
    """An open regular file. ``credentials`` are the opener's."""

    def __init__(self, scheduler: Scheduler, flags: int, location: Location, credentials: Credentials) -> None:
        super().__init__(scheduler, flags, location)
        self.credentials = credentials
        # Reads and writes that may park take turns, so that each sees the position that the last one left.
        self._turn = None if self.inode.fs.synchronous else Mutex()
        self._has_end = False  # whoever has the turn is also the only one who appends to the inode

    async def read(self, size: int) -> bytes:
        if self._turn is not None:
            async with self._turn.hold(self.scheduler):
                return await self.read_on(size)
        return await self.read_on(size)

    async def read_on(self, size: int) -> bytes:
        """``read`` by who has the turn."""
        data = await self.pread(size, self.position)
        self.position += len(data)
        return data

    async def pread(self, size: int, offset: int) -> bytes:
        if not self.readable:
            raise SyscallError(errno.EBADF)
        inode = self.inode
        data = await (inode.read_direct if self.flags & O_DIRECT else inode.read)(size, offset)
        if not self.flags & os.O_NOATIME:
            mount = self.location.mount
            touch_access(inode, mount.flags, mount.readonly)
        if inotify.watched.count and data:
            inotify.notify_at(self.location, inotify.IN_ACCESS)
        return data

    async def write(self, data: bytes | memoryview) -> int:
        if self._turn is not None:
            async with self._turn.hold(self.scheduler):
                return await self.write_on(data)
        return await self.write_on(data)

    async def write_on(self, data: bytes | memoryview) -> int:
        """``write`` by who has the turn."""
        if self.flags & os.O_APPEND:
            count, self.position = await self._append(data)
            return count
        count = await self._write_at(data, self.position)
        self.position += count
        return count

    async def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        # As on Linux, and against POSIX: O_APPEND wins over the offset.
        if self.flags & os.O_APPEND:
            return (await self._append(data))[0]
        return await self._write_at(data, offset)

    async def append(self, data: bytes | memoryview) -> int:
        """Write at the end whatever the flags say, and leave the position (RWF_APPEND)."""
        return (await self._append(data))[0]

    async def _append(self, data: bytes | memoryview) -> tuple[int, int]:
        """Write at the end, as one step for everyone who appends; the count and the new end."""
        turn: Mutex | None = self.inode.attached.get("append")
        if self._has_end or (turn is None and self.inode.fs.synchronous):
            return await self._append_now(data)
        async with (turn or self._end_turn()).hold(self.scheduler):
            return await self._append_now(data)

    async def _append_now(self, data: bytes | memoryview) -> tuple[int, int]:
        offset = await self.end()
        count = await self._write_at(data, offset)
        return count, offset + count

    def _end_turn(self) -> Mutex:
        turn: Mutex = self.inode.attached.setdefault("append", Mutex())
        return turn

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """For a transfer in pieces: nobody else moves the position meanwhile, nor appends if this file does."""
        if self._turn is None:
            self._turn = Mutex()
        async with self._turn.hold(self.scheduler):
            if not self.flags & os.O_APPEND:
                yield
                return
            async with self._end_turn().hold(self.scheduler):
                self._has_end = True
                try:
                    yield
                finally:
                    self._has_end = False

    async def _write_at(self, data: bytes | memoryview, offset: int) -> int:
        if not self.writable:
            raise SyscallError(errno.EBADF)
        inode = self.inode
        if must_drop_privileges(inode, self.credentials):
            await inode.setattr(mode=without_privileges(inode.mode) & 0o7777)
        count = await (inode.write_direct if self.flags & O_DIRECT else inode.write)(data, offset)
        if self.flags & os.O_DSYNC or inode.flags & SYNC:
            await inode.sync(not self.flags & (os.O_SYNC & ~os.O_DSYNC))
        if inotify.watched.count and count:
            inotify.notify_at(self.location, inotify.IN_MODIFY)
        return count

    async def end(self) -> int:
        """The present size."""
        return self.inode.size if self.inode.fs.synchronous else (await self.inode.getattr()).size

    async def seek(self, offset: int, whence: int) -> int:
        if whence == os.SEEK_CUR:
            offset += self.position
        elif whence == os.SEEK_END:
            offset += await self.end()
        elif whence in (os.SEEK_DATA, os.SEEK_HOLE):
            if offset < 0:
                raise SyscallError(errno.ENXIO)
            offset = await self.inode.seek_data(offset, whence == os.SEEK_HOLE)
        elif whence != os.SEEK_SET:
            raise SyscallError(errno.EINVAL)
        if offset < 0:
            raise SyscallError(errno.EINVAL)
        if offset > MAX_FILE_SIZE:
            raise SyscallError(errno.EOVERFLOW)
        self.position = offset
        return offset

    async def truncate(self, size: int) -> None:
        if not self.writable:
            raise SyscallError(errno.EINVAL)
        check_unlocked(self.inode, APPEND)
        if must_drop_privileges(self.inode, self.credentials):
            await self.inode.setattr(mode=without_privileges(self.inode.mode) & 0o7777)
        await self.inode.truncate(size)
        inotify.notify_at(self.location, inotify.IN_MODIFY)

    async def sync(self, data_only: bool = False) -> None:
        await self.inode.sync(data_only)

    async def ioctl(self, thread: object, command: int, argument: UserPointer) -> int:
        if command == FIONREAD:
            argument.write(struct.pack("<i", min(await self.end() - self.position, 0x7FFFFFFF)))
        elif command == FIGETBSZ:
            argument.write(struct.pack("<i", 4096))
        elif command in (FICLONE, FICLONERANGE):
            raise SyscallError(errno.EOPNOTSUPP)
        else:
            raise SyscallError(errno.ENOTTY)
        return 0

    def before_mapping(self, offset: int, length: int, writable: bool) -> Awaitable[None] | None:
        return self.inode.before_mapping(offset, length, writable)

    def mapping(self, shared: bool, writable: bool) -> tuple[int, bool]:
        if shared and writable and self.inode.flags & APPEND:
            raise SyscallError(errno.EACCES)
        return self.inode.mapping(shared, writable)


Entries = list[DirEntry]


class DirectoryFile(PlacedFile):
    """An open directory. ``position`` is the cookie of the last entry that was read.

    "." and ".." come first and have the positions 1 and 2; the file system's cookies follow, moved by 2.
    ``END`` is what a host's file system calls the position after its last entry: it stays what it is.
    """

    END = (1 << 63) - 1

    def __init__(self, scheduler: Scheduler, flags: int, location: Location) -> None:
        super().__init__(scheduler, flags, location)
        # What the file system returned last and the reader has not taken yet.
        self._ahead: Entries = []

    async def read(self, size: int) -> bytes:
        raise SyscallError(errno.EISDIR)

    async def pread(self, size: int, offset: int) -> bytes:
        raise SyscallError(errno.EISDIR)

    async def write(self, data: bytes | memoryview) -> int:
        raise SyscallError(errno.EBADF)

    async def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        raise SyscallError(errno.EBADF)

    async def seek(self, offset: int, whence: int) -> int:
        if whence == os.SEEK_CUR:
            offset += self.position
        elif whence != os.SEEK_SET:
            raise SyscallError(errno.EINVAL)
        if offset < 0:
            raise SyscallError(errno.EINVAL)
        self.position = offset
        self._ahead = []
        return offset

    async def sync(self, data_only: bool = False) -> None:
        await self.inode.sync(data_only)

    async def list(self, size: int, pack: Callable[[DirEntry, int], bytes]) -> bytes:
        """As many entries as fit into ``size`` bytes, each packed with its position; EINVAL if not one does."""
        if self.inode.nlink == 0:
            raise SyscallError(errno.ENOENT)
        packed: list[bytes] = []
        room = size
        while entries := await self._next():
            # What the file system returned may be what it keeps: entries are not changed here, only taken.
            while entries:
                entry = entries[-1]
                position = min(entry.cookie + 2, self.END)
                record = pack(entry, position)
                room -= len(record)
                if room < 0:
                    break
                packed.append(record)
                self.position = position
                entries.pop()
            if room < 0:
                break
        if room < 0 and not packed:
            raise SyscallError(errno.EINVAL)
        mount = self.location.mount
        if not mount.flags & MS_NODIRATIME:
            touch_access(self.inode, mount.flags, mount.readonly)
        inotify.notify_at(self.location, inotify.IN_ACCESS)
        return b"".join(packed)

    async def _next(self) -> Entries:
        """The entries that follow ``position``, the next one last; none at the end."""
        if not self._ahead:
            if self.position < 2:
                above = self.location.up().inode
                dots = [DirEntry(b"..", above.ino, S_IFDIR, 0), DirEntry(b".", self.inode.ino, S_IFDIR, -1)]
                self._ahead = dots[: 2 - self.position]
            elif self.position < self.END:
                self._ahead = list(reversed(await self.inode.readdir(self.position - 2)))
        return self._ahead


class PathFile(PlacedFile):
    """What O_PATH opens: a place that can be passed on and asked about, and nothing else."""

    def __init__(self, scheduler: Scheduler, flags: int, location: Location) -> None:
        super().__init__(scheduler, flags, location)
        self.readable = self.writable = False

    @property
    def seekable(self) -> bool:
        return False

    async def read(self, size: int) -> bytes:
        raise SyscallError(errno.EBADF)

    async def write(self, data: bytes | memoryview) -> int:
        raise SyscallError(errno.EBADF)

    async def pread(self, size: int, offset: int) -> bytes:
        raise SyscallError(errno.EBADF)

    async def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        raise SyscallError(errno.EBADF)

    async def seek(self, offset: int, whence: int) -> int:
        raise SyscallError(errno.EBADF)

    async def ioctl(self, thread: object, command: int, argument: UserPointer) -> int:
        raise SyscallError(errno.EBADF)

    async def truncate(self, size: int) -> None:
        raise SyscallError(errno.EBADF)

    async def sync(self, data_only: bool = False) -> None:
        raise SyscallError(errno.EBADF)

    def mapping(self, shared: bool, writable: bool) -> tuple[int, bool]:
        raise SyscallError(errno.EBADF)

    def poll(self) -> int:
        return POLLNVAL
