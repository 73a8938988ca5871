"""Making a file system: what mke2fs(8) makes by default, without a journal."""

from __future__ import annotations

import os
import struct
import time

from ..block.device import BLOCK, BlockDevice
from . import layout
from .bitmap import set_run
from .layout import GROUP
from .superblock import Superblock

BYTES_PER_INODE = 16384
SMALL_BYTES_PER_INODE, SMALL = 4096, 512 << 20  # bytes: a smaller device has more inodes for its size
RESERVED_PERCENT = 5
LOST_AND_FOUND = 16384  # bytes of the directory that e2fsck(8) puts into what it finds
ROUND = 256  # blocks of one write
_INODE = struct.Struct("<HHIIIIIHHIII60sIIII12xH2xIIIII")


async def mkfs(
    device: BlockDevice,
    blocks: int | None = None,
    block_size: int = 4096,
    label: str = "",
    uuid: bytes | None = None,
    inode_size: int = 256,
    bytes_per_inode: int | None = None,
    reserved_percent: int = RESERVED_PERCENT,
) -> Superblock:
    """Make a file system of ``blocks`` blocks of ``block_size`` bytes, or as many as fit; all else is discarded.

    ``uuid`` are 16 bytes, random by default. ``ValueError`` says which parameter can't be; EIO, ENOSPC. The device
    is synced, not closed.
    """
    superblock = _plan(device, blocks, block_size, label, uuid, inode_size, bytes_per_inode, reserved_percent)
    await device.discard(0, device.blocks)
    image = _Image(superblock)
    image.build()
    await image.write(device)
    await device.sync()
    return superblock


def _plan(
    device: BlockDevice,
    blocks: int | None,
    block_size: int,
    label: str,
    uuid: bytes | None,
    inode_size: int,
    bytes_per_inode: int | None,
    reserved_percent: int,
) -> Superblock:
    """The superblock of what is to be made."""
    if block_size not in layout.BLOCK_SIZES:
        raise ValueError(f"blocks have {', '.join(map(str, layout.BLOCK_SIZES))} bytes, not {block_size}")
    if inode_size not in (128, 256, 512, 1024):
        raise ValueError(f"inodes have 128, 256, 512 or 1024 bytes, not {inode_size}")
    if not 0 <= reserved_percent <= 50:
        raise ValueError("0 to 50 percent of the blocks can be reserved")
    name = label.encode()
    if len(name) > 16:
        raise ValueError("a label has at most 16 bytes")
    if uuid is not None and len(uuid) != 16:
        raise ValueError("a UUID has 16 bytes")
    fitting = device.blocks * BLOCK // block_size
    count = min(fitting, 2**32 - 1) if blocks is None else blocks
    if not 0 < count <= fitting:
        raise ValueError(f"{count} blocks do not fit on a device of {fitting}")
    now = int(time.time()) & 0xFFFFFFFF
    superblock = Superblock(
        blocks_count=count, first_data_block=int(block_size == 1024), log_block_size=block_size.bit_length() - 11,
        log_frag_size=block_size.bit_length() - 11, blocks_per_group=block_size * 8, frags_per_group=block_size * 8,
        wtime=now, lastcheck=now, mkfs_time=now, inode_size=inode_size,
        feature_compat=layout.COMPAT_EXT_ATTR | layout.COMPAT_DIR_INDEX,
        feature_incompat=layout.INCOMPAT_FILETYPE,
        feature_ro_compat=layout.RO_COMPAT_SPARSE_SUPER | layout.RO_COMPAT_LARGE_FILE,
        uuid=uuid or os.urandom(16), volume_name=name.ljust(16, b"\0"), hash_seed=os.urandom(16), def_hash_version=1,
        default_mount_opts=0xC,
    )  # fmt: skip
    if uuid is None:
        superblock.uuid = _as_random_uuid(superblock.uuid)
    _divide(superblock, bytes_per_inode)
    superblock.r_blocks_count = superblock.blocks_count * reserved_percent // 100
    rest = bytearray(superblock.rest)
    # s_min_extra_isize, s_want_extra_isize, s_flags: how much newer inodes hold, and how names are hashed.
    extra = 32 if inode_size > 128 else 0
    struct.pack_into("<HHI", rest, 348 - (layout.SUPERBLOCK_SIZE - len(rest)), extra, extra, layout.SIGNED_HASH)
    superblock.rest = bytes(rest)
    return superblock


