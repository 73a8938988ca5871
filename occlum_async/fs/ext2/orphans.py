"""Orphans: inodes without a name that are still in use. Their content is freed when the last user is gone.

They are linked on the disk, from the superblock on through the ``dtime`` of each, so that those that were in use
when a machine stopped are freed by who mounts the file system next.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...sched.mutex import Mutex

if TYPE_CHECKING:
    from .filesystem import Ext2
    from .inode import Ext2Inode

log = logging.getLogger(__name__)


class Orphans:
    """The orphans of one file system. ``_chain`` is the list on the disk, its head last."""

    def __init__(self, fs: Ext2) -> None:
        self.fs = fs
        self._chain: dict[int, None] = {}
        self._abandoned: deque[int] = deque()
        self._changing = Mutex()
        self._scheduled = False

    async def add(self, inode: Ext2Inode) -> None:
        """``inode`` has lost its last name, or never had one. Inside a change."""
        inode.dtime = self.fs.superblock.last_orphan
        self.fs.superblock.last_orphan = inode.ino
        self._chain[inode.ino] = None
        self._keep_data(inode, False)
        await self.fs.table.write(inode)  # so that only its users keep it

    async def remove(self, inode: Ext2Inode) -> None:
        """``inode`` gets a name, or is freed. Inside a change. EIO."""
        if inode.ino not in self._chain:
            return
        async with self._changing.hold(self.fs.scheduler):
            chain = list(self._chain)
            position = chain.index(inode.ino)
            following = chain[position - 1] if position else 0
            if position + 1 < len(chain):
                await self.fs.table.set_dtime(chain[position + 1], following)
            else:
                self.fs.superblock.last_orphan = following
            del self._chain[inode.ino]
        inode.dtime = 0
        self.fs.table.mark(inode)
        self._keep_data(inode, True)

    @staticmethod
    def _keep_data(inode: Ext2Inode, kept: bool) -> None:
        """What was not written yet of a file that nobody can find any more need not be."""
        data = getattr(inode, "data", None)
        if data is not None:
            data.keep(kept)

    # -- the end of an orphan ----------------------------------------------------------------------

    def abandoned(self, ino: int) -> None:
        """Nobody refers to an inode without a name any more: free it soon."""
        self._abandoned.append(ino)
        if not self._scheduled and not self.fs.scheduler.loop.is_closed():
            self._scheduled = True
            self.fs.scheduler.spawn(self._free_soon())

    async def _free_soon(self) -> None:
        self._scheduled = False
        if self.fs.writable:
            async with self.fs.gate:
                await self.drain()

    async def drain(self) -> None:
        """Free what was abandoned. Inside a change."""
        while self._abandoned:
            ino = self._abandoned.popleft()
            try:
                await self.fs.release_inode(await self.fs.read_inode(ino))
            except SyscallError:
                self.fs.fault(f"the deleted inode {ino} can't be freed")

    async def release_all(self) -> None:
        """Free all orphans: nobody may use them any more. Inside a change."""
        self._abandoned = deque(self._chain)
        await self.drain()

    async def recover(self) -> None:
        """Free what was in use when the file system was used last. A damaged list is left to e2fsck(8)."""
        try:
            found = await self._read_chain()
            self._chain = dict.fromkeys(inode.ino for inode in reversed(found))
            for inode in found:
                await self._recover(inode)
        except SyscallError:
            self.fs.fault("the list of orphans can't be followed")
            self._chain.clear()
            self.fs.superblock.last_orphan = 0
        else:
            if found:
                log.info("%s: %d deleted files were freed", self.fs.label, len(found))

    async def _read_chain(self) -> list[Ext2Inode]:
        superblock = self.fs.superblock
        found: dict[int, Ext2Inode] = {}
        ino = superblock.last_orphan
        while ino:
            if ino in found or ino < superblock.first_ino:
                raise self.fs.fault("the list of orphans is damaged")
            inode = found[ino] = await self.fs.read_inode(ino)
            ino = inode.dtime
        return list(found.values())

    async def _recover(self, inode: Ext2Inode) -> None:
        if inode.nlink == 0:
            await self.fs.release_inode(inode)
            return
        # Linux puts a file here that it is truncating.
        block_size = self.fs.superblock.block_size
        if inode.is_regular:
            await self.fs.map.clear(inode, -(-inode.size // block_size))
        await self.remove(inode)
