"""Regular files: data in the page cache, and from there to blocks and back.

Invariants: a block is written before the file refers to it, so that nobody ever finds in a file what another one
left on the disk; no block lies behind the end of its file.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...abi.errors import SyscallError
from ...abi.stat import Stat
from ..inode import Attributes
from ..memory import FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE
from ..pagecache import PAGE, CachedInode, Data, PageStore
from .blockmap import Words
from .buffers import Buffer
from .commit import Gate
from .inode import Ext2Inode

if TYPE_CHECKING:
    from .filesystem import Ext2

ZEROS = bytes(1 << 18)
GROWING = 32  # blocks that a file is written with at first if it is one that grows


class _Placed(NamedTuple):
    """New blocks, and the words that will refer to them when they are written; see ``BlockMap.link``."""

    words: Words
    first: int
    place: int
    length: int
    buffer: Buffer | None


class Ext2File(Ext2Inode, CachedInode, PageStore):
    """A regular file. ``reading`` is shut while blocks are taken away, so that nobody reads a place that is lost."""

    keeps_flags = True

    def __init__(self, fs: Ext2, ino: int, mode: int, uid: int = 0, gid: int = 0) -> None:
        super().__init__(fs, ino, mode, uid, gid)
        self.reading = Gate(fs.scheduler)
        self.ratio = PAGE // fs.superblock.block_size

    # -- the page cache's side ------------------------------------------------------------------

    async def read_pages(self, index: int, count: int) -> Data:
        fs = self.fs
        size = fs.superblock.block_size
        first = index * self.ratio
        end = min((index + count) * self.ratio, fs.map.limit)
        pieces: list[Data] = []
        async with self.reading:
            block = first
            while block < end:
                place, length = fs.map.known(self, block, end - block) or await fs.map.find(self, block, end - block)
                if place:
                    if block + length < end:
                        place, length = await self._extended(place, length, block, end)
                    data = await fs.io.read(place, length)
                    if length * size == count * PAGE:
                        return data
                    pieces.append(data)
                else:
                    pieces.append(bytes(length * size))
                block += length
        return b"".join(pieces).ljust(count * PAGE, b"\0")

    async def _extended(self, place: int, length: int, block: int, end: int) -> tuple[int, int]:
        """A run, joined with those that continue it beyond the edge of an indirect block."""
        while block + length < end:
            following, more = await self.fs.map.find(self, block + length, end - block - length)
            if following != place + length:
                break
            length += more
        return place, length

    async def reserve_pages(self, index: int, count: int) -> None:
        fs = self.fs
        fs.check_writable()
        first, end = index * self.ratio, (index + count) * self.ratio
        if end > fs.map.limit + self.ratio:
            raise SyscallError(errno.EFBIG)
        end = min(end, fs.map.limit)
        if await self._has_room(first, end):
            return
        async with fs.gate, self.lock.hold(fs.scheduler):
            blocks: list[int] = []
            indirect: set[tuple[int, int]] = set()
            block = first
            while block < end:
                place, length = await fs.map.find(self, block, end - block)
                if not place:
                    length = min(length, fs.map.left_in_leaf(block))
                    blocks.extend(range(block, block + length))
                    indirect.update(await fs.map.missing(self, block))
                block += length
            if blocks:
                await self.promises.make(blocks, indirect, fs.privileged())

    async def _has_room(self, first: int, end: int) -> bool:
        """Whether every block has a place or the promise of one."""
        promised = self.promises.blocks
        block = first
        while block < end:
            if block in promised:
                block += 1
                continue
            found = self.fs.map.known(self, block, end - block) or await self.fs.map.find(self, block, end - block)
            place, length = found
            if not place:
                return False
            block += length
        return True

    async def write_pages(self, index: int, data: Data) -> None:
        await self.write_runs([(index, data)])

    async def write_runs(self, runs: Sequence[tuple[int, Data]]) -> None:
        fs = self.fs
        fs.check_writable()
        async with fs.gate, self.lock.hold(fs.scheduler):
            self._follow_size()  # a commit must not see blocks behind the end
            writes: list[tuple[int, Data]] = []
            placed: list[_Placed] = []
            failure: SyscallError | None = None
            for index, data in runs:
                try:
                    await self._place(index * self.ratio, memoryview(data), writes, placed)
                except SyscallError as error:
                    failure = error  # of this run; the others are written
            try:
                await fs.io.write_many(writes)
            except BaseException:
                for new in placed:
                    await fs.blocks.give_back(new.place, new.length)
                raise
            finally:
                for index, data in runs:
                    self.promises.redeem(index * self.ratio, len(data) // PAGE * self.ratio)
            for new in placed:
                fs.map.link(self, *new)
            if failure is not None:
                raise failure

    async def _place(self, first: int, data: memoryview, writes: list[tuple[int, Data]], placed: list[_Placed]) -> None:
        """Find or make places for blocks, and note what to write there. What lies behind the end is left out."""
        fs = self.fs
        size = fs.superblock.block_size
        end = min(first + len(data) // size, -(-self.size // size))
        block = first
        runs: list[tuple[int, int]] = []  # what lies side by side is written as one: (place, length)
        try:
            while block < end:
                place, length = await fs.map.find(self, block, end - block)
                if place:
                    place, length = await self._extended(place, length, block, end)
                else:
                    new = await self._new_blocks(block, min(length, fs.map.left_in_leaf(block)))
                    placed.append(new)
                    place, length = new.place, new.length
                if runs and sum(runs[-1]) == place:
                    runs[-1] = (runs[-1][0], runs[-1][1] + length)
                else:
                    runs.append((place, length))
                block += length
        finally:
            start = 0
            for place, length in runs:
                writes.append((place, data[start : start + length * size]))
                start += length * size

    async def _new_blocks(self, block: int, wanted: int) -> _Placed:
        """Allocate blocks for some of the hole at ``block``, which the file does not refer to yet. ENOSPC, EIO."""
        fs = self.fs
        words, index, buffer = await fs.map.leaf(self, block)
        goal = words[index - 1] + 1 if index and words[index - 1] else self.goal
        promises = self.promises.blocks
        promised = block in promises
        wanted = next((step for step in range(1, wanted) if (block + step in promises) != promised), wanted)
        # A small file is written at once, and needs no room to grow.
        owner = self.ino if self.sectors or wanted >= GROWING else 0
        place, count = await fs.blocks.allocate(owner, goal, wanted, promised)
        self.promises.redeem(block, count)
        self.goal = place + count
        return _Placed(words, index, place, count, buffer)

    async def next_data(self, index: int, end: int) -> int:
        fs = self.fs
        block, stop = index * self.ratio, min(end * self.ratio, fs.map.limit)
        async with self.reading:
            while block < stop:
                place, length = await fs.map.find(self, block, stop - block)
                if place:
                    return block // self.ratio
                block += length
        return end

    # -- size and room --------------------------------------------------------------------------

    def changed(self) -> None:
        self._follow_size()
        self.mtime = self.ctime = self.fs.present()
        self.fs.table.mark_times(self)

    def _follow_size(self) -> None:
        size = self.cached().size
        if size != self.size:
            self.size = size
            self.fs.table.mark(self)

    async def getattr(self) -> Stat:
        self._follow_size()  # who wrote may have been killed before ``changed``
        return await super().getattr()

    async def change(self, wanted: Attributes) -> None:
        self.fs.check_writable()
        if wanted.size is not None:
            if wanted.size > self.fs.map.max_size:
                raise SyscallError(errno.EFBIG)
            await self.cached().truncate(wanted.size)
            self.changed()
        self.enter(wanted)

    async def write(self, data: bytes | memoryview, offset: int) -> int:
        return await super().write(self._within_limit(data, offset), offset)

    async def write_direct(self, data: bytes | memoryview, offset: int) -> int:
        return await super().write_direct(self._within_limit(data, offset), offset)

    def _within_limit(self, data: bytes | memoryview, offset: int) -> bytes | memoryview:
        """As much of ``data`` as the largest file takes; EFBIG for nothing. EROFS."""
        self.fs.check_writable()
        room = self.fs.map.max_size - offset
        if len(data) <= room:
            return data
        if room <= 0:
            raise SyscallError(errno.EFBIG)
        return memoryview(data)[:room]

    async def resized(self, size: int) -> None:
        await self.fs.change(self._resized(size))

    async def _resized(self, size: int) -> None:
        shrinks = size < self.size or len(self.promises)
        self.size = size
        if shrinks:
            await self._take_away(-(-size // self.fs.superblock.block_size), None)
        self.touch()

    async def punched(self, index: int, end: int) -> None:
        await self.fs.change(self._take_away(index * self.ratio, end * self.ratio - 1))

    async def _take_away(self, first: int, last: int | None) -> None:
        fs = self.fs
        async with self.lock.hold(fs.scheduler):
            if last is None:
                self.promises.redeem_from(first)
                fs.blocks.close_window(self.ino)
            else:
                self.promises.redeem(first, last - first + 1)
            async with self.reading.closed():
                await fs.map.clear(self, first, last)

    async def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Allocate (zeros are written) or punch a hole. Room behind the end can't be kept: EOPNOTSUPP."""
        self.fs.check_writable()
        end = offset + length
        if end > self.fs.map.max_size:
            raise SyscallError(errno.EFBIG)
        before = self.cached().size
        if mode == FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE:
            await self.cached().punch(offset, length)
        elif mode == 0 or (mode == FALLOC_KEEP_SIZE and end <= before):
            if end > before:
                await self.setattr(size=end)
            try:
                await self.fs.change(self._fill_holes(offset, end))
            except SyscallError:
                if end > before and self.cached().size == end:
                    await self.setattr(size=before)
                raise
        else:
            raise SyscallError(errno.EOPNOTSUPP)
        self.touch()

    async def _fill_holes(self, offset: int, end: int) -> None:
        fs = self.fs
        size = fs.superblock.block_size
        block, stop = offset // size, -(-end // size)
        async with self.lock.hold(fs.scheduler):
            while block < stop:
                place, length = await fs.map.find(self, block, stop - block)
                if not place:
                    new = await self._new_blocks(block, min(length, fs.map.left_in_leaf(block)))
                    length = new.length
                    try:
                        await self._write_zeros(new.place, length)
                    except BaseException:
                        await fs.blocks.give_back(new.place, length)
                        raise
                    fs.map.link(self, *new)
                block += length

    async def _write_zeros(self, place: int, count: int) -> None:
        at_once = len(ZEROS) // self.fs.superblock.block_size
        for start in range(0, count, at_once):
            part = min(at_once, count - start)
            await self.fs.io.write(place + start, memoryview(ZEROS)[: part * self.fs.superblock.block_size])

    async def seek_data(self, offset: int, hole: bool) -> int:
        fs = self.fs
        end = self.cached().size
        if offset >= end:
            raise SyscallError(errno.ENXIO)
        await self.cached().sync()  # what waits in the cache has no place yet
        size = fs.superblock.block_size
        block, stop = offset // size, -(-end // size)
        async with self.reading:
            while block < stop:
                place, length = await fs.map.find(self, block, stop - block)
                if (place == 0) == hole:
                    return max(offset, block * size)
                block += length
        if not hole:
            raise SyscallError(errno.ENXIO)
        return end

    async def sync(self, data_only: bool) -> None:
        await self.cached().sync()
        await self.fs.commit(times=not data_only)
