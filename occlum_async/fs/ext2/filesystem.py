"""A mounted ext2 file system: what holds its parts together."""

from __future__ import annotations

import asyncio
import errno
import logging
import struct
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from ...abi.errors import SyscallError
from ...abi.stat import S_IFDIR, S_IFMT, S_IFREG
from ...sched.apart import apart
from ...sched.mutex import Mutex
from ...sched.strand import Scheduler
from ..block.device import BLOCK, BlockDevice
from ..credentials import Credentials
from ..inode import StatFs
from ..mount import anonymous_device
from ..pagecache import PageCache
from . import layout
from .blockmap import BlockMap
from .blocks import BlockAllocator
from .buffers import DIRTY_LIMIT
from .commit import Commits, Gate
from .directory import Ext2Directory
from .file import Ext2File
from .groups import Groups
from .inode import Ext2Inode
from .inodetable import InodeTable
from .namemap import NameMaps
from .orphans import Orphans
from .superblock import BadSuperblock, Superblock
from .volume import Volume

if TYPE_CHECKING:
    from ...sched.strand import Strand

log = logging.getLogger(__name__)

T = TypeVar("T")

COMMIT_INTERVAL = 5.0  # seconds until a change is durable that nobody asks for, as in ext3 and ext4
_FORMATS = frozenset(format << 12 for format in layout.ENTRY_TYPE)


