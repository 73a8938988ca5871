"""The inodes of a sefs: attributes in the header of their host file, names of a directory as its data."""

from __future__ import annotations

import errno
import itertools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from ...abi.errors import SyscallError
from ...abi.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, Stat
from ...io.boundary.calls import FILE_TYPES
from ...sched.apart import apart
from ..credentials import Credentials
from ..dentry import NAME_MAX
from ..inode import Attributes, DirEntry, Inode, check_xattr
from ..memory import FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, PAGE, pages_of
from ..pagecache import CachedInode, Data, PageStore
from .tree import MAX_PAGES, RECORD_MAX, SealedTree

if TYPE_CHECKING:
    from .filesystem import Sefs

BATCH = 1024  # names of one readdir
DIRECTORY_MAX = 64 << 20  # bytes of one directory's names
MAX_NUMBER = 1 << 31  # of an inode
TIME_MAX = (1 << 63) - 1  # nanoseconds: the year 2262
MAX_SIZE = MAX_PAGES * PAGE


_Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
_Time = Annotated[int, msgspec.Meta(ge=-TIME_MAX, le=TIME_MAX)]
_Name = Annotated[bytes, msgspec.Meta(min_length=1, max_length=NAME_MAX)]


class Record(msgspec.Struct, array_like=True):
    """What the header of a host file has of its inode. Times are nanoseconds."""

    mode: Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]
    uid: _Number
    gid: _Number
    nlink: _Number
    rdev: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
    atime: _Time
    mtime: _Time
    ctime: _Time
    btime: _Time
    target: bytes
    xattrs: dict[_Name, bytes]
    pages: Annotated[int, msgspec.Meta(ge=-1, le=MAX_PAGES)] = -1  # that are no holes; -1: nobody has counted


# Name, number of the inode, its format.
_Names = list[tuple[_Name, Annotated[int, msgspec.Meta(ge=1, lt=MAX_NUMBER)], int]]


