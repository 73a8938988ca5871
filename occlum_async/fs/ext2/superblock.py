"""The superblock: what the file system is, and how much of it is free.

Invariant: a ``Superblock`` that ``parse`` returned describes a geometry that fits its device; no later code
checks a count of it again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields

from . import layout
from .layout import SUPERBLOCK_SIZE

_STRUCT = struct.Struct("<11I2I6H4I2HI2H3I16s16s64sI2BH16s3I16s2BH3I")


class BadSuperblock(Exception):
    """What is on the device is no file system that can be used; the message says why."""


@dataclass
class Superblock:
    """The fields in the order in which they are on disk; names are the format's own without their ``s_``."""

    inodes_count: int = 0
    blocks_count: int = 0
    r_blocks_count: int = 0
    free_blocks_count: int = 0
    free_inodes_count: int = 0
    first_data_block: int = 0
    log_block_size: int = 0
    log_frag_size: int = 0
    blocks_per_group: int = 0
    frags_per_group: int = 0
    inodes_per_group: int = 0
    mtime: int = 0
    wtime: int = 0
    mnt_count: int = 0
    max_mnt_count: int = 0xFFFF
    magic: int = layout.MAGIC
    state: int = layout.STATE_VALID
    errors: int = layout.ERRORS_CONTINUE
    minor_rev_level: int = 0
    lastcheck: int = 0
    checkinterval: int = 0
    creator_os: int = 0
    rev_level: int = layout.DYNAMIC_REVISION
    def_resuid: int = 0
    def_resgid: int = 0
    first_ino: int = layout.FIRST_INODE
    inode_size: int = 256
    block_group_nr: int = 0
    feature_compat: int = 0
    feature_incompat: int = 0
    feature_ro_compat: int = 0
    uuid: bytes = bytes(16)
    volume_name: bytes = bytes(16)
    last_mounted: bytes = bytes(64)
    algorithm_usage_bitmap: int = 0
    prealloc_blocks: int = 0
    prealloc_dir_blocks: int = 0
    reserved_gdt_blocks: int = 0
    journal_uuid: bytes = bytes(16)
    journal_inum: int = 0
    journal_dev: int = 0
    last_orphan: int = 0
    hash_seed: bytes = bytes(16)
    def_hash_version: int = 0
    jnl_backup_type: int = 0
    desc_size: int = 0
    default_mount_opts: int = 0
    first_meta_bg: int = 0
    mkfs_time: int = 0

    def __post_init__(self) -> None:
        # What lies behind the fields above (ext4's) stays as it is.
        self.rest = bytes(SUPERBLOCK_SIZE - _STRUCT.size)
        self.measure()

    def measure(self) -> None:
        """Derive what is not on disk."""
        self.block_size = 1024 << min(self.log_block_size, 6)
        data_blocks = max(0, self.blocks_count - self.first_data_block)
        self.groups = -(-data_blocks // max(1, self.blocks_per_group))
        self.descriptors_per_block = self.block_size // layout.GROUP.size
        self.descriptor_blocks = -(-self.groups // self.descriptors_per_block)
        if self.rev_level == layout.GOOD_OLD_REVISION:
            self.inode_size, self.first_ino = 128, layout.FIRST_INODE
        self.inodes_per_block = self.block_size // max(128, self.inode_size)
        self.table_blocks = -(-self.inodes_per_group // max(1, self.inodes_per_block))  # of one group

    @property
    def sparse(self) -> bool:
        """Only some groups have copies of the superblock."""
        return bool(self.feature_ro_compat & layout.RO_COMPAT_SPARSE_SUPER)

    @property
    def label(self) -> str:
        """The name of the file system; it may have none."""
        return self.volume_name.rstrip(b"\0").decode(errors="replace")

    @property
    def filetype(self) -> bool:
        """Directory entries say what they name."""
        return bool(self.feature_incompat & layout.INCOMPAT_FILETYPE)

    def pack(self) -> bytes:
        """The 1024 bytes on disk."""
        values = [getattr(self, field.name) for field in _FIELDS]
        return _STRUCT.pack(*values) + self.rest

    @classmethod
    def parse(cls, data: bytes | memoryview, device_bytes: int) -> Superblock:
        """Read and check the 1024 bytes of a device of ``device_bytes``. ``BadSuperblock``."""
        superblock = cls(*_STRUCT.unpack_from(data))
        superblock.rest = bytes(data[_STRUCT.size : SUPERBLOCK_SIZE])
        if superblock.magic != layout.MAGIC:
            raise BadSuperblock("there is no ext2 file system on this device (no magic number)")
        superblock._check_features()
        superblock._check_geometry(device_bytes)
        return superblock

    def _check_features(self) -> None:
        if self.rev_level > layout.DYNAMIC_REVISION:
            raise BadSuperblock(f"revision {self.rev_level} is not known")
        if self.rev_level == layout.GOOD_OLD_REVISION:
            self.feature_compat = self.feature_incompat = self.feature_ro_compat = 0
        unknown = self.feature_incompat & ~layout.INCOMPAT_SUPPORTED
        if unknown:
            names = layout.feature_names(unknown, layout.INCOMPAT_NAMES)
            raise BadSuperblock(f"the file system has features that ext2 does not have: {names}")

    def unsupported_for_writing(self) -> str:
        """The names of the features that forbid to write; "" if none does."""
        unknown = self.feature_ro_compat & ~layout.RO_COMPAT_SUPPORTED
        return layout.feature_names(unknown, layout.RO_COMPAT_NAMES)

    def _check_geometry(self, device_bytes: int) -> None:
        """Every count that later code divides or multiplies by is one that mke2fs could have written."""
        if self.log_block_size > 2:
            raise BadSuperblock(f"blocks of {1024 << min(self.log_block_size, 32)} bytes are not supported")
        self.measure()
        bits = self.block_size * 8
        size = self.inode_size
        checks = (
            (self.first_data_block == (1 if self.block_size == 1024 else 0), "first data block"),
            (128 <= size <= self.block_size and size & (size - 1) == 0, "inode size"),
            (8 <= self.blocks_per_group <= bits and self.blocks_per_group % 8 == 0, "blocks per group"),
            (8 <= self.inodes_per_group <= bits and self.inodes_per_group % 8 == 0, "inodes per group"),
            (self.blocks_count > self.first_data_block, "block count"),
            (self.r_blocks_count <= self.blocks_count, "reserved block count"),
            (self.free_blocks_count <= self.blocks_count, "free block count"),
            (self.inodes_count == self.groups * self.inodes_per_group, "inode count"),
            (self.free_inodes_count <= self.inodes_count, "free inode count"),
            (layout.FIRST_INODE <= self.first_ino <= self.inodes_per_group, "first inode"),
            (self.table_blocks + 3 < self.blocks_per_group, "inode table"),
            (self.descriptor_blocks + self.reserved_gdt_blocks < self.blocks_per_group, "group descriptors"),
        )
        for good, what in checks:
            if not good:
                raise BadSuperblock(f"the superblock is damaged: {what}")
        if self.blocks_count * self.block_size > device_bytes:
            raise BadSuperblock(
                f"the file system has {self.blocks_count * self.block_size} bytes and its device {device_bytes}"
            )


_FIELDS = fields(Superblock)
