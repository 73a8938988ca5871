"""The blocks of a file system that is made or grown: superblocks, descriptors, bitmaps, and the resize inode.

The resize inode (number 7) owns blocks behind the group descriptors of every group that has a copy of them, so that
there can be more descriptors one day. Its double indirect block lists those of the first group, each of which in turn
lists those at the same place of the other groups.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator

from ...sched.strand import Scheduler
from ..block.device import BlockDevice
from . import layout
from .bitmap import set_run
from .blockio import BlockIO
from .layout import GROUP
from .superblock import Superblock

HELD = 4096  # blocks in memory before they are written
RUN = 256  # blocks of one write
_INODE = struct.Struct("<HHIIIIIHHIII60sIIII12xH2xIIIII")
_DOUBLE_INDIRECT = 13


class Image:
    """Collects blocks in memory and writes them with ``flush``. ``descriptors`` are the groups' so far."""

    def __init__(self, superblock: Superblock, device: BlockDevice) -> None:
        self.superblock = superblock
        self.io = BlockIO(device, superblock.block_size, Scheduler(asyncio.get_running_loop()))
        self.blocks: dict[int, bytearray] = {}
        self.descriptors: list[list[int]] = []

    def block(self, number: int) -> bytearray:
        """A block of zeros, made when it is first asked for."""
        block = self.blocks.get(number)
        if block is None:
            block = self.blocks[number] = bytearray(self.superblock.block_size)
        return block

    async def flush(self) -> None:
        """Write what is held, neighbours at once. EIO, ENOSPC."""
        numbers = sorted(self.blocks)
        start = 0
        while start < len(numbers):
            end = start + 1
            while end < len(numbers) and end - start < RUN and numbers[end] == numbers[end - 1] + 1:
                end += 1
            await self.io.write(numbers[start], b"".join(self.blocks[number] for number in numbers[start:end]))
            start = end
        self.blocks.clear()

    # -- groups --------------------------------------------------------------------------------

    def start_of(self, group: int) -> int:
        """The first block of ``group``."""
        return self.superblock.first_data_block + group * self.superblock.blocks_per_group

    def size_of(self, group: int) -> int:
        """How many blocks ``group`` has."""
        return min(self.superblock.blocks_per_group, self.superblock.blocks_count - self.start_of(group))

    async def add_groups(self, first: int) -> None:
        """Make the groups from ``first`` on, empty; the first inodes are taken. What is large is written already."""
        superblock = self.superblock
        bits = superblock.block_size * 8
        for group in range(first, superblock.groups):
            used = used_by_group(superblock, group)
            size = self.size_of(group)
            bitmap = self.start_of(group) + used - superblock.table_blocks - 2
            blocks, inodes = self.block(bitmap), self.block(bitmap + 1)
            set_run(blocks, 0, used)
            set_run(blocks, size, bits - size)
            reserved = layout.FIRST_INODE if group == 0 else 0
            set_run(inodes, 0, reserved)
            set_run(inodes, superblock.inodes_per_group, bits - superblock.inodes_per_group)
            free = (size - used, superblock.inodes_per_group - reserved)
            self.descriptors.append([bitmap, bitmap + 1, bitmap + 2, *free, 0, 0])
            if group and len(self.blocks) >= HELD:
                await self._flush_but_first_group()

    async def _flush_but_first_group(self) -> None:
        end = self.start_of(1)
        held = {number: block for number, block in self.blocks.items() if number < end}
        for number in held:
            del self.blocks[number]
        await self.flush()
        self.blocks = held

    def take(self, start: int, count: int) -> None:
        """Use blocks of the first group."""
        set_run(self.block(self.descriptors[0][0]), start - self.start_of(0), count)
        self.descriptors[0][3] -= count

    # -- files ----------------------------------------------------------------------------------

    def entries(self, number: int, names: tuple[tuple[int, bytes], ...]) -> None:
        """Fill a block with names of directories; inode 0 is an empty record."""
        block = self.block(number)
        offset = 0
        for position, (ino, name) in enumerate(names):
            last = position == len(names) - 1
            length = len(block) - offset if last else 8 + len(name) + 3 & ~3
            struct.pack_into("<IHBB", block, offset, ino, length, len(name), 2 if ino else 0)
            block[offset + 8 : offset + 8 + len(name)] = name
            offset += length

    def inode(self, ino: int, mode: int, links: int, size: int, blocks: int, pointers: list[int]) -> None:
        """Write an inode that has ``blocks`` blocks in all into the table of the first group."""
        superblock = self.superblock
        index, slot = divmod(ino - 1, superblock.inodes_per_block)
        now = superblock.mkfs_time
        record = bytearray(max(superblock.inode_size, _INODE.size))
        extra = 32 if superblock.inode_size > 128 else 0
        _INODE.pack_into(
            record, 0, mode, 0, size & 0xFFFFFFFF, now, now, now, 0, 0, links, blocks * (superblock.block_size // 512),
            0, 0, struct.pack("<15I", *pointers, *(0,) * (15 - len(pointers))), 0, 0, size >> 32, 0, extra, 0, 0, 0,
            now, 0,
        )  # fmt: skip
        offset = slot * superblock.inode_size
        table = self.block(self.descriptors[0][2] + index)
        table[offset : offset + superblock.inode_size] = record[: superblock.inode_size]

    def resize_inode(self, double_indirect: int) -> None:
        """Write the resize inode, whose double indirect block is in use already, as the superblock wants it."""
        superblock = self.superblock
        fanout = superblock.block_size // 4
        table = bytearray(superblock.block_size)
        backups = [group for group in range(1, superblock.groups) if layout.has_backup(group, superblock.sparse)]
        for index in range(superblock.reserved_gdt_blocks):
            position = superblock.descriptor_blocks + index
            block = superblock.first_data_block + 1 + position
            struct.pack_into("<I", table, position % fanout * 4, block)
            copies = [block + group * superblock.blocks_per_group for group in backups]
            self.blocks[block] = bytearray(struct.pack(f"<{len(copies)}I", *copies).ljust(superblock.block_size, b"\0"))
        self.blocks[double_indirect] = table
        blocks = 1 + superblock.reserved_gdt_blocks * (1 + len(backups))
        size = (fanout**2 + fanout + layout.DIRECT) * superblock.block_size
        pointers = [0] * _DOUBLE_INDIRECT + [double_indirect]
        self.inode(layout.RESIZE_INODE, 0o100600, 1, size, blocks, pointers)

    # -- superblocks and descriptors -----------------------------------------------------------------

    async def copies(self) -> None:
        """Write superblock and descriptors to every group that has them, the first one last, and all that is held."""
        superblock = self.superblock
        superblock.free_blocks_count = sum(descriptor[3] for descriptor in self.descriptors)
        superblock.free_inodes_count = sum(descriptor[4] for descriptor in self.descriptors)
        table = b"".join(GROUP.pack(*descriptor) for descriptor in self.descriptors)
        for group in self._backups():
            await self._copy(group, table)
            await self._flush_but_first_group()
        await self._copy(0, table)
        await self.flush()

    def _backups(self) -> Iterator[int]:
        superblock = self.superblock
        return (group for group in range(1, superblock.groups) if layout.has_backup(group, superblock.sparse))

    async def _copy(self, group: int, table: bytes) -> None:
        superblock = self.superblock
        size = superblock.block_size
        start = self.start_of(group)
        superblock.block_group_nr = group
        offset = layout.SUPERBLOCK_OFFSET % size if group == 0 else 0
        block = bytearray(await self.io.read(start, 1)) if group == 0 else bytearray(size)
        block[offset : offset + layout.SUPERBLOCK_SIZE] = superblock.pack()
        self.blocks[start] = block
        for index in range(superblock.descriptor_blocks):
            part = table[index * size : (index + 1) * size]
            self.blocks[start + 1 + index] = bytearray(part.ljust(size, b"\0"))
        superblock.block_group_nr = 0


def used_by_group(superblock: Superblock, group: int) -> int:
    """How many blocks a group needs for itself."""
    backup = layout.has_backup(group, superblock.sparse)
    copies = 1 + superblock.descriptor_blocks + superblock.reserved_gdt_blocks
    return copies * backup + 2 + superblock.table_blocks


def reserved_descriptors(superblock: Superblock) -> int:
    """How many blocks to keep for descriptors, so that the file system can become 1024 times as large."""
    most = min(superblock.blocks_count * 1024, 0xFFFFFFFF)
    groups = -(-(most - superblock.first_data_block) // superblock.blocks_per_group)
    blocks = -(-groups // superblock.descriptors_per_block) - superblock.descriptor_blocks
    return max(0, min(blocks, superblock.block_size // 4))
