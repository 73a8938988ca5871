"""Growing a file system that is not mounted."""

from __future__ import annotations

import asyncio

from ...sched.strand import Scheduler
from ..block.device import BLOCK, BlockDevice
from . import layout
from .bitmap import clear_run
from .filesystem import Ext2
from .image import Image, used_by_group
from .superblock import BadSuperblock, Superblock


async def grow(device: BlockDevice, blocks: int | None = None) -> Superblock:
    """Let the file system on ``device`` have ``blocks`` of its blocks, or as many as fit; its superblock then.

    It must have been unmounted cleanly (``BadSuperblock``). ``ValueError`` says why it can't have that size. The
    device is synced, not closed; where its sync is not atomic, a crash meanwhile is one for e2fsck(8).
    """
    old = await _unmounted(device)
    fitting = min(device.blocks * BLOCK // old.block_size, 2**32 - 1)
    wanted = fitting if blocks is None else blocks
    if not old.blocks_count <= wanted <= fitting:
        raise ValueError(f"{wanted} blocks: it has {old.blocks_count}, and {fitting} fit on the device")
    new = _planned(old, wanted)
    if new.blocks_count == old.blocks_count:
        return old
    image = Image(new, device)
    image.descriptors = await _descriptors(device)
    await _extend_last_group(image, old)
    await image.add_groups(old.groups)
    if new.feature_compat & layout.COMPAT_RESIZE_INODE and new.groups > old.groups:
        await _extend_resize_inode(image)
    await image.copies()
    await device.sync()
    return new


async def _unmounted(device: BlockDevice) -> Superblock:
    start = memoryview(await device.read(0, 1))
    superblock = Superblock.parse(start[layout.SUPERBLOCK_OFFSET :], device.blocks * BLOCK)
    if superblock.unsupported_for_writing():
        raise BadSuperblock(f"features {superblock.unsupported_for_writing()} are not supported")
    clean = superblock.state & (layout.STATE_VALID | layout.STATE_ERROR) == layout.STATE_VALID
    if not clean or superblock.last_orphan:
        raise BadSuperblock("the file system is in use or damaged: unmount it, or have e2fsck(8) look at it")
    return superblock


def _planned(old: Superblock, wanted: int) -> Superblock:
    """What the superblock is to be. A last group that would hold nothing but its tables is left out."""
    new = Superblock.parse(old.pack(), wanted * old.block_size)
    new.blocks_count = wanted
    new.measure()
    more = new.descriptor_blocks - old.descriptor_blocks
    if more > old.reserved_gdt_blocks:
        raise ValueError(f"there is no room for the descriptors of {new.groups} groups")
    new.reserved_gdt_blocks -= more
    last = wanted - new.first_data_block - (new.groups - 1) * new.blocks_per_group
    if new.groups > old.groups and last < used_by_group(new, new.groups - 1) + 50:
        return _planned(old, wanted - last)
    new.inodes_count = new.groups * new.inodes_per_group
    new.r_blocks_count = old.r_blocks_count * new.blocks_count // old.blocks_count
    return new


async def _descriptors(device: BlockDevice) -> list[list[int]]:
    """The descriptors of the present groups, as a mount would find them."""
    fs = await Ext2.mount(_Unclosed(device), read_only=True, scheduler=Scheduler(asyncio.get_running_loop()))
    groups = fs.groups
    found = zip(
        groups.block_bitmap, groups.inode_bitmap, groups.inode_table,
        groups.free_blocks, groups.free_inodes, groups.directories, groups.flags, strict=True,
    )  # fmt: skip
    descriptors = [list(descriptor) for descriptor in found]
    await fs.unmount()
    return descriptors


class _Unclosed(BlockDevice):
    """A device to read from that somebody else goes on to use."""

    read_only = True

    def __init__(self, device: BlockDevice) -> None:
        self.blocks = device.blocks
        self._device = device

    async def read(self, block: int, count: int) -> bytes | bytearray | memoryview:
        return await self._device.read(block, count)

    async def write(self, block: int, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError("nothing is written to a file system that is mounted read-only")

    async def discard(self, block: int, count: int) -> None:
        raise AssertionError("nothing is discarded either")

    async def sync(self) -> None:
        pass

    async def close(self) -> None:
        pass


async def _extend_last_group(image: Image, old: Superblock) -> None:
    """The last group may be shorter than it will be."""
    new = image.superblock
    group = old.groups - 1
    before = old.blocks_count - image.start_of(group)
    added = image.size_of(group) - before
    if added:
        descriptor = image.descriptors[group]
        bitmap = bytearray(await image.io.read(descriptor[0], 1))
        clear_run(bitmap, before, added)
        image.blocks[descriptor[0]] = bitmap
        descriptor[3] += added
        assert added <= new.blocks_per_group


async def _extend_resize_inode(image: Image) -> None:
    """Descriptors take of its blocks, and it gets blocks in the new groups that have copies."""
    new = image.superblock
    index, slot = divmod(layout.RESIZE_INODE - 1, new.inodes_per_block)
    table = image.descriptors[0][2] + index
    block = bytearray(await image.io.read(table, 1))
    start = slot * new.inode_size
    double_indirect = int.from_bytes(block[start + 92 : start + 96], "little")
    if not new.first_data_block < double_indirect < new.blocks_count:
        raise BadSuperblock("the resize inode is damaged")
    image.blocks[table] = block
    image.resize_inode(double_indirect)