class Ext2(Volume):
    """Made by ``Ext2.mount``.

    Whatever changes metadata is a coroutine that runs in ``change``: in a strand of its own, to its end, and
    never across a commit.
    """

    def __init__(
        self, device: BlockDevice, superblock: Superblock, scheduler: Scheduler, cache: PageCache, number: int
    ) -> None:
        super().__init__(device, superblock, scheduler, number)
        self.cache = cache
        self.gate = Gate(scheduler)
        self._naming = Mutex()
        self._commits = Commits(scheduler, self._commit)
        self._timer: asyncio.TimerHandle | None = None
        self._interval: float | None = None
        self._inodes: WeakValueDictionary[int, Ext2Inode] = WeakValueDictionary()
        self._overhead = 0
        self._pressed = False
        self._times_wanted = False
        self._stored = b""  # the superblock, as it was written last
        self._clean = bool(superblock.state & layout.STATE_VALID)
        self.groups: Groups
        self.blocks: BlockAllocator
        self.table: InodeTable
        self.map: BlockMap
        self.orphans: Orphans

    # -- mounting ------------------------------------------------------------------------------

    @classmethod
    async def mount(
        cls,
        device: BlockDevice,
        read_only: bool = False,
        scheduler: Scheduler | None = None,
        cache: PageCache | None = None,
        number: int | None = None,
        commit_interval: float | None = COMMIT_INTERVAL,
    ) -> Ext2:
        """The file system on ``device``, which it closes when it is unmounted.

        ``cache`` may be shared with other file systems; ``number`` is st_dev. ``commit_interval`` None: nothing is
        committed unless somebody asks. ``BadSuperblock`` says what is wrong with the device; EIO.
        """
        if scheduler is None:
            scheduler = Scheduler(asyncio.get_running_loop())
        if device.blocks < 2:
            raise BadSuperblock("the device is too small for a file system")
        start = memoryview(await device.read(0, 1))
        superblock = Superblock.parse(start[layout.SUPERBLOCK_OFFSET :], device.blocks * BLOCK)
        cache = cache or PageCache(scheduler)
        fs = cls(device, superblock, scheduler, cache, anonymous_device() if number is None else number)
        fs._interval = commit_interval
        try:
            await fs._start(read_only or device.read_only)
        except BaseException:
            fs._stop()
            raise
        return fs

    async def _start(self, read_only: bool) -> None:
        superblock = self.superblock
        self.groups = Groups(self)
        await self.groups.load()
        self.blocks = BlockAllocator(self, self.groups, self._make_room)
        self.table = InodeTable(self)
        self.map = BlockMap(self)
        self.name_maps = NameMaps()
        self.orphans = Orphans(self)
        self._overhead = superblock.first_data_block + sum(
            2 + superblock.table_blocks
            + (1 + superblock.descriptor_blocks + superblock.reserved_gdt_blocks)
            * layout.has_backup(group, superblock.sparse)
            for group in range(superblock.groups)
        )  # fmt: skip
        unsupported = superblock.unsupported_for_writing()
        if unsupported and not read_only:
            log.warning("%s: mounted read-only, as its features %s are not supported", self.label, unsupported)
            read_only = True
        root = await self.inode(layout.ROOT_INODE)
        if not root.is_dir:
            raise BadSuperblock("the root of the file system is not a directory")
        self.root = root
        if not read_only:
            await self._begin_writing()

    async def _begin_writing(self) -> None:
        superblock = self.superblock
        if not self._clean or superblock.state & layout.STATE_ERROR:
            log.warning("%s: not unmounted cleanly, or damaged: e2fsck(8) should look at it", self.label)
        self.writable = True
        await self.orphans.recover()
        superblock.mnt_count = min(superblock.mnt_count + 1, 0xFFFF)
        superblock.mtime = int(time.time()) & 0xFFFFFFFF
        # Where sync is atomic, what is found is always as consistent as after unmounting.
        if not self.block_device.atomic_sync:
            superblock.state &= ~layout.STATE_VALID
        self.block_device.pressure = self._on_pressure
        await self.commit()

    def busy(self) -> bool:
        return self.cache.busy(self)

    async def unmount(self) -> None:
        """Write everything and close the device. Raises what could not be written; it is unmounted all the same."""
        if not self.closed:
            await apart(self.scheduler, self._unmount())

    async def _unmount(self) -> None:
        failure: SyscallError | None = None
        if self.writable:
            try:
                await self.sync()
            except SyscallError as error:
                failure = error  # of some file's data; the others are to be there
            try:
                await self._finish()
            except SyscallError:
                self._stop()
                await self.block_device.abandon()  # it may hold a part of the metadata
                raise
        self._stop()
        await self.block_device.close()
        if failure is not None:
            raise failure

    def _stop(self) -> None:
        """Nothing is written any more."""
        self.closed = True
        self.writable = False
        self.block_device.pressure = None
        if self._timer is not None:
            self._timer.cancel()
        self.cache.drop_all(self)

    async def _finish(self) -> None:
        async with self.gate:
            await self.orphans.release_all()
        if self._clean:
            self.superblock.state |= layout.STATE_VALID
        await self.commit()

    # -- inodes --------------------------------------------------------------------------------

    async def inode(self, ino: int) -> Ext2Inode:
        """The inode that a name leads to, one object at any time. EIO."""
        known = self._inodes.get(ino)
        if known is not None:
            return known
        if ino < self.superblock.first_ino and ino != layout.ROOT_INODE:
            raise self.fault(f"a name leads to inode {ino}, which is reserved")
        inode = await self.read_inode(ino)
        if inode.nlink == 0:
            inode.freed = True
            raise self.fault(f"a name leads to inode {ino}, which is deleted")
        return inode

    async def read_inode(self, ino: int) -> Ext2Inode:
        """The inode of that number, whether it has a name or not. EIO."""
        buffer, offset = await self.table.record(ino)
        known = self._inodes.get(ino)
        if known is not None:
            return known
        mode = struct.unpack_from("<H", buffer.data, offset)[0]
        inode = self._new_object(ino, mode)
        try:
            if mode & S_IFMT not in _FORMATS:
                raise self.fault(f"inode {ino} is of no known kind")
            await self.table.read(inode)  # does not park: its buffer is there
            if inode.size > self._largest(inode):
                raise self.fault(f"inode {ino} has {inode.size} bytes")
        except SyscallError:
            inode.freed = True
            raise
        self._open_data(inode)
        self._inodes[ino] = inode
        return inode

    def _new_object(self, ino: int, mode: int, uid: int = 0, gid: int = 0) -> Ext2Inode:
        kind = {S_IFDIR: Ext2Directory, S_IFREG: Ext2File}.get(mode & S_IFMT, Ext2Inode)
        return kind(self, ino, mode, uid, gid)

    def _open_data(self, inode: Ext2Inode) -> None:
        if isinstance(inode, Ext2File):
            inode.data = self.cache.open(inode, inode.size, self)
            if inode.nlink == 0:
                inode.data.keep(False)

    def _largest(self, inode: Ext2Inode) -> int:
        return self.map.max_size if inode.is_regular else 0xFFFFFFFF

    def known(self, ino: int) -> Ext2Inode | None:
        """The inode if it is in memory."""
        return self._inodes.get(ino)

    def forget(self, inode: Ext2Inode) -> None:
        """The inode's number is free."""
        inode.freed = True
        if self._inodes.get(inode.ino) is inode:
            del self._inodes[inode.ino]

    async def new_inode(self, parent: Ext2Inode, mode: int, credentials: Credentials) -> Ext2Inode:
        """A new inode without a name, which is lost if it does not get one. Inside a change. ENOSPC, EIO."""
        directory = mode & S_IFMT == S_IFDIR
        if not self.table.free:
            await self.orphans.drain()
        ino = await self.table.allocate(parent, directory)
        inode = self._new_object(ino, mode, credentials.fsuid, credentials.fsgid)
        inode.generation = self.table.generation()
        inherited = layout.FLAGS_INHERITED if directory else layout.FLAGS_OF_FILES
        if not directory and not inode.is_regular:
            inherited = layout.FLAGS_OF_OTHERS
        inode.flags = parent.flags & inherited
        try:
            await self.table.initialize(inode)
        except SyscallError:
            inode.freed = True
            await self.table.free_number(ino, directory)
            raise
        self._open_data(inode)
        self._inodes[ino] = inode
        return inode

    async def release_inode(self, inode: Ext2Inode) -> None:
        """Free an inode that nobody needs any more, and all that it refers to. Inside a change. EIO."""
        inode.freed = True
        inode.nlink = 0
        await inode.release_content()
        await self.orphans.remove(inode)
        await self.table.give_back(inode)

    # -- changes and commits ------------------------------------------------------------------------

    async def change(self, operation: Coroutine[Any, Any, T]) -> T:
        """Run a change of metadata to its end, between two commits. EROFS."""
        if not self.writable:
            operation.close()
            raise SyscallError(errno.EROFS)
        return await apart(self.scheduler, self._inside(operation, self.scheduler.current()))

    async def change_names(self, operation: Coroutine[Any, Any, T]) -> T:
        """``change``, one after the other."""
        if not self.writable:
            operation.close()
        return await self.change(self._alone(operation))

    async def _alone(self, operation: Coroutine[Any, Any, T]) -> T:
        async with self._naming.hold(self.scheduler):
            return await operation

    async def _inside(self, operation: Coroutine[Any, Any, T], caller: Strand) -> T:
        self.scheduler.current().owner = caller.owner  # it is in their name
        try:
            if self._crowded:
                await self._relieve()
            await self.gate.enter()
        except BaseException:
            operation.close()
            raise
        try:
            return await operation
        finally:
            self.gate.leave()

    @property
    def _crowded(self) -> bool:
        return self.table.crowded or len(self.buffers.dirty) >= DIRTY_LIMIT

    async def _relieve(self) -> None:
        """Write changed metadata, so that there is room for more. It is durable with the next commit."""
        async with self.gate.closed():
            if self._crowded:
                await self._write_metadata()

    async def _make_room(self) -> None:
        """Give back the blocks of what is deleted."""
        await self.table.store()  # a changed inode is kept alive by being so
        await self.orphans.drain()

    def changed(self) -> None:
        """Something waits to be committed."""
        if self._timer is None and self._interval is not None and not self.closed:
            self._timer = self.scheduler.loop.call_later(self._interval, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if self.writable:
            self.scheduler.spawn(self._commit_on_time())

    async def _commit_on_time(self) -> None:
        try:
            await self.commit()
        except SyscallError as error:
            log.error("%s: a commit failed: %s", self.label, error)

    async def commit(self, times: bool = True) -> None:
        """Make all changes of metadata so far durable, and all data that were written to the device. EIO, ENOSPC.

        Without ``times`` those of inodes may stay behind that have no other changes.
        """
        if self.writable:
            self._times_wanted |= times
            await self._commits.request()

    async def _commit(self) -> None:
        times, self._times_wanted = self._times_wanted, False
        async with self.gate.closed() as closed:
            await self._write_metadata(times)
            freed = self.blocks.take_freed()
            # Changes go on when no block that one of them uses again can get into what is being synced.
            await self.block_device.sync_telling(closed.open)
        if freed:
            async with self.gate.closed():
                with suppress(SyscallError):  # no more than advice
                    for start, count in await self.blocks.still_free(freed):
                        await self.io.discard(start, count)

    async def _write_metadata(self, times: bool = True) -> None:
        """Write all changed metadata to the device. The gate is shut.

        Before and after, what the device holds is consistent, and so it may be synced. In between it must not be:
        there must be room for all that is written, so it is synced before if it has been short of room.
        """
        await self.table.store(times)
        await self.orphans.drain()
        await self.table.store(times)
        await self.groups.store()
        await self._store_superblock()
        if self._pressed:
            self._pressed = False
            await self.block_device.sync()
        await self.buffers.flush()

    def _on_pressure(self) -> None:
        """The device is short of room for what is not synced."""
        self._pressed = True
        if self.writable:
            self.scheduler.spawn(self._commit_on_time())

    async def _store_superblock(self) -> None:
        superblock = self.superblock
        superblock.free_blocks_count = self.blocks.free
        superblock.free_inodes_count = self.table.free
        if superblock.pack() == self._stored:
            return
        superblock.wtime = int(time.time()) & 0xFFFFFFFF
        self._stored = superblock.pack()
        block, offset = divmod(layout.SUPERBLOCK_OFFSET, superblock.block_size)
        buffer = await self.buffers.get(block)
        buffer.data[offset : offset + layout.SUPERBLOCK_SIZE] = self._stored
        self.buffers.mark(buffer)

    async def sync(self) -> None:
        """Write everything and make it durable. EIO, ENOSPC."""
        if self.writable:
            try:
                await self.cache.sync(self)
            finally:
                await self.commit()

    # -- the instance --------------------------------------------------------------------------

    async def statfs(self) -> StatFs:
        superblock = self.superblock
        if self.writable:
            await self.change(self.orphans.drain())
        free = self.blocks.free - self.blocks.promised
        return StatFs(
            self.magic, superblock.block_size, superblock.blocks_count - self._overhead, free,
            max(0, free - superblock.r_blocks_count), superblock.inodes_count, self.table.free, layout.NAME_MAX,
        )  # fmt: skip

    def options(self) -> str:
        return "errors=remount-ro" if self.superblock.errors == layout.ERRORS_READ_ONLY else ""