def _as_random_uuid(data: bytes) -> bytes:
    """Random bytes, marked as a UUID of version 4."""
    value = bytearray(data)
    value[6] = value[6] & 0x0F | 0x40
    value[8] = value[8] & 0x3F | 0x80
    return bytes(value)


def _divide(superblock: Superblock, bytes_per_inode: int | None) -> None:
    """Divide the blocks into groups with inodes. A last group that would hold nothing but its tables is left out."""
    size = superblock.block_size
    total = superblock.blocks_count * size
    ratio = bytes_per_inode or (SMALL_BYTES_PER_INODE if total < SMALL else BYTES_PER_INODE)
    if not size <= ratio <= 64 << 20:
        raise ValueError(f"there can't be an inode for every {ratio} bytes")
    superblock.measure()
    wanted = max(layout.FIRST_INODE + 1, total // ratio)
    per_group = -(-wanted // superblock.groups)
    step = max(8, superblock.inodes_per_block)
    superblock.inodes_per_group = min(-(-per_group // step) * step, size * 8 // step * step)
    superblock.measure()
    last = superblock.blocks_count - superblock.first_data_block - (superblock.groups - 1) * superblock.blocks_per_group
    if last < _used_by_group(superblock, superblock.groups - 1) + 50:
        if superblock.groups == 1:
            raise ValueError("the device is too small for a file system")
        superblock.blocks_count -= last
        superblock.measure()
    superblock.inodes_count = superblock.groups * superblock.inodes_per_group


def _used_by_group(superblock: Superblock, group: int) -> int:
    """How many blocks a group needs for itself."""
    backup = layout.has_backup(group, superblock.sparse)
    copies = 1 + superblock.descriptor_blocks + superblock.reserved_gdt_blocks
    return copies * backup + 2 + superblock.table_blocks


class _Image:
    """The blocks of the new file system that are not zeros."""

    def __init__(self, superblock: Superblock) -> None:
        self.superblock = superblock
        self.blocks: dict[int, bytearray] = {}
        self.descriptors: list[list[int]] = []

    def build(self) -> None:
        """Make everything."""
        self._build_groups()
        now = self.superblock.mkfs_time
        size = self.superblock.block_size
        start = self._first_data()
        root = layout.ROOT_INODE
        self._entries(start, ((root, b"."), (root, b".."), (layout.FIRST_INODE, b"lost+found")))
        self._inode(layout.ROOT_INODE, 0o40755, 3, [start], now)
        count = min(12, LOST_AND_FOUND // size)
        found = list(range(start + 1, start + 1 + count))
        self._entries(found[0], ((layout.FIRST_INODE, b"."), (layout.ROOT_INODE, b"..")))
        for block in found[1:]:
            self._entries(block, ((0, b""),))
        self._inode(layout.FIRST_INODE, 0o40700, 2, found, now)
        self._take(start, 1 + count)
        self._build_copies()

    def block(self, number: int) -> bytearray:
        """A block, made when it is first asked for."""
        return self.blocks.setdefault(number, bytearray(self.superblock.block_size))

    def _first_data(self) -> int:
        return self.superblock.first_data_block + _used_by_group(self.superblock, 0)

    def _build_groups(self) -> None:
        superblock = self.superblock
        for group in range(superblock.groups):
            start = superblock.first_data_block + group * superblock.blocks_per_group
            used = _used_by_group(superblock, group)
            size = min(superblock.blocks_per_group, superblock.blocks_count - start)
            bitmap = start + used - superblock.table_blocks - 2
            bits = self.block(bitmap)
            set_run(bits, 0, used)
            if size < superblock.block_size * 8:
                set_run(bits, size, superblock.block_size * 8 - size)
            inodes = self.block(bitmap + 1)
            reserved = layout.FIRST_INODE if group == 0 else 0
            if reserved:
                set_run(inodes, 0, reserved)
            set_run(inodes, superblock.inodes_per_group, superblock.block_size * 8 - superblock.inodes_per_group)
            directories = 2 if group == 0 else 0
            free = (size - used, superblock.inodes_per_group - reserved)
            self.descriptors.append([bitmap, bitmap + 1, bitmap + 2, *free, directories, 0])

    def _take(self, start: int, count: int) -> None:
        """Mark blocks of the first group as used."""
        set_run(self.block(self.descriptors[0][0]), start - self.superblock.first_data_block, count)
        self.descriptors[0][3] -= count

    def _entries(self, number: int, names: tuple[tuple[int, bytes], ...]) -> None:
        block = self.block(number)
        offset = 0
        for position, (ino, name) in enumerate(names):
            last = position == len(names) - 1
            length = len(block) - offset if last else 8 + len(name) + 3 & ~3
            struct.pack_into("<IHBB", block, offset, ino, length, len(name), 2 if ino else 0)
            block[offset + 8 : offset + 8 + len(name)] = name
            offset += length

    def _inode(self, ino: int, mode: int, links: int, places: list[int], now: int) -> None:
        superblock = self.superblock
        index, slot = divmod(ino - 1, superblock.inodes_per_block)
        size = superblock.block_size
        pointers = struct.pack("<15I", *places, *(0,) * (15 - len(places)))
        record = bytearray(max(superblock.inode_size, _INODE.size))
        extra = 32 if superblock.inode_size > 128 else 0
        _INODE.pack_into(
            record, 0, mode, 0, len(places) * size, now, now, now, 0, 0, links, len(places) * (size // 512), 0, 0,
            pointers, 0, 0, 0, 0, extra, 0, 0, 0, now, 0,
        )  # fmt: skip
        offset = slot * superblock.inode_size
        self.block(self.descriptors[0][2] + index)[offset : offset + superblock.inode_size] = record[
            : superblock.inode_size
        ]

    def _build_copies(self) -> None:
        """The superblock and the descriptors, in every group that has them."""
        superblock = self.superblock
        superblock.free_blocks_count = sum(descriptor[3] for descriptor in self.descriptors)
        superblock.free_inodes_count = sum(descriptor[4] for descriptor in self.descriptors)
        table = b"".join(GROUP.pack(*descriptor) for descriptor in self.descriptors)
        size = superblock.block_size
        for group in range(superblock.groups):
            if not layout.has_backup(group, superblock.sparse):
                continue
            start = superblock.first_data_block + group * superblock.blocks_per_group
            superblock.block_group_nr = group
            offset = layout.SUPERBLOCK_OFFSET % size if group == 0 else 0
            self.block(start)[offset : offset + layout.SUPERBLOCK_SIZE] = superblock.pack()
            for index in range(superblock.descriptor_blocks):
                part = table[index * size : (index + 1) * size]
                self.block(start + 1 + index)[: len(part)] = part
        superblock.block_group_nr = 0

    async def write(self, device: BlockDevice) -> None:
        """Write what is not zeros, neighbours at once."""
        ratio = BLOCK // self.superblock.block_size
        joined: dict[int, bytearray] = {}
        for number in sorted(self.blocks):
            whole = joined.setdefault(number // ratio, bytearray(BLOCK))
            start = number % ratio * self.superblock.block_size
            whole[start : start + self.superblock.block_size] = self.blocks[number]
        numbers = sorted(joined)
        start = 0
        while start < len(numbers):
            end = start + 1
            while end < len(numbers) and end - start < ROUND and numbers[end] == numbers[end - 1] + 1:
                end += 1
            await device.write(numbers[start], b"".join(joined[number] for number in numbers[start:end]))
            start = end
