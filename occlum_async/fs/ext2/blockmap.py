"""Where the blocks of a file are: twelve direct pointers, and trees of one, two and three levels.

Invariants: every pointer that is followed lies on the device and outside of the file system's own tables;
``inode.sectors`` counts each block that a file refers to; who calls ``clear`` sees to it that nobody uses a place
that was found before; ``inode.leaves`` names no indirect block that was freed.
"""

from __future__ import annotations

import errno
from array import array
from typing import TYPE_CHECKING, TypeAlias

from ...abi.errors import SyscallError
from .buffers import Buffer
from .layout import DIRECT

if TYPE_CHECKING:
    from .filesystem import Ext2
    from .inode import Ext2Inode

LEAVES = 4096  # of one file, whose places are remembered
Words: TypeAlias = "memoryview | array[int]"  # the pointers of an inode or of an indirect block


class BlockMap:
    """The block maps of one file system's files. Blocks of a file are numbered from 0."""

    def __init__(self, fs: Ext2) -> None:
        self.fs = fs
        size = fs.superblock.block_size
        self.fanout = fanout = size // 4
        # The first block of a file behind the direct ones and behind each tree.
        self._ends = (DIRECT, DIRECT + fanout, DIRECT + fanout + fanout**2, DIRECT + fanout + fanout**2 + fanout**3)
        # i_blocks counts 512-byte sectors in 32 bits, those of indirect blocks too.
        blocks = (2**32 - 1) // (size // 512)
        indirect = blocks // fanout + blocks // fanout**2 + 4
        self.limit = min(self._ends[3], blocks - indirect)
        self.max_size = self.limit * size

    # -- finding ---------------------------------------------------------------------------

    def path(self, number: int) -> tuple[int, ...]:
        """The index of block ``number`` in the inode's pointers and in each indirect block on the way. EFBIG."""
        fanout = self.fanout
        ends = self._ends
        if number < ends[0]:
            return (number,)
        if number < ends[1]:
            return DIRECT, number - ends[0]
        if number < ends[2]:
            return DIRECT + 1, *divmod(number - ends[1], fanout)
        if number < ends[3]:
            rest = number - ends[2]
            return DIRECT + 2, rest // fanout**2, rest // fanout % fanout, rest % fanout
        raise SyscallError(errno.EFBIG)

    async def find(self, inode: Ext2Inode, number: int, limit: int) -> tuple[int, int]:
        """The run that block ``number`` begins: its place (0 for a hole), and its length, at most ``limit``. EIO."""
        known = self.known(inode, number, limit)
        if known is not None:
            return known
        leaves = inode.leaves
        path = self.path(number)
        words: Words = inode.pointers
        for depth, index in enumerate(path[:-1]):
            pointer = words[index]
            if not pointer:
                span = self.fanout ** (len(path) - 1 - depth)
                return 0, min(limit, span - (number - self._start(len(path))) % span)
            words = (await self.indirect(inode, pointer)).words
        index, end = path[-1], DIRECT
        if len(path) > 1:
            end = self.fanout
            if len(leaves) >= LEAVES:
                leaves.clear()
            leaves[(number - DIRECT) // self.fanout] = pointer
        return self._run(inode, words, index, min(end, index + limit))

    def known(self, inode: Ext2Inode, number: int, limit: int) -> tuple[int, int] | None:
        """``find`` if the indirect block that tells is in memory, and where it is is known; else None."""
        leaf, index = divmod(number - DIRECT, self.fanout)
        pointer = inode.leaves.get(leaf)
        buffer = self.fs.buffers.cached(pointer) if pointer else None
        return None if buffer is None else self._run(inode, buffer.words, index, min(self.fanout, index + limit))

    def _run(self, inode: Ext2Inode, words: Words, index: int, end: int) -> tuple[int, int]:
        """What the words from ``index`` on refer to, checked; see ``run_in``."""
        place, length = run_in(words, index, end) if end - index > 1 else (words[index], 1)
        if place:
            self.check(inode, place, length)
        return place, length

    def _start(self, levels: int) -> int:
        """The first block that is reached by ``levels`` indices."""
        return self._ends[levels - 2] if levels > 1 else 0

    async def indirect(self, inode: Ext2Inode, pointer: int) -> Buffer:
        """The indirect block at ``pointer``. EIO."""
        self.check(inode, pointer, 1)
        return await self.fs.buffers.get(pointer)

    def check(self, inode: Ext2Inode, place: int, count: int) -> None:
        """EIO unless a run that ``inode`` refers to can belong to a file."""
        superblock = self.fs.superblock
        first = superblock.first_data_block
        if place <= first or place + count > superblock.blocks_count:
            raise self.fs.fault(f"inode {inode.ino} refers to block {place}+{count}, which does not exist")
        end, per_group = place + count, superblock.blocks_per_group
        while place < end:  # a run may be of several groups
            part = 1 if count == 1 else min(end - place, per_group - (place - first) % per_group)
            if self.fs.groups.holds_metadata(place, part):
                raise self.fs.fault(f"inode {inode.ino} refers to block {place}+{part} of the file system's own tables")
            place += part

    def left_in_leaf(self, number: int) -> int:
        """How many blocks from ``number`` on have their words where its own is."""
        if number < DIRECT:
            return DIRECT - number
        return self.fanout - (number - DIRECT) % self.fanout

    async def missing(self, inode: Ext2Inode, number: int) -> list[tuple[int, int]]:
        """The indirect blocks that are not there yet on the way to block ``number``, by level and index in it. EIO."""
        path = self.path(number)
        words: Words = inode.pointers
        levels = len(path) - 1
        for depth in range(levels):
            pointer = words[path[depth]]
            if not pointer:
                rest = number - self._start(len(path))
                return [
                    (levels << 4 | below, rest // self.fanout ** (levels - below)) for below in range(depth, levels)
                ]  # fmt: skip
            words = (await self.indirect(inode, pointer)).words
        return []

    # -- adding ------------------------------------------------------------------------------

    async def leaf(self, inode: Ext2Inode, number: int) -> tuple[Words, int, Buffer | None]:
        """The words that hold block ``number``'s, its index in them, and their buffer (None: the inode).

        Indirect blocks on the way are made. ENOSPC, EIO.
        """
        path = self.path(number)
        words: Words = inode.pointers
        buffer: Buffer | None = None
        for depth, index in enumerate(path[:-1]):
            pointer = words[index]
            if pointer:
                buffer = await self.indirect(inode, pointer)
            else:
                place = await self._new_indirect(inode, number, depth, len(path) - 1)
                words[index] = place
                self._changed(inode, buffer)
                buffer = self.fs.buffers.fresh(place)
            words = buffer.words
        return words, path[-1], buffer

    async def _new_indirect(self, inode: Ext2Inode, number: int, depth: int, levels: int) -> int:
        key = (levels << 4 | depth, (number - self._start(levels + 1)) // self.fanout ** (levels - depth))
        promised = inode.promises.holds_indirect(key)
        place, _ = await self.fs.blocks.allocate(0, inode.goal, 1, promised)
        if promised:
            inode.promises.redeem_indirect(key)
        self.account(inode, 1)
        inode.goal = place + 1
        return place

    def link(self, inode: Ext2Inode, words: Words, index: int, place: int, count: int, buffer: Buffer | None) -> None:
        """Let the words of a leaf refer to a run of blocks; they were holes."""
        for position in range(count):
            words[index + position] = place + position
        self.account(inode, count)
        inode.goal = place + count
        self._changed(inode, buffer)

    def _changed(self, inode: Ext2Inode, buffer: Buffer | None) -> None:
        if buffer is not None:
            self.fs.buffers.mark(buffer)
        self.fs.table.mark(inode)

    def account(self, inode: Ext2Inode, blocks: int) -> None:
        """So many blocks more belong to ``inode`` (negative: fewer)."""
        sectors = inode.sectors + blocks * (self.fs.superblock.block_size // 512)
        inode.sectors = max(0, min(sectors, 0xFFFFFFFF))  # a damaged inode may begin with any number

    # -- removing ----------------------------------------------------------------------------

    async def clear(self, inode: Ext2Inode, first: int, last: int | None = None) -> None:
        """Free the blocks from ``first`` to ``last`` (the end if None), and indirect blocks that become empty.

        What can't be read is reported and lost; nothing is raised for it.
        """
        try:
            await self._clear(inode, first, self._ends[3] if last is None else last + 1)
        finally:
            inode.leaves = {}  # a new one: who is on his way to a block remembers it in the old one

    async def _clear(self, inode: Ext2Inode, first: int, end: int) -> None:
        if first < DIRECT:
            await self._clear_words(inode, inode.pointers, first, min(end, DIRECT))
        for levels in (1, 2, 3):
            begin, stop = self._ends[levels - 1], self._ends[levels]
            pointer = inode.pointers[DIRECT + levels - 1]
            if pointer and first < stop and end > begin:
                low, high = max(0, first - begin), min(stop, end) - begin
                if await self._clear_tree(inode, pointer, levels - 1, low, high):
                    inode.pointers[DIRECT + levels - 1] = 0
        self.fs.table.mark(inode)

    async def _clear_tree(self, inode: Ext2Inode, pointer: int, depth: int, low: int, high: int) -> bool:
        """Free the blocks ``low`` to ``high - 1`` of a tree; True if it is empty then, and freed itself."""
        try:
            buffer = await self.indirect(inode, pointer)
        except SyscallError:
            self.fs.fault(f"inode {inode.ino}: indirect block {pointer} can't be read, what it refers to is lost")
            return True
        words = buffer.words
        span = self.fanout**depth
        if depth == 0:
            await self._clear_words(inode, words, low, min(high, self.fanout))
        else:
            for index in range(low // span, min(self.fanout, -(-high // span))):
                child = words[index]
                if child:
                    start = index * span
                    part = max(0, low - start), min(span, high - start)
                    if await self._clear_tree(inode, child, depth - 1, *part):
                        words[index] = 0
        if buffer.data.count(0) == len(buffer.data):
            self.fs.buffers.forget(pointer)
            await self.fs.blocks.give_back(pointer, 1)
            self.account(inode, -1)
            return True
        self.fs.buffers.mark(buffer)
        return False

    async def _clear_words(self, inode: Ext2Inode, words: Words, index: int, end: int) -> None:
        while index < end:
            place, length = run_in(words, index, end)
            if place:
                for position in range(index, index + length):
                    words[position] = 0
                self.account(inode, -length)
                try:
                    self.check(inode, place, length)
                except SyscallError:
                    place = 0  # not theirs to free; reported
                if place:
                    if inode.is_dir or inode.is_symlink:
                        for block in range(place, place + length):
                            self.fs.buffers.forget(block)
                    await self.fs.blocks.give_back(place, length)
            index += length


def run_in(words: Words, index: int, end: int) -> tuple[int, int]:
    """What the words from ``index`` on refer to: the first block and how many follow it; 0 for a hole."""
    first = words[index]
    step = 1 if first else 0
    length = 1
    # Most runs are long: compare more and more at once, then narrow down.
    stride = 1
    while stride and index + length < end:
        take = min(stride, end - index - length)
        start = first + step * length
        expected = list(range(start, start + take)) if step else [0] * take
        if words[index + length : index + length + take].tolist() == expected:
            length += take
            stride *= 2
        else:
            stride = take // 2
    return first, length
