"""What every inode of the disk has: attributes, extended attributes, and its block map."""

from __future__ import annotations

import errno
import os
from array import array
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.stat import Stat
from ...sched.mutex import Mutex
from ..inode import Attributes, Inode
from . import layout, xattrs
from .promises import Promises

if TYPE_CHECKING:
    from .filesystem import Ext2

_SECOND = 1_000_000_000


class Ext2Inode(Inode):
    """An inode of the disk; symbolic links and special files are no more than this.

    ``lock`` is held by who changes which blocks belong to it. ``dtime`` is the time of its deletion, and for an
    orphan the number of the next one. ``goal`` is where its next block should be.
    """

    fs: Ext2

    def __init__(self, fs: Ext2, ino: int, mode: int, uid: int = 0, gid: int = 0) -> None:
        super().__init__(fs, ino, mode, uid, gid)
        now = fs.present()
        self.atime = self.mtime = self.ctime = self.btime = now
        self.dtime = 0
        self.sectors = 0
        self.file_acl = 0
        self.extra = 0
        self.pointers: array[int] = array("I", bytes(4 * layout.POINTERS))
        # Where the indirect block of the n-th fanout of blocks behind the direct ones is, as far as is known.
        self.leaves: dict[int, int] = {}
        self.lock = Mutex()
        self.goal = fs.first_block_near(ino)
        self.promises = Promises(fs.blocks)
        self.freed = False

    def __del__(self) -> None:
        # Also of an inode that could not be read: then there is not much of it.
        promises = getattr(self, "promises", None)
        if promises is None or self.fs.closed:
            return
        promises.redeem_from(0)
        if self.nlink == 0 and not self.freed:
            self.fs.orphans.abandoned(self.ino)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ino}>"

    # -- attributes ----------------------------------------------------------------------------

    async def getattr(self) -> Stat:
        block_size = self.fs.superblock.block_size
        sectors = self.sectors + len(self.promises.blocks) * (block_size // 512)
        return Stat(
            self.mode, self.ino, self.fs.device, self.nlink, self.uid, self.gid, self.rdev, self.size,
            block_size, sectors, self.atime, self.mtime, self.ctime, self.btime,
            attributes=self.flags & layout.FLAGS_OF_STATX, attributes_mask=layout.FLAGS_OF_STATX,
        )  # fmt: skip

    async def change(self, wanted: Attributes) -> None:
        self.fs.check_writable()
        if wanted.size is not None:
            raise SyscallError(errno.EISDIR if self.is_dir else errno.EINVAL)
        self.enter(wanted)

    def enter(self, wanted: Attributes) -> None:
        """Change everything but the size, as far as the disk's format holds it; nothing here waits."""
        fs = self.fs
        wanted.enter(self)
        self.atime, self.mtime = fs.representable(self.atime), fs.representable(self.mtime)
        self.ctime = fs.representable(self.ctime)
        fs.table.mark(self)

    async def set_flags(self, flags: int) -> None:
        self.fs.check_writable()
        self.flags = self.flags & ~layout.FLAGS_OF_USERS | flags & layout.FLAGS_OF_USERS
        self.touch_inode()

    def accessed(self) -> None:
        if self.fs.writable:
            self.atime = self.fs.present()
            self.fs.table.mark_times(self)

    def touch(self) -> None:
        """The content was changed."""
        self.mtime = self.ctime = self.fs.present()
        self.fs.table.mark(self)

    def touch_inode(self) -> None:
        """Something else than the content was changed."""
        self.ctime = self.fs.present()
        self.fs.table.mark(self)

    # -- a symbolic link's -------------------------------------------------------------------------

    async def readlink(self) -> bytes:
        if not self.is_symlink:
            raise SyscallError(errno.EINVAL)
        fs = self.fs
        size = self.size
        if self._is_fast_symlink():
            if not 0 < size <= layout.FAST_SYMLINK:
                raise fs.fault(f"symbolic link {self.ino} has {size} bytes")
            return self.pointers.tobytes()[:size]
        if not 0 < size < fs.superblock.block_size:
            raise fs.fault(f"symbolic link {self.ino} has {size} bytes")
        place, _ = await fs.map.find(self, 0, 1)
        if not place:
            raise fs.fault(f"symbolic link {self.ino} has no block")
        return bytes((await fs.buffers.get(place)).data[:size])

    def _is_fast_symlink(self) -> bool:
        own = self.fs.superblock.block_size // 512 if self.file_acl else 0
        return self.sectors == own

    async def set_target(self, target: bytes) -> None:
        """Make the new symbolic link lead to ``target``. ENAMETOOLONG, ENOSPC, EIO."""
        fs = self.fs
        if len(target) >= fs.superblock.block_size:
            raise SyscallError(errno.ENAMETOOLONG)
        if len(target) <= layout.FAST_SYMLINK:
            self.pointers = array("I", target.ljust(4 * layout.POINTERS, b"\0"))
        else:
            place, _ = await fs.blocks.allocate(0, self.goal, 1)
            fs.map.link(self, self.pointers, 0, place, 1, None)
            buffer = fs.buffers.fresh(place)
            buffer.data[: len(target)] = target
        self.size = len(target)

    # -- extended attributes -----------------------------------------------------------------------

    async def getxattr(self, name: bytes) -> bytes:
        key = xattrs.key_of(name)
        async with self.lock.hold(self.fs.scheduler):
            value = (await xattrs.load(self)).get(key)
        if value is None:
            raise SyscallError(errno.ENODATA)
        return value

    async def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        await self.fs.change(xattrs.change(self, name, value, flags))

    async def removexattr(self, name: bytes) -> None:
        await self.fs.change(xattrs.change(self, name, None, os.XATTR_REPLACE))

    async def listxattr(self) -> list[bytes]:
        async with self.lock.hold(self.fs.scheduler):
            keys = await xattrs.load(self)
        return [name for key in keys if (name := xattrs.name_of(key))]

    # -- the rest ----------------------------------------------------------------------------------

    async def sync(self, data_only: bool) -> None:
        await self.fs.commit(times=not data_only)

    async def release_content(self) -> None:
        """Free everything that the inode refers to, for good. Inside a change."""
        has_blocks = self.is_regular or self.is_dir or (self.is_symlink and not self._is_fast_symlink())
        if has_blocks:
            async with self.lock.hold(self.fs.scheduler):
                await self.fs.map.clear(self, 0)
        await xattrs.release(self)
        self.fs.blocks.close_window(self.ino)
