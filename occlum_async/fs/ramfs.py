"""A file system in memory, with tmpfs' limits: ``size`` in bytes and a number of inodes."""

from __future__ import annotations

import errno
import itertools
import time
from typing import TYPE_CHECKING

from ..abi.errors import SyscallError
from ..abi.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, Stat
from .inode import Attributes, DirEntry, FileSystem, Inode, StatFs, check_xattr
from .mount import anonymous_device, register_filesystem
from .pages import PAGE, Pages, Quota, pages_of

if TYPE_CHECKING:
    from .credentials import Credentials

TMPFS_MAGIC = 0x01021994
DIRENT_SIZE = 20  # what a name adds to a directory's st_size, as on tmpfs
BATCH = 4096  # names of one readdir
XATTRS_MAX = 128 * 1024  # bytes of all names and values of one inode


class RamFs(FileSystem):
    """tmpfs. ``quota`` may be shared with other file systems; ``size`` and ``inodes`` make one of its own."""

    name = "tmpfs"
    magic = TMPFS_MAGIC
    synchronous = True
    whiteouts = True

    def __init__(
        self,
        device: int | None = None,
        size: int | None = None,
        inodes: int | None = None,
        mode: int = 0o755,
        uid: int = 0,
        gid: int = 0,
        quota: Quota | None = None,
    ) -> None:
        super().__init__(anonymous_device() if device is None else device)
        self.quota = quota or Quota(size, inodes)
        self._numbers = itertools.count(1)
        self.root = RamInode(self, S_IFDIR | mode, uid, gid)

    def next_number(self) -> int:
        """A fresh inode number."""
        return next(self._numbers)

    async def statfs(self) -> StatFs:
        quota = self.quota
        blocks = quota.pages or 0
        left = quota.left() if quota.pages is not None else 0
        files = quota.inodes or 0
        free = max(0, files - quota.inodes_used)
        return StatFs(self.magic, PAGE, blocks, left, left, files, free)

    def options(self) -> str:
        words = []
        if self.quota.pages is not None:
            words.append(f"size={self.quota.pages * 4}k")
        if self.quota.inodes is not None:
            words.append(f"nr_inodes={self.quota.inodes}")
        if self.root.mode & 0o7777 != 0o1777:
            words.append(f"mode={self.root.mode & 0o7777:o}")
        return ",".join(words)


