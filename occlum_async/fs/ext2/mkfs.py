"""Making a file system: what mke2fs(8) makes by default, without a journal."""

from __future__ import annotations

import os
import struct
import time

from ..block.device import BLOCK, BlockDevice
from . import layout
from .image import Image, reserved_descriptors, used_by_group
from .superblock import Superblock

BYTES_PER_INODE = 16384
SMALL_BYTES_PER_INODE, SMALL = 4096, 512 << 20  # bytes: a smaller device has more inodes for its size
RESERVED_PERCENT = 5
LOST_AND_FOUND = 16384  # bytes of the directory that e2fsck(8) puts into what it finds


async def mkfs(
    device: BlockDevice,
    blocks: int | None = None,
    block_size: int = 4096,
    label: str | bytes = "",
    uuid: bytes | None = None,
    inode_size: int = 256,
    bytes_per_inode: int | None = None,
    reserved_percent: int = RESERVED_PERCENT,
    growable: bool = True,
) -> Superblock:
    """Make a file system of ``blocks`` blocks of ``block_size`` bytes, or as many as fit; all else is discarded.

    ``label`` has at most 16 bytes; text is taken as UTF-8. ``uuid`` are 16 bytes, random by default. ``growable``: keep
    room for the descriptors of more groups, see ``grow``. ``ValueError`` says which parameter can't be; EIO, ENOSPC.
    The device is synced, not closed.
    """
    superblock = _plan(device, blocks, block_size, label, uuid, inode_size, bytes_per_inode, reserved_percent, growable)
    await device.discard(0, device.blocks)
    image = Image(superblock, device)
    await image.add_groups(0)
    _add_files(image)
    await image.copies()
    await device.sync()
    return superblock


def _add_files(image: Image) -> None:
    """The root, the directory for what e2fsck(8) finds, and the resize inode."""
    superblock = image.superblock
    size = superblock.block_size
    root, first = layout.ROOT_INODE, layout.FIRST_INODE
    start = superblock.first_data_block + used_by_group(superblock, 0)
    image.entries(start, ((root, b"."), (root, b".."), (first, b"lost+found")))
    image.inode(root, 0o40755, 3, size, 1, [start])
    count = min(layout.DIRECT, LOST_AND_FOUND // size)
    found = list(range(start + 1, start + 1 + count))
    image.entries(found[0], ((first, b"."), (root, b"..")))
    for block in found[1:]:
        image.entries(block, ((0, b""),))
    image.inode(first, 0o40700, 2, count * size, count, found)
    image.descriptors[0][5] = 2
    image.take(start, 1 + count)
    if superblock.reserved_gdt_blocks:
        image.take(start + 1 + count, 1)
        image.resize_inode(start + 1 + count)


def _plan(
    device: BlockDevice,
    blocks: int | None,
    block_size: int,
    label: str | bytes,
    uuid: bytes | None,
    inode_size: int,
    bytes_per_inode: int | None,
    reserved_percent: int,
    growable: bool,
) -> Superblock:
    """The superblock of what is to be made."""
    if block_size not in layout.BLOCK_SIZES:
        raise ValueError(f"blocks have {', '.join(map(str, layout.BLOCK_SIZES))} bytes, not {block_size}")
    if inode_size not in (128, 256, 512, 1024):
        raise ValueError(f"inodes have 128, 256, 512 or 1024 bytes, not {inode_size}")
    if not 0 <= reserved_percent <= 50:
        raise ValueError("0 to 50 percent of the blocks can be reserved")
    name = label.encode() if isinstance(label, str) else label
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
    _divide(superblock, bytes_per_inode, growable)
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


def _divide(superblock: Superblock, bytes_per_inode: int | None, growable: bool) -> None:
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
    superblock.reserved_gdt_blocks = reserved_descriptors(superblock) if growable else 0
    if superblock.reserved_gdt_blocks:
        superblock.feature_compat |= layout.COMPAT_RESIZE_INODE
    last = superblock.blocks_count - superblock.first_data_block - (superblock.groups - 1) * superblock.blocks_per_group
    if last < used_by_group(superblock, superblock.groups - 1) + 50:
        if superblock.groups == 1:
            raise ValueError("the device is too small for a file system")
        superblock.blocks_count -= last
        superblock.measure()
    superblock.inodes_count = superblock.groups * superblock.inodes_per_group
