"""Files that are made when they are looked at: what procfs and sysfs consist of."""

from __future__ import annotations

import errno
import os
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from ..abi.errors import SyscallError
from ..abi.stat import S_IFDIR, S_IFLNK, S_IFREG
from ..io.file import File
from .inode import Attributes, DirEntry, FileSystem, Inode
from .mount import anonymous_device

if TYPE_CHECKING:
    from ..sched.strand import Scheduler

MAX_WRITE = 4096  # bytes that one write to a synthetic file may have
Text = Callable[[], bytes]
Store = Callable[[bytes], None]


class SyntheticFs(FileSystem):
    """A file system whose names and contents come from living objects."""

    cacheable = False
    keeps_dentries = False
    synchronous = True

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(anonymous_device())
        self.scheduler = scheduler


def inode_number(path: bytes) -> int:
    """The inode number of ``path`` within its file system: always the same one, without a table."""
    return 1 << 32 | zlib.crc32(path)


class SyntheticInode(Inode):
    """``path`` is the name within the file system, by which the inode is known."""

    fs: SyntheticFs

    def __init__(self, fs: SyntheticFs, path: bytes, mode: int, uid: int = 0, gid: int = 0) -> None:
        super().__init__(fs, inode_number(path), mode, uid, gid)
        self.path = path


class TextFile(SyntheticInode):
    """A file whose bytes ``text`` makes; what is written goes to ``store``, one write at a time.

    ``guard`` is called at open and refuses by raising, where permission bits can't say who may.
    """

    def __init__(
        self,
        fs: SyntheticFs,
        path: bytes,
        text: Text,
        store: Store | None = None,
        mode: int = 0o444,
        uid: int = 0,
        gid: int = 0,
        guard: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(fs, path, S_IFREG | mode, uid, gid)
        self.text = text
        self.store = store
        self.guard = guard

    def open(self, flags: int) -> File:
        if self.guard is not None:
            self.guard()
        return SnapshotFile(self.fs.scheduler, flags, self)

    async def change(self, wanted: Attributes) -> None:
        """Truncating has no effect, so that a shell's ``>`` works; nothing else can be changed."""
        if wanted.mode is not None or wanted.uid is not None or wanted.gid is not None:
            raise SyscallError(errno.EPERM)


class PositionedFile(File):
    """A file that is read and written at a position, which moves on with that."""

    @property
    def seekable(self) -> bool:
        return True

    async def read(self, size: int) -> bytes:
        data = await self.pread(size, self.position)
        self.position += len(data)
        return data

    async def write(self, data: bytes | memoryview) -> int:
        count = await self.pwrite(data, self.position)
        self.position += count
        return count


class SnapshotFile(PositionedFile):
    """An open ``TextFile``. Reading from the start makes the text anew, reading on continues the same text."""

    def __init__(self, scheduler: Scheduler, flags: int, inode: TextFile) -> None:
        super().__init__(scheduler, flags)
        self.inode = inode
        self.content: bytes | None = None

    async def pread(self, size: int, offset: int) -> bytes:
        if offset < 0:
            raise SyscallError(errno.EINVAL)
        if self.content is None or offset == 0:
            self.content = self.inode.text()
        return self.content[offset : offset + size]

    async def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        if self.inode.store is None:
            raise SyscallError(errno.EIO)
        if len(data) > MAX_WRITE:
            raise SyscallError(errno.EINVAL)
        self.inode.store(bytes(data))
        return len(data)

    async def truncate(self, size: int) -> None:
        if not self.writable or size < 0:
            raise SyscallError(errno.EINVAL)  # otherwise without effect, see ``TextFile.change``

    async def seek(self, offset: int, whence: int) -> int:
        if whence == os.SEEK_CUR:
            offset += self.position
        elif whence == os.SEEK_END:
            offset += len(self.content or b"")
        elif whence != os.SEEK_SET:
            raise SyscallError(errno.EINVAL)
        if offset < 0:
            raise SyscallError(errno.EINVAL)
        self.position = offset
        return offset


class Link(SyntheticInode):
    """A symbolic link whose target ``text`` makes."""

    def __init__(self, fs: SyntheticFs, path: bytes, text: Text, mode: int = 0o777, uid: int = 0, gid: int = 0) -> None:
        super().__init__(fs, path, S_IFLNK | mode, uid, gid)
        self.text = text

    async def readlink(self) -> bytes:
        return self.text()


class Directory(SyntheticInode):
    """A directory. Subclasses say which names there are, and make their inodes."""

    def __init__(self, fs: SyntheticFs, path: bytes, mode: int = 0o555, uid: int = 0, gid: int = 0) -> None:
        super().__init__(fs, path, S_IFDIR | mode, uid, gid)
        self.nlink = 2

    @abstractmethod
    def entries(self) -> Iterable[tuple[int, bytes, int]]:
        """(cookie, name, format) of every entry, by ascending cookies, which are the name's for ever."""

    @abstractmethod
    def child(self, name: bytes) -> Inode | None:
        """The inode of ``name``."""

    def below(self, name: bytes) -> bytes:
        """The path of ``name`` in here."""
        return self.path + b"/" + name

    async def lookup(self, name: bytes) -> Inode:
        inode = self.child(name)
        if inode is None:
            raise SyscallError(errno.ENOENT)
        return inode

    async def readdir(self, cookie: int) -> list[DirEntry]:
        return [
            DirEntry(name, inode_number(self.below(name)), kind, number)
            for number, name, kind in self.entries()
            if number > cookie
        ]


class Folder(Directory):
    """A directory whose names never change."""

    def __init__(self, fs: SyntheticFs, path: bytes, children: Mapping[bytes, Inode] | None = None) -> None:
        super().__init__(fs, path)
        self.children: dict[bytes, Inode] = dict(children or {})

    def entries(self) -> Iterable[tuple[int, bytes, int]]:
        return [(index, name, inode.format) for index, (name, inode) in enumerate(self.children.items(), 1)]

    def child(self, name: bytes) -> Inode | None:
        return self.children.get(name)

    def folder(self, path: bytes) -> Folder:
        """The folder at ``path`` below this one; made where there is none."""
        here = self
        for name in path.split(b"/"):
            if not name:
                continue
            found = here.children.get(name)
            if found is None:
                found = here.children[name] = Folder(here.fs, here.below(name))
                here.nlink += 1
            assert isinstance(found, Folder), "a file is in the way"
            here = found
        return here

    def add(self, path: bytes, text: Text | bytes, store: Store | None = None, mode: int | None = None) -> None:
        """A file at ``path`` below this folder, with the folders on the way."""
        directory, _, name = path.rpartition(b"/")
        parent = self.folder(directory)
        produce = text if callable(text) else _constant(text)
        bits = mode if mode is not None else 0o444 if store is None else 0o644
        parent.children[name] = TextFile(self.fs, parent.below(name), produce, store, bits)

    def add_link(self, path: bytes, target: bytes) -> None:
        """A symbolic link at ``path`` below this folder."""
        directory, _, name = path.rpartition(b"/")
        parent = self.folder(directory)
        parent.children[name] = Link(self.fs, parent.below(name), _constant(target))


def _constant(text: bytes) -> Text:
    return lambda: text
