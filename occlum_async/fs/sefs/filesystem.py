"""A mounted sefs: a host folder with one sealed file for each inode, named by its number."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ...abi.errors import SyscallError
from ...abi.stat import S_IFDIR
from ...errors import DiskError
from ...io.boundary import Boundary
from ...sched.apart import apart
from ...sched.mutex import Mutex
from ..block.device import BLOCK
from ..block.image import HostImage
from ..inode import FileSystem, StatFs
from ..mlsdisk.cipher import best_cipher
from ..mlsdisk.keys import Keys
from ..mount import anonymous_device
from ..pagecache import PageCache
from .inode import MAX_NUMBER, SefsInode
from .tree import SealedTree

if TYPE_CHECKING:
    from ...sched.strand import Scheduler

log = logging.getLogger(__name__)

SUPERBLOCK = "sefs"
MAGIC = b"OASEFSFS"
IDENTITY = 32
ROOT = 1
OPEN_TREES = 256  # host files that are open at a time
INTERVAL = 5.0  # seconds until a change is durable that nobody asks for


class Sefs(FileSystem):
    """Made by ``Sefs.mount``. ``dirty`` are the inodes whose record, or content as a directory, is to be stored."""

    name = "sefs"
    magic = 0x53454653
    needs_device = True

    def __init__(self, boundary: Boundary, folder: str, cache: PageCache, read_only: bool) -> None:
        super().__init__(anonymous_device())
        self.boundary = boundary
        self.scheduler: Scheduler = boundary.scheduler
        self.folder = folder
        self.cache = cache
        self.writable = not read_only
        self.keys: Keys
        self.dirty: dict[int, SefsInode] = {}
        self._inodes: WeakValueDictionary[int, SefsInode] = WeakValueDictionary()
        # Trees whose host file is open, by number, the one used longest ago first: there is never a second one.
        self._open: OrderedDict[int, SealedTree] = OrderedDict()
        self._abandoned: dict[int, SealedTree] = {}
        self._syncing = Mutex()
        self._loading = Mutex()
        self._timer: asyncio.TimerHandle | None = None
        self._lock: HostImage

    # -- mounting -------------------------------------------------------------------------------

    @classmethod
    async def mount(
        cls, boundary: Boundary, folder: str, key: bytes, cache: PageCache, read_only: bool = False
    ) -> Sefs:
        """The file system in ``folder``; a new one if that is empty. ``DiskError``, EIO."""
        fs = cls(boundary, folder, cache, read_only)
        try:
            names = os.listdir(folder)
        except OSError as error:
            raise DiskError(f"{folder}: {error.strerror}", "name a folder of this host") from None
        if names and SUPERBLOCK not in names:
            raise DiskError(f"{folder}: there is no sefs in this folder", "name one, or an empty folder to make one")
        path = os.path.join(folder, SUPERBLOCK)
        fs._lock = HostImage.open(path, boundary) if names else HostImage.create(path, 1, boundary)
        try:
            await fs._start(key, not names)
        except BaseException:
            await fs._close()
            raise
        return fs

    async def _start(self, key: bytes, new: bool) -> None:
        if new:
            identity = secrets.token_bytes(IDENTITY)
            await self._lock.write(0, (MAGIC + identity).ljust(BLOCK, b"\0"))
            await self._lock.sync()
        else:
            block = bytes(await self._lock.read(0, 1)) if self._lock.blocks else b""
            if not block.startswith(MAGIC):
                raise DiskError(f"{self.folder}: the superblock is damaged")
            identity = block[len(MAGIC) : len(MAGIC) + IDENTITY]
        self.keys = Keys(best_cipher(), key, identity, 256)
        if new:
            self.root = SefsInode(self, ROOT, S_IFDIR | 0o755, 0, 0)
            self.root.nlink = 2
            self._inodes[ROOT] = self.root
            self.root.tree.create()
            self._open[ROOT] = self.root.tree
            self.changed(self.root)
            await self.sync()
        else:
            try:
                self.root = await self.inode(ROOT)
            except SyscallError as error:
                hint = "the key is wrong, or the folder was changed or not made to its end"
                raise DiskError(f"{self.folder}: the root can't be read: {os.strerror(error.errno)}", hint) from None
            if not self.root.is_dir:
                raise DiskError(f"{self.folder}: the root is no directory")

    async def unmount(self) -> None:
        if self.closed:
            return
        try:
            if self.writable:
                for inode in list(self._inodes.values()):
                    if inode.nlink == 0:  # whoever has it open can't use it any more
                        self.abandoned(inode.tree)
                await self.sync()
        finally:
            self.closed = True
            self.writable = False
            if self._timer is not None:
                self._timer.cancel()
            self.cache.drop_all(self)
            await self._close()
            self.keys.forget()

    async def _close(self) -> None:
        """Give the host's files back."""
        for tree in self._open.values():
            await tree.close()
        await self._lock.close()

    def busy(self) -> bool:
        return self.cache.busy(self)

    # -- inodes -----------------------------------------------------------------------------------

    def tree(self, number: int) -> SealedTree:
        """The host file of an inode, open or not."""
        path = os.path.join(self.folder, f"{number:08x}")
        return self._open.get(number) or SealedTree(self.boundary, self.keys, path, number, self._open)

    def new_inode(self, mode: int, uid: int, gid: int, rdev: int) -> SefsInode:
        """A new inode with its host file, open and empty. ENOSPC and other errors of the host."""
        while True:
            number = secrets.randbelow(MAX_NUMBER - 2) + 2
            if number not in self._inodes and not os.path.lexists(os.path.join(self.folder, f"{number:08x}")):
                break
        inode = SefsInode(self, number, mode, uid, gid, rdev)
        inode.tree.create()
        self._inodes[number] = inode
        self._open[number] = inode.tree
        return inode

    async def inode(self, number: int) -> SefsInode:
        """The inode of that number, one object at any time. EIO for one that is missing or damaged."""
        async with self._loading.hold(self.scheduler):
            known = self._inodes.get(number)
            if known is None:
                tree = self.tree(number)
                async with tree.lock.hold(self.scheduler):
                    await self.opened(tree)
                    known = self._inodes[number] = await SefsInode.load(self, number, tree)
        return known

    def abandoned(self, tree: SealedTree) -> None:
        """The inode has no name and no user any more: its host file is removed with the next sync."""
        if not self.closed and not tree.removed:
            self._abandoned[tree.number] = tree

    async def opened(self, tree: SealedTree) -> None:
        """See to it that the host file is open, at the price of the one used longest ago. ``tree.lock`` is held."""
        if tree.number not in self._open:
            try:
                await tree.open()
            except DiskError as error:
                log.error("sefs: %s", error)
                raise SyscallError(errno.EIO) from None
            self._open[tree.number] = tree
        self._open.move_to_end(tree.number)
        for other in list(self._open.values())[: max(0, len(self._open) - OPEN_TREES)]:
            if not other.lock.locked:
                async with other.lock.hold(self.scheduler):
                    if self._open.get(other.number) is other:
                        await other.settle()
                        del self._open[other.number]
                        await other.close()

    # -- making it durable ----------------------------------------------------------------------------

    def changed(self, inode: SefsInode) -> None:
        """The record or the content of ``inode`` is to be stored."""
        self.dirty[inode.ino] = inode
        if self._timer is None and not self.closed:
            self._timer = self.scheduler.loop.call_later(INTERVAL, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if not self.closed:
            self.scheduler.spawn(self._sync_on_time())

    async def _sync_on_time(self) -> None:
        try:
            await self.sync()
        except SyscallError as error:
            log.error("sefs: a sync failed: %s", error)

    async def sync(self) -> None:
        if self.writable:
            await self.cache.sync(self)
            await apart(self.scheduler, self._sync())

    async def _sync(self) -> None:
        """Store what changed, files before the directories that name them; remove last what nobody names."""
        async with self._syncing.hold(self.scheduler):
            dirty = sorted(self.dirty.values(), key=lambda inode: inode.is_dir)
            for inode in dirty:
                if inode.nlink:
                    await inode.store()
                else:
                    self.dirty.pop(inode.ino, None)
            abandoned, self._abandoned = self._abandoned, {}
            for tree in abandoned.values():
                async with tree.lock.hold(self.scheduler):
                    self._open.pop(tree.number, None)
                    await tree.remove()

    async def statfs(self) -> StatFs:
        host = os.statvfs(self.folder)
        return StatFs(
            self.magic, BLOCK, host.f_blocks * host.f_frsize // BLOCK, host.f_bfree * host.f_frsize // BLOCK,
            host.f_bavail * host.f_frsize // BLOCK, host.f_files, host.f_ffree,
        )  # fmt: skip
