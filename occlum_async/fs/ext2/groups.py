"""Block groups: where each has its bitmaps and its part of the inode table, and how much of it is free.

Invariant: the bitmaps and tables of all groups lie on the device, and the counts are what the bitmaps say
as soon as ``bitmap`` has returned the one that they belong to.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from . import layout
from .bitmap import free_bits
from .buffers import Buffer
from .layout import GROUP
from .superblock import BadSuperblock

if TYPE_CHECKING:
    from .volume import Volume

READ_AT_ONCE = 256  # blocks of group descriptors


class Groups:
    """The group descriptors, a column each; ``damaged`` are the groups that nothing is allocated in any more."""

    def __init__(self, fs: Volume) -> None:
        self.fs = fs
        self.block_bitmap = array("I")
        self.inode_bitmap = array("I")
        self.inode_table = array("I")
        self.free_blocks = array("H")
        self.free_inodes = array("H")
        self.directories = array("H")
        self.flags = array("H")
        # The first block of each group behind all of its bookkeeping; its end if that is not in one piece.
        self._data = array("I")
        # Blocks behind each copy of the superblock that are for descriptors.
        self._copies = fs.superblock.descriptor_blocks + fs.superblock.reserved_gdt_blocks
        self.damaged: set[int] = set()
        self._dirty: set[int] = set()

    async def load(self) -> None:
        """Read all descriptors. ``BadSuperblock``, EIO."""
        superblock = self.fs.superblock
        per_block = superblock.descriptors_per_block
        columns = (
            self.block_bitmap, self.inode_bitmap, self.inode_table,
            self.free_blocks, self.free_inodes, self.directories, self.flags,
        )  # fmt: skip
        for first in range(0, superblock.descriptor_blocks, READ_AT_ONCE):
            count = min(READ_AT_ONCE, superblock.descriptor_blocks - first)
            data = await self.fs.io.read(superblock.first_data_block + 1 + first, count)
            wanted = min(count * per_block, superblock.groups - first * per_block)
            for descriptor in GROUP.iter_unpack(data[: wanted * GROUP.size]):
                for column, value in zip(columns, descriptor, strict=True):
                    column.append(value)
        self._check()

    def _check(self) -> None:
        superblock = self.fs.superblock
        first, end = superblock.first_data_block + 1, superblock.blocks_count
        for group in range(superblock.groups):
            table = self.inode_table[group]
            placed = all(first <= block < end for block in (self.block_bitmap[group], self.inode_bitmap[group], table))
            if not placed or table + superblock.table_blocks > end:
                raise BadSuperblock(f"the descriptor of group {group} is damaged: its tables are not on the device")
            counts = self.free_blocks[group] <= self.size(group) and self.free_inodes[group] <= (
                superblock.inodes_per_group
            )
            if not counts or self.directories[group] > superblock.inodes_per_group:
                raise BadSuperblock(f"the descriptor of group {group} is damaged: its counts are too large")
            self._data.append(self._first_data_block(group))

    def _first_data_block(self, group: int) -> int:
        superblock = self.fs.superblock
        begin = superblock.first_data_block + group * superblock.blocks_per_group
        end = begin + self.size(group)
        parts = (
            begin + self._copies * layout.has_backup(group, superblock.sparse),
            self.block_bitmap[group],
            self.inode_bitmap[group],
            self.inode_table[group] + superblock.table_blocks - 1,
        )
        return max(parts) + 1 if all(begin <= part < end for part in parts) else end

    def size(self, group: int) -> int:
        """How many blocks ``group`` has; the last one may have fewer than the others."""
        superblock = self.fs.superblock
        start = superblock.first_data_block + group * superblock.blocks_per_group
        return min(superblock.blocks_per_group, superblock.blocks_count - start)

    def changed(self, group: int) -> None:
        """A count of ``group`` was changed."""
        self._dirty.add(group)

    def holds_metadata(self, start: int, count: int) -> bool:
        """Whether a run of blocks, within one group, touches what the group's own bookkeeping lives in."""
        superblock = self.fs.superblock
        group = (start - superblock.first_data_block) // superblock.blocks_per_group
        if start >= self._data[group]:
            return False
        end = start + count
        begin = superblock.first_data_block + group * superblock.blocks_per_group
        if layout.has_backup(group, superblock.sparse) and start <= begin + self._copies:
            return True
        table = self.inode_table[group]
        return (
            start <= self.block_bitmap[group] < end
            or start <= self.inode_bitmap[group] < end
            or (start < table + superblock.table_blocks and table < end)
        )

    async def bitmap(self, group: int, of_inodes: bool) -> Buffer | None:
        """The bitmap of a group's blocks or inodes; None for one that does not agree with its descriptor, or EIO.

        Nothing is allocated in, or given back to, a group with such a bitmap.
        """
        if group in self.damaged:
            return None
        block = self.inode_bitmap[group] if of_inodes else self.block_bitmap[group]
        buffer = await self.fs.buffers.get(block)
        if not buffer.checked:
            bits = self.fs.superblock.inodes_per_group if of_inodes else self.size(group)
            count = self.free_inodes[group] if of_inodes else self.free_blocks[group]
            if free_bits(buffer.data, bits).bit_count() != count:
                self.damaged.add(group)
                self.fs.fault(f"group {group}: its bitmap and its count of free {'inodes' if of_inodes else 'blocks'}")
                return None
            buffer.checked = True
        return buffer

    async def store(self) -> None:
        """Bring the buffers of the descriptors up to date. EIO."""
        superblock = self.fs.superblock
        for group in sorted(self._dirty):
            block, index = divmod(group, superblock.descriptors_per_block)
            buffer = await self.fs.buffers.get(superblock.first_data_block + 1 + block)
            GROUP.pack_into(
                buffer.data, index * GROUP.size, self.block_bitmap[group], self.inode_bitmap[group],
                self.inode_table[group], self.free_blocks[group], self.free_inodes[group], self.directories[group],
                self.flags[group],
            )  # fmt: skip
            self.fs.buffers.mark(buffer)
        self._dirty.clear()
