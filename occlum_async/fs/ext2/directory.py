"""Directories: making, finding, moving and removing names.

The VFS holds the namespace of the file system locked while names change; but a change goes on when the one who asked
for it is killed and that lock is given back, so ``change_names`` has one of its own.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from ..inode import DirEntry, Inode
from . import layout
from .entries import Entries, Entry
from .inode import Ext2Inode
from .inodetable import device_pointers

if TYPE_CHECKING:
    from ..credentials import Credentials


class Ext2Directory(Entries):
    """A directory. Its own link count is 2, and one more for each directory in it."""

    keeps_flags = True

    # -- looking ------------------------------------------------------------------------------

    async def lookup(self, name: bytes) -> Inode:
        entry = await self.find_entry(name)
        if entry is None:
            raise SyscallError(errno.ENOENT)
        return await self.fs.inode(entry.ino)

    async def readdir(self, cookie: int) -> list[DirEntry]:
        found = await self.listing(max(0, cookie))
        return [
            DirEntry(name, ino, layout.ENTRY_FORMAT.get(kind, 0), offset + 1) for name, ino, kind, offset in found
        ]  # fmt: skip

    # -- making ------------------------------------------------------------------------------

    async def create(self, name: bytes, mode: int, credentials: Credentials, rdev: int = 0) -> Inode:
        return await self.fs.change_names(self._make(name, mode, credentials, rdev))

    async def mkdir(self, name: bytes, mode: int, credentials: Credentials) -> Inode:
        return await self.fs.change_names(self._make(name, S_IFDIR | mode & 0o7777, credentials))

    async def symlink(self, name: bytes, target: bytes, credentials: Credentials) -> Inode:
        return await self.fs.change_names(self._make(name, S_IFLNK | 0o777, credentials, target=target))

    async def tmpfile(self, mode: int, credentials: Credentials) -> Inode:
        return await self.fs.change_names(self._make(None, S_IFREG | mode & 0o7777, credentials))

    async def _make(
        self, name: bytes | None, mode: int, credentials: Credentials, rdev: int = 0, target: bytes = b""
    ) -> Ext2Inode:
        """A new inode under ``name``, or an orphan without one."""
        fs = self.fs
        kind = mode & S_IFMT
        if name is not None:
            await self._check_free(name)
        if kind == S_IFDIR and self.nlink >= layout.LINK_MAX:
            raise SyscallError(errno.EMLINK)
        inode = await fs.new_inode(self, mode, credentials)
        try:
            if isinstance(inode, Ext2Directory):
                await inode._start(self.ino)
            elif kind == S_IFLNK:
                await inode.set_target(target)
            elif kind in (S_IFCHR, S_IFBLK):
                inode.rdev, inode.pointers = rdev, device_pointers(rdev)
            if name is None:
                inode.nlink = 0
                await fs.orphans.add(inode)
            else:
                await self.add_entry(name, inode.ino, mode)
        except SyscallError:
            try:
                await fs.release_inode(inode)
            except SyscallError:
                fs.fault(f"the new inode {inode.ino} can't be freed")
            raise
        if kind == S_IFDIR:
            self.nlink += 1
        fs.table.mark(inode)
        return inode

    async def _check_free(self, name: bytes) -> None:
        if len(name) > layout.NAME_MAX:
            raise SyscallError(errno.ENAMETOOLONG)
        if await self.find_entry(name) is not None:
            raise SyscallError(errno.EEXIST)

    async def _start(self, parent: int) -> None:
        """Give a new directory its first block. ENOSPC."""
        fs = self.fs
        place, _ = await fs.blocks.allocate(0, self.goal, 1)
        fs.map.link(self, self.pointers, 0, place, 1, None)
        self.size = fs.superblock.block_size
        self.nlink = 2
        self.start_entries(fs.buffers.fresh(place), parent)

    async def link(self, name: bytes, inode: Inode) -> None:
        assert isinstance(inode, Ext2Inode)
        await self.fs.change_names(self._link(name, inode))

    async def _link(self, name: bytes, inode: Ext2Inode) -> None:
        if inode.nlink >= layout.LINK_MAX:
            raise SyscallError(errno.EMLINK)
        await self._check_free(name)
        await self.add_entry(name, inode.ino, inode.mode)
        if inode.nlink == 0:
            await self.fs.orphans.remove(inode)
        inode.nlink += 1
        inode.touch_inode()

    # -- removing ------------------------------------------------------------------------------

    async def unlink(self, name: bytes, inode: Inode) -> None:
        assert isinstance(inode, Ext2Inode)
        await self.fs.change_names(self._unlink(name, inode))

    async def _unlink(self, name: bytes, inode: Ext2Inode) -> None:
        self.remove_entry(await self._entry_of(name, inode))
        await self._lost_name(inode)

    async def rmdir(self, name: bytes, inode: Inode) -> None:
        assert isinstance(inode, Ext2Directory)
        await self.fs.change_names(self._rmdir(name, inode))

    async def _rmdir(self, name: bytes, inode: Ext2Directory) -> None:
        await inode._check_empty()
        self.remove_entry(await self._entry_of(name, inode))
        self._lost_directory()
        await inode._lost_name(inode)

    async def _entry_of(self, name: bytes, inode: Ext2Inode) -> Entry:
        """The entry that is known to lead to ``inode``. ENOENT."""
        entry = await self.find_entry(name)
        if entry is None or entry.ino != inode.ino:
            raise SyscallError(errno.ENOENT)
        return entry

    async def _check_empty(self) -> None:
        if not await self.is_empty():
            raise SyscallError(errno.ENOTEMPTY)

    def _lost_directory(self) -> None:
        self.nlink = max(2, self.nlink - 1)
        self.fs.table.mark(self)

    async def _lost_name(self, inode: Ext2Inode) -> None:
        """A name of ``inode`` is gone; with the last one it becomes an orphan until nobody uses it."""
        inode.nlink = 0 if inode.is_dir else max(0, inode.nlink - 1)
        inode.touch_inode()
        if inode.nlink == 0:
            await self.fs.orphans.add(inode)

    # -- moving ------------------------------------------------------------------------------

    async def rename(
        self, name: bytes, inode: Inode, target: Inode, new_name: bytes, replaced: Inode | None, exchange: bool = False
    ) -> None:
        assert isinstance(inode, Ext2Inode) and isinstance(target, Ext2Directory)
        assert replaced is None or isinstance(replaced, Ext2Inode)
        if exchange:
            assert replaced is not None
            await self.fs.change_names(self._exchange(name, inode, target, new_name, replaced))
        else:
            await self.fs.change_names(self._rename(name, inode, target, new_name, replaced))

    async def _rename(
        self, name: bytes, inode: Ext2Inode, target: Ext2Directory, new_name: bytes, replaced: Ext2Inode | None
    ) -> None:
        if len(new_name) > layout.NAME_MAX:
            raise SyscallError(errno.ENAMETOOLONG)
        moves = inode.is_dir and target is not self
        if moves and replaced is None and target.nlink >= layout.LINK_MAX:
            raise SyscallError(errno.EMLINK)
        await self._entry_of(name, inode)
        up = await inode._up(self) if moves and isinstance(inode, Ext2Directory) else None
        if replaced is None:
            await target.add_entry(new_name, inode.ino, inode.mode)
        else:
            if isinstance(replaced, Ext2Directory):
                await replaced._check_empty()
            target.replace_entry(await target._entry_of(new_name, replaced), inode.ino, inode.mode)
        self.remove_entry(await self._entry_of(name, inode))
        if inode.is_dir:
            self._lost_directory()
            if replaced is None:
                target.nlink += 1
            if up is not None and isinstance(inode, Ext2Directory):
                inode.replace_entry(up, target.ino, S_IFDIR)
        if replaced is not None:
            await self._lost_name(replaced)
        inode.touch_inode()

    async def _up(self, parent: Ext2Inode) -> Entry:
        """The entry "..", which leads to ``parent``. EIO."""
        entry = await self.find_entry(b"..")
        if entry is None or entry.ino != parent.ino:
            raise self.fs.fault(f'directory {self.ino}: ".." does not lead to {parent.ino}')
        return entry

    async def _exchange(
        self, name: bytes, inode: Ext2Inode, target: Ext2Directory, new_name: bytes, other: Ext2Inode
    ) -> None:
        ups: list[tuple[Ext2Directory, Entry, Ext2Directory]] = []
        if target is not self:
            for moved, source, goal in ((inode, self, target), (other, target, self)):
                if isinstance(moved, Ext2Directory):
                    ups.append((moved, await moved._up(source), goal))
        if inode.is_dir != other.is_dir and (target if inode.is_dir else self).nlink >= layout.LINK_MAX:
            raise SyscallError(errno.EMLINK)
        mine, theirs = await self._entry_of(name, inode), await target._entry_of(new_name, other)
        self.replace_entry(mine, other.ino, other.mode)
        target.replace_entry(theirs, inode.ino, inode.mode)
        for moved, entry, goal in ups:
            moved.replace_entry(entry, goal.ino, S_IFDIR)
        difference = int(inode.is_dir) - int(other.is_dir)
        if target is not self:
            self.nlink -= difference
            target.nlink += difference
        inode.touch_inode()
        other.touch_inode()
