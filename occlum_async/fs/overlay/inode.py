"""What every file of an overlay has: one or more real inodes, the uppermost of which answers."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from ...abi.errors import SyscallError
from ...abi.stat import S_IFDIR, S_IFMT, Stat
from ...io.file import File
from ...sched.mutex import Mutex
from ..inode import Attributes, Inode
from . import copyup

if TYPE_CHECKING:
    from .directory import OverlayDirectory
    from .filesystem import OverlayFs


class OverlayInode(Inode):
    """A file of the overlay. ``upper`` is None until it is copied up; ``real`` is who answers.

    ``parent`` and ``place`` are a name under which it can be copied up; no parent when it has none any more.
    The attributes are copies of the real inode's, taken whenever they may have changed.
    """

    fs: OverlayFs

    def __init__(
        self,
        fs: OverlayFs,
        upper: Inode | None,
        lowers: list[Inode],
        parent: OverlayDirectory | None,
        place: bytes,
    ) -> None:
        real = upper if upper is not None else lowers[0]
        self.upper = upper
        self.lowers = lowers
        self.real = real
        super().__init__(fs, real.attached.get("overlay.ino") or fs.number(real), real.mode)
        self.parent = parent
        self.place = place
        self.copying = Mutex()
        # FIFOs, sockets and locks live as long as the real inode, also when this object is made anew.
        self.attached = real.attached
        # A lower file of several names is copied up for one of them, so its names share nothing here.
        # How many names it has lost while it was a lower file, which keeps them all.
        self.lost_names = 0
        self.breaks_links = upper is None and real.nlink > 1 and real.mode & S_IFMT != S_IFDIR
        if self.breaks_links:
            self.attached = {}
        self.mirror()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.place!r} {'upper' if self.upper is not None else 'lower'}>"

    def found_at(self, parent: OverlayDirectory | None, place: bytes) -> None:
        """A look-up found this file under that name."""
        self.parent, self.place = parent, place

    def mirror(self) -> None:
        """Copy the attributes of the real inode."""
        real = self.real
        self.mode = real.mode
        self.uid, self.gid = real.uid, real.gid
        self.nlink = real.nlink - self.lost_names if real.nlink > self.lost_names else 0
        self.size = real.size
        self.rdev = real.rdev
        self.flags, self.keeps_flags, self.generation = real.flags, real.keeps_flags, real.generation
        self.atime, self.mtime, self.ctime, self.btime = real.atime, real.mtime, real.ctime, real.btime

    async def raised(self, size: int | None = None) -> Inode:
        """The upper inode; the file is copied up first if need be, at most ``size`` bytes of its data."""
        upper = self.upper
        if upper is None:
            async with self.copying.hold(self.fs.scheduler):
                upper = self.upper
                if upper is None:
                    upper = await copyup.copy_up(self, size)
        return upper

    def become_upper(self, upper: Inode) -> None:
        """The copy is made: from now on ``upper`` answers."""
        if self.breaks_links:
            self.ino = self.fs.number(upper)
        upper.attached.update(self.attached)
        upper.attached["overlay.ino"] = self.ino
        self.attached = upper.attached
        self.upper = self.real = upper
        self.breaks_links = False
        self.lost_names = 0
        self.mirror()
        self.fs.remember(self)

    # -- attributes ---------------------------------------------------------------------

    async def getattr(self) -> Stat:
        stat = await self.real.getattr()
        stat.ino = self.ino
        stat.dev = self.fs.device
        self.mirror()
        stat.nlink = self.nlink
        return stat

    async def change(self, wanted: Attributes) -> None:
        upper = await self.raised(wanted.size)
        await upper.change(wanted)
        self.mirror()

    async def set_flags(self, flags: int) -> None:
        upper = await self.raised()
        await upper.set_flags(flags)
        self.mirror()

    # -- a symbolic link's ----------------------------------------------------------------

    async def readlink(self) -> bytes:
        return await self.real.readlink()

    async def follow(self) -> Any:
        return await self.real.follow()

    # -- a regular file's --------------------------------------------------------------------

    def open(self, flags: int) -> File | Awaitable[File | None] | None:  # type: ignore[override]
        """A file that is opened for writing is copied up now, so that an error shows now."""
        writing = flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC
        if writing and self.upper is None and self.is_regular and not flags & os.O_PATH:
            return self._open_raised(flags)
        return self.real.open(flags)

    async def _open_raised(self, flags: int) -> File | None:
        upper = await self.raised(0 if flags & os.O_TRUNC else None)
        opened = upper.open(flags)
        if opened is None or isinstance(opened, File):
            return opened
        return await opened

    async def read(self, size: int, offset: int) -> bytes:
        return await self.real.read(size, offset)

    def accessed(self) -> None:
        if self.upper is not None:
            self.upper.accessed()
            self.atime = self.upper.atime

    async def write(self, data: bytes | memoryview, offset: int) -> int:
        upper = self.upper or await self.raised()
        count = await upper.write(data, offset)
        self.mirror()
        return count

    async def fallocate(self, mode: int, offset: int, length: int) -> None:
        upper = await self.raised()
        await upper.fallocate(mode, offset, length)
        self.mirror()

    async def seek_data(self, offset: int, hole: bool) -> int:
        return await self.real.seek_data(offset, hole)

    async def sync(self, data_only: bool) -> None:
        if self.upper is not None:
            await self.upper.sync(data_only)

    async def read_direct(self, size: int, offset: int) -> bytes:
        return await self.real.read_direct(size, offset)

    async def write_direct(self, data: bytes | memoryview, offset: int) -> int:
        upper = self.upper or await self.raised()
        count = await upper.write_direct(data, offset)
        self.mirror()
        return count

    async def advise(self, advice: int, offset: int, length: int) -> None:
        await self.real.advise(advice, offset, length)

    def before_mapping(self, offset: int, length: int, writable: bool) -> Awaitable[None] | None:
        return self.real.before_mapping(offset, length, writable)

    def mapping(self, shared: bool, writable: bool) -> tuple[int, bool]:
        if shared and writable and self.upper is None:
            raise SyscallError(errno.EACCES)
        return self.real.mapping(shared, writable)

    # -- extended attributes ------------------------------------------------------------------

    async def getxattr(self, name: bytes) -> bytes:
        if self.fs.is_private(name):
            raise SyscallError(errno.EOPNOTSUPP)
        return await self.real.getxattr(name)

    async def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        if self.fs.is_private(name):
            raise SyscallError(errno.EOPNOTSUPP)
        upper = await self.raised()
        await upper.setxattr(name, value, flags)
        self.mirror()

    async def removexattr(self, name: bytes) -> None:
        if self.fs.is_private(name):
            raise SyscallError(errno.EOPNOTSUPP)
        if self.upper is None:
            await self.real.getxattr(name)  # ENODATA is no reason to copy up
        upper = await self.raised()
        await upper.removexattr(name)
        self.mirror()

    async def listxattr(self) -> list[bytes]:
        return [name for name in await self.real.listxattr() if not self.fs.is_private(name)]