class RamInode(Inode):
    """Any kind of file of a ``RamFs``; which of the fields is set depends on the kind."""

    fs: RamFs

    def __init__(self, fs: RamFs, mode: int, uid: int, gid: int, rdev: int = 0) -> None:
        self.charged = False
        self.xattr_pages = 0
        fs.quota.charge_inode()
        self.charged = True
        super().__init__(fs, fs.next_number(), mode, uid, gid)
        self.rdev = rdev
        self.pages: Pages | None = None
        # Names with the cookie of their entry, in the order of the cookies, which are never given twice.
        self.entries: dict[bytes, tuple[RamInode, int]] = {}
        self.target = b""
        self.xattrs: dict[bytes, bytes] | None = None
        kind = mode & S_IFMT
        if kind == S_IFREG:
            self.pages = Pages(fs.quota)
        elif kind == S_IFDIR:
            self.nlink = 2
            self.size = 2 * DIRENT_SIZE
            self.last_cookie = 0

    def __del__(self) -> None:
        if self.charged:
            self.fs.quota.charge_kernel(-self.xattr_pages)
            self.fs.quota.release_inode()

    def _charge_xattrs(self, size: int) -> None:
        pages = pages_of(size)
        self.fs.quota.charge_kernel(pages - self.xattr_pages)
        self.xattr_pages = pages

    def _touch(self) -> None:
        self.mtime = self.ctime = time.time_ns()

    # -- attributes ----------------------------------------------------------

    async def getattr(self) -> Stat:
        pages = self.pages
        if pages is None:
            blocks = 0
        else:
            if pages.fd >= 0:
                pages.measure()
            blocks = pages.charged * (PAGE // 512)
        return Stat(
            self.mode, self.ino, self.fs.device, self.nlink, self.uid, self.gid, self.rdev, self.size,
            4096, blocks, self.atime, self.mtime, self.ctime, self.btime,
        )  # fmt: skip

    async def change(self, wanted: Attributes) -> None:
        if wanted.size is not None:
            self._data().truncate(wanted.size)
            self.size = wanted.size
            self.mtime = time.time_ns()
        wanted.enter(self)

    def accessed(self) -> None:
        self.atime = time.time_ns()

    # -- a directory's operations ---------------------------------------------

    async def lookup(self, name: bytes) -> RamInode:
        try:
            return self.entries[name][0]
        except KeyError:
            raise SyscallError(errno.ENOENT if self.is_dir else errno.ENOTDIR) from None

    def _enter(self, name: bytes, inode: RamInode) -> None:
        self.last_cookie += 1
        self.entries[name] = (inode, self.last_cookie)
        self.size += DIRENT_SIZE
        if inode.is_dir:
            self.nlink += 1
        self._touch()

    def _remove(self, name: bytes) -> RamInode:
        try:
            inode, _ = self.entries.pop(name)
        except KeyError:
            raise SyscallError(errno.ENOENT) from None
        self.size -= DIRENT_SIZE
        if inode.is_dir:
            self.nlink -= 1
        self._touch()
        return inode

    def _make(self, name: bytes, mode: int, credentials: Credentials, rdev: int = 0) -> RamInode:
        if name in self.entries:
            raise SyscallError(errno.EEXIST)
        inode = RamInode(self.fs, mode, credentials.fsuid, credentials.fsgid, rdev)
        self._enter(name, inode)
        return inode

    async def create(self, name: bytes, mode: int, credentials: Credentials, rdev: int = 0) -> RamInode:
        return self._make(name, mode, credentials, rdev)

    async def mkdir(self, name: bytes, mode: int, credentials: Credentials) -> RamInode:
        return self._make(name, S_IFDIR | mode & 0o7777, credentials)

    async def symlink(self, name: bytes, target: bytes, credentials: Credentials) -> RamInode:
        inode = self._make(name, S_IFLNK | 0o777, credentials)
        inode.target = target
        inode.size = len(target)
        return inode

    async def link(self, name: bytes, inode: Inode) -> None:
        assert isinstance(inode, RamInode)
        if name in self.entries:
            raise SyscallError(errno.EEXIST)
        self._enter(name, inode)
        inode.nlink += 1
        inode.ctime = self.ctime

    async def unlink(self, name: bytes, inode: Inode) -> None:
        removed = self._remove(name)
        removed.nlink -= 1
        removed.ctime = self.ctime

    async def rmdir(self, name: bytes, inode: Inode) -> None:
        if self.entries[name][0].entries:
            raise SyscallError(errno.ENOTEMPTY)
        removed = self._remove(name)
        removed.nlink = 0
        removed.ctime = self.ctime

    async def rename(
        self, name: bytes, inode: Inode, target: Inode, new_name: bytes, replaced: Inode | None, exchange: bool = False
    ) -> None:
        assert isinstance(target, RamInode)
        if exchange:
            moved, other = self._remove(name), target._remove(new_name)
            self._enter(name, other)
            target._enter(new_name, moved)
            moved.ctime = other.ctime = self.ctime
            return
        if replaced is not None:
            if isinstance(replaced, RamInode) and replaced.entries:
                raise SyscallError(errno.ENOTEMPTY)
            gone = target._remove(new_name)
            gone.nlink = 0 if gone.is_dir else gone.nlink - 1
            gone.ctime = time.time_ns()
        moved = self._remove(name)
        target._enter(new_name, moved)
        moved.ctime = self.ctime

    async def tmpfile(self, mode: int, credentials: Credentials) -> RamInode:
        inode = RamInode(self.fs, S_IFREG | mode & 0o7777, credentials.fsuid, credentials.fsgid)
        inode.nlink = 0
        return inode

    async def readdir(self, cookie: int) -> list[DirEntry]:
        found = itertools.islice(((n, e) for n, e in self.entries.items() if e[1] > cookie), BATCH)
        return [DirEntry(name, inode.ino, inode.mode & S_IFMT, number) for name, (inode, number) in found]

    # -- data ------------------------------------------------------------------

    async def readlink(self) -> bytes:
        if not self.is_symlink:
            raise SyscallError(errno.EINVAL)
        return self.target

    def _data(self) -> Pages:
        if self.pages is None:
            raise SyscallError(errno.EISDIR if self.is_dir else errno.EINVAL)
        return self.pages

    async def read(self, size: int, offset: int) -> bytes:
        return self._data().read(size, offset)

    async def write(self, data: bytes | memoryview, offset: int) -> int:
        pages = self._data()
        count = pages.write(data, offset)
        self.size = pages.size
        self.mtime = self.ctime = time.time_ns()
        return count

    async def fallocate(self, mode: int, offset: int, length: int) -> None:
        pages = self._data()
        pages.fallocate(mode, offset, length)
        self.size = pages.size
        self._touch()

    async def seek_data(self, offset: int, hole: bool) -> int:
        return self._data().seek(offset, hole)

    def mapping(self, shared: bool, writable: bool) -> tuple[int, bool]:
        return self._data().mapping(shared, writable)

    # -- extended attributes ---------------------------------------------------

    async def getxattr(self, name: bytes) -> bytes:
        if self.xattrs is None or name not in self.xattrs:
            raise SyscallError(errno.ENODATA)
        return self.xattrs[name]

    async def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        xattrs = self.xattrs if self.xattrs is not None else {}
        check_xattr(flags, name in xattrs)
        used = sum(len(key) + len(item) for key, item in xattrs.items() if key != name)
        if used + len(name) + len(value) > XATTRS_MAX:
            raise SyscallError(errno.ENOSPC)
        self._charge_xattrs(used + len(name) + len(value))
        xattrs[name] = value
        self.xattrs = xattrs
        self.ctime = time.time_ns()

    async def removexattr(self, name: bytes) -> None:
        if self.xattrs is None or name not in self.xattrs:
            raise SyscallError(errno.ENODATA)
        del self.xattrs[name]
        self._charge_xattrs(sum(len(key) + len(item) for key, item in self.xattrs.items()))
        self.ctime = time.time_ns()

    async def listxattr(self) -> list[bytes]:
        return list(self.xattrs or ())


def parse_size(text: bytes) -> int:
    """tmpfs' ``size=``: bytes, or with k, m, g; EINVAL."""
    units = {b"k": 1 << 10, b"m": 1 << 20, b"g": 1 << 30}
    unit = units.get(text[-1:].lower(), 1)
    digits = text if unit == 1 else text[:-1]
    if not digits.isdigit():
        raise SyscallError(errno.EINVAL)
    return int(digits) * unit


def mount_tmpfs(
    device: int, source: bytes, data: bytes, default: int | None = None, parent: Quota | None = None
) -> RamFs:
    """mount(2) of a tmpfs with its options; ``default`` is its size in bytes where none is given."""
    size: int | None = default
    inodes: int | None = None
    mode, uid, gid = 0o1777, 0, 0
    for option in data.split(b","):
        key, _, value = option.partition(b"=")
        if key == b"size":
            size = parse_size(value)
        elif key == b"nr_blocks":
            size = parse_size(value) * PAGE
        elif key == b"nr_inodes":
            inodes = parse_size(value)
        elif key in (b"mode", b"uid", b"gid"):
            if not value.isdigit():
                raise SyscallError(errno.EINVAL)
            if key == b"mode":
                mode = int(value, 8) & 0o7777
            elif key == b"uid":
                uid = int(value)
            else:
                gid = int(value)
        elif key:
            raise SyscallError(errno.EINVAL)
    assert size is None or pages_of(size) >= 0
    return RamFs(device, None, None, mode, uid, gid, Quota(size or None, inodes or None, parent))


register_filesystem("tmpfs", mount_tmpfs)
register_filesystem("ramfs", mount_tmpfs)