class SefsInode(CachedInode, PageStore):
    """A file of any kind. ``home`` is the directory in which it was made, until that is stored."""

    fs: Sefs

    def __init__(
        self, fs: Sefs, ino: int, mode: int, uid: int, gid: int, rdev: int = 0, tree: SealedTree | None = None,
        size: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(fs, ino, mode, uid, gid)
        self.tree = fs.tree(ino) if tree is None else tree
        self.rdev = rdev
        self.size = size
        self.target = b""
        self.xattrs: dict[bytes, bytes] = {}
        self.home: SefsInode | None = None
        self.names: dict[bytes, tuple[int, int, int]] = {}  # number, format, cookie
        self._cookies = itertools.count(1)
        if self.is_regular:
            self.data = fs.cache.open(self, size, fs)

    def __del__(self) -> None:
        if self.nlink == 0:
            self.fs.abandoned(self.tree)

    @classmethod
    async def load(cls, fs: Sefs, ino: int, tree: SealedTree) -> SefsInode:
        """Make it of its host file, which is open. EIO."""
        try:
            record = msgspec.msgpack.decode(tree.record, type=Record)
        except (msgspec.DecodeError, RecursionError):
            raise SyscallError(errno.EIO) from None
        if record.mode & S_IFMT not in FILE_TYPES:
            raise SyscallError(errno.EIO)
        inode = cls(fs, ino, record.mode, record.uid, record.gid, record.rdev, tree, record.size)
        inode.nlink, inode.target, inode.xattrs = max(1, record.nlink), record.target, record.xattrs
        inode.atime, inode.mtime, inode.ctime, inode.btime = record.atime, record.mtime, record.ctime, record.btime
        tree.pages = pages_of(record.size) if record.pages < 0 else record.pages
        if inode.is_dir:
            await inode._load_names()
        return inode

    async def _load_names(self) -> None:
        if self.size > DIRECTORY_MAX:
            raise SyscallError(errno.EFBIG)
        content = bytes(await self.tree.read(0, pages_of(self.size)))[: self.size]
        try:
            names = msgspec.msgpack.decode(content, type=_Names) if content else []
        except (msgspec.DecodeError, RecursionError):
            raise SyscallError(errno.EIO) from None
        for name, _, kind in names:
            if name in (b".", b"..") or b"/" in name or b"\0" in name or kind not in FILE_TYPES:
                raise SyscallError(errno.EIO)
        self.names = {name: (ino, kind, next(self._cookies)) for name, ino, kind in names}

    async def store(self) -> None:
        """Make attributes and content durable, as far as the store has it. EIO, ENOSPC."""
        fs = self.fs
        async with self.tree.lock.hold(fs.scheduler):
            await fs.opened(self.tree)
            fs.dirty.pop(self.ino, None)
            try:
                if self.is_dir:
                    await self._store_names()
                self.tree.record = self._record()
                await self.tree.sync()
            except BaseException:
                fs.changed(self)
                raise

    async def _store_names(self) -> None:
        content = msgspec.msgpack.encode([(name, ino, kind) for name, (ino, kind, _) in self.names.items()])
        self.size = len(content)
        pages = pages_of(self.size)
        await self.tree.write([(0, content.ljust(pages * PAGE, b"\0"))])
        await self.tree.clear(pages, MAX_PAGES)

    def _record(self) -> bytes:
        return msgspec.msgpack.encode(
            Record(
                self.mode, self.uid, self.gid, self.nlink, self.rdev, self.size, self.atime, self.mtime, self.ctime,
                self.btime, self.target, self.xattrs, self.tree.pages,
            )
        )  # fmt: skip

    # -- the page cache's side -------------------------------------------------------------------

    async def read_pages(self, index: int, count: int) -> Data:
        async with self.tree.lock.hold(self.fs.scheduler):
            await self.fs.opened(self.tree)
            return await self.tree.read(index, count)

    async def reserve_pages(self, index: int, count: int) -> None:
        self._check_writable()  # the host promises no room: that there is none is told by fsync
        if index + count > MAX_PAGES:
            raise SyscallError(errno.EFBIG)

    async def write_pages(self, index: int, data: Data) -> None:
        await self.write_runs([(index, data)])

    async def write_runs(self, runs: Sequence[tuple[int, Data]]) -> None:
        async with self.tree.lock.hold(self.fs.scheduler):
            await self.fs.opened(self.tree)
            await self.tree.write(runs)
        self.fs.changed(self)

    async def next_data(self, index: int, end: int) -> int:
        return await self._find(index, end, False)

    async def _find(self, index: int, end: int, hole: bool) -> int:
        async with self.tree.lock.hold(self.fs.scheduler):
            await self.fs.opened(self.tree)
            return await self.tree.find(index, end, hole)

    async def resized(self, size: int) -> None:
        await self.punched(pages_of(size), MAX_PAGES)

    async def punched(self, index: int, end: int) -> None:
        await apart(self.fs.scheduler, self._clear(index, end))

    async def _clear(self, index: int, end: int) -> None:
        async with self.tree.lock.hold(self.fs.scheduler):
            await self.fs.opened(self.tree)
            await self.tree.clear(index, end)
        self.fs.changed(self)

    # -- attributes ---------------------------------------------------------------------------------

    def _check_writable(self) -> None:
        if not self.fs.writable:
            raise SyscallError(errno.EROFS)

    def changed(self) -> None:
        super().changed()
        self.fs.changed(self)

    async def getattr(self) -> Stat:
        return Stat(
            self.mode, self.ino, self.fs.device, self.nlink, self.uid, self.gid, self.rdev, self.size,
            PAGE, max(0, self.tree.pages) * 8, self.atime, self.mtime, self.ctime, self.btime,
        )  # fmt: skip

    async def change(self, wanted: Attributes) -> None:
        self._check_writable()
        if wanted.size is not None:
            await self._truncate(wanted.size)
            self.changed()
        wanted.enter(self)
        self.atime, self.mtime, self.ctime = map(_representable, (self.atime, self.mtime, self.ctime))
        self.fs.changed(self)

    async def _truncate(self, size: int) -> None:
        if size > MAX_SIZE:
            raise SyscallError(errno.EFBIG)
        await self.cached().truncate(size)

    def accessed(self) -> None:
        if self.fs.writable:
            self.atime = time.time_ns()
            self.fs.changed(self)

    async def sync(self, data_only: bool) -> None:
        """Also the directory that the file was made in: a file that is synced can be found."""
        if self.data is not None:
            await self.data.sync()
        while self.fs.writable and self.nlink:
            home, self.home = self.home, None
            if self.ino in self.fs.dirty:
                await apart(self.fs.scheduler, self.store())
            if home is None:
                return
            await home.sync(data_only)

    async def fallocate(self, mode: int, offset: int, length: int) -> None:
        self._check_writable()
        if mode == FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE:
            await self.cached().punch(offset, length)
        elif mode == 0:
            if offset + length > self.cached().size:
                await self._truncate(offset + length)
        else:
            raise SyscallError(errno.EOPNOTSUPP)
        self.changed()

    async def seek_data(self, offset: int, hole: bool) -> int:
        size = self.cached().size
        if offset >= size:
            raise SyscallError(errno.ENXIO)
        await self.cached().sync()  # what waits in the cache has no place yet
        end = pages_of(size)
        page = await self._find(offset // PAGE, end, hole)
        if page < end:
            return max(offset, page * PAGE)
        if not hole:
            raise SyscallError(errno.ENXIO)
        return size

    # -- a directory's -----------------------------------------------------------------------------------

    def _touch(self) -> None:
        self.mtime = self.ctime = time.time_ns()
        self.fs.changed(self)

    async def lookup(self, name: bytes) -> Inode:
        if not self.is_dir:
            raise SyscallError(errno.ENOTDIR)
        if name not in self.names:
            raise SyscallError(errno.ENOENT)
        return await self.fs.inode(self.names[name][0])

    def _enter(self, name: bytes, inode: SefsInode) -> None:
        self.names[name] = (inode.ino, inode.format, next(self._cookies))
        if inode.is_dir:
            self.nlink += 1
        inode.home = self
        self._touch()

    def _remove(self, name: bytes) -> None:
        if self.names.pop(name)[1] == S_IFDIR:
            self.nlink -= 1
        self._touch()

    def _make(self, name: bytes, mode: int, credentials: Credentials, rdev: int = 0) -> SefsInode:
        self._check_writable()
        if name in self.names:
            raise SyscallError(errno.EEXIST)
        inode = self.fs.new_inode(mode, credentials.fsuid, credentials.fsgid, rdev)
        self.fs.changed(inode)
        self._enter(name, inode)
        return inode

    async def create(self, name: bytes, mode: int, credentials: Credentials, rdev: int = 0) -> Inode:
        return self._make(name, mode, credentials, rdev)

    async def mkdir(self, name: bytes, mode: int, credentials: Credentials) -> Inode:
        inode = self._make(name, S_IFDIR | mode & 0o7777, credentials)
        inode.nlink = 2
        return inode

    async def symlink(self, name: bytes, target: bytes, credentials: Credentials) -> Inode:
        if len(target) > RECORD_MAX // 2:
            raise SyscallError(errno.ENAMETOOLONG)
        inode = self._make(name, S_IFLNK | 0o777, credentials)
        inode.target, inode.size = target, len(target)
        return inode

    async def link(self, name: bytes, inode: Inode) -> None:
        self._check_writable()
        assert isinstance(inode, SefsInode)
        if name in self.names:
            raise SyscallError(errno.EEXIST)
        inode._linked(1)
        self._enter(name, inode)

    def _linked(self, names: int) -> None:
        """The file has so many names more, or fewer."""
        self.nlink += names
        self.ctime = time.time_ns()
        if self.data is not None:
            self.data.keep(self.nlink > 0)
        if self.nlink:
            self.fs.changed(self)
        else:
            self.fs.dirty.pop(self.ino, None)

    async def unlink(self, name: bytes, inode: Inode) -> None:
        self._check_writable()
        assert isinstance(inode, SefsInode)
        self._remove(name)
        inode._linked(-1)

    async def rmdir(self, name: bytes, inode: Inode) -> None:
        self._check_writable()
        assert isinstance(inode, SefsInode)
        if inode.names:
            raise SyscallError(errno.ENOTEMPTY)
        self._remove(name)
        inode._linked(-inode.nlink)

    async def rename(
        self, name: bytes, inode: Inode, target: Inode, new_name: bytes, replaced: Inode | None, exchange: bool = False
    ) -> None:
        self._check_writable()
        assert isinstance(target, SefsInode) and isinstance(inode, SefsInode)
        if exchange:
            assert isinstance(replaced, SefsInode)
            self._remove(name)
            target._remove(new_name)
            self._enter(name, replaced)
        elif replaced is not None:
            await (target.rmdir if replaced.is_dir else target.unlink)(new_name, replaced)
            self._remove(name)
        else:
            self._remove(name)
        target._enter(new_name, inode)
        inode.ctime = time.time_ns()

    async def tmpfile(self, mode: int, credentials: Credentials) -> Inode:
        self._check_writable()
        inode = self.fs.new_inode(S_IFREG | mode & 0o7777, credentials.fsuid, credentials.fsgid, 0)
        inode._linked(-1)
        return inode

    async def readdir(self, cookie: int) -> list[DirEntry]:
        found = itertools.islice(((n, e) for n, e in self.names.items() if e[2] > cookie), BATCH)
        return [DirEntry(name, ino, kind, number) for name, (ino, kind, number) in found]

    async def readlink(self) -> bytes:
        if not self.is_symlink:
            raise SyscallError(errno.EINVAL)
        return self.target

    # -- extended attributes ---------------------------------------------------------------------------------

    async def getxattr(self, name: bytes) -> bytes:
        if name not in self.xattrs:
            raise SyscallError(errno.ENODATA)
        return self.xattrs[name]

    async def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        self._check_writable()
        check_xattr(flags, name in self.xattrs)
        self._set_xattrs({**self.xattrs, name: value})

    async def removexattr(self, name: bytes) -> None:
        self._check_writable()
        if name not in self.xattrs:
            raise SyscallError(errno.ENODATA)
        self._set_xattrs({key: value for key, value in self.xattrs.items() if key != name})

    def _set_xattrs(self, xattrs: dict[bytes, bytes]) -> None:
        before, self.xattrs = self.xattrs, xattrs
        if len(self._record()) > RECORD_MAX - 64:  # numbers may become longer
            self.xattrs = before
            raise SyscallError(errno.ENOSPC)
        self.ctime = time.time_ns()
        self.fs.changed(self)

    async def listxattr(self) -> list[bytes]:
        return list(self.xattrs)


def _representable(time_ns: int) -> int:
    """The time that a record can hold."""
    return max(-TIME_MAX, min(time_ns, TIME_MAX))
