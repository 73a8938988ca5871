"""The numbers of the on-disk format. Everything on disk is little-endian."""

from __future__ import annotations

import struct

SUPERBLOCK_OFFSET = 1024  # bytes from the start of the device
SUPERBLOCK_SIZE = 1024
MAGIC = 0xEF53
GOOD_OLD_REVISION, DYNAMIC_REVISION = 0, 1
STATE_VALID, STATE_ERROR, STATE_ORPHANS = 1, 2, 4
ERRORS_CONTINUE, ERRORS_READ_ONLY, ERRORS_PANIC = 1, 2, 3
SIGNED_HASH = 1  # of s_flags: names are hashed as signed characters

BLOCK_SIZES = (1024, 2048, 4096)

# Inodes with a fixed number.
BAD_BLOCKS_INODE, ROOT_INODE, RESIZE_INODE = 1, 2, 7
FIRST_INODE = 11  # of revision 0, and the default of revision 1
LINK_MAX = 32000
NAME_MAX = 255

GROUP = struct.Struct("<IIIHHHH12x")

# i_flags.
FLAG_INDEX = 0x1000
FLAGS_OF_USERS = 0x380FF  # that chattr(1) changes
FLAGS_OF_STATX = 0x874  # compressed, immutable, append only, nodump and encrypted have the same bits there
# What a new file takes over from its directory: from "delete securely" to "no tail merging", and dirsync.
FLAGS_INHERITED = 0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x400 | 0x8000 | 0x10000
FLAGS_OF_FILES = FLAGS_INHERITED & ~0x10000  # dirsync is a directory's
FLAGS_OF_OTHERS = 0x40 | 0x80  # nodump, noatime

COMPAT_EXT_ATTR, COMPAT_RESIZE_INODE, COMPAT_DIR_INDEX = 0x8, 0x10, 0x20
INCOMPAT_FILETYPE = 0x2
RO_COMPAT_SPARSE_SUPER, RO_COMPAT_LARGE_FILE = 0x1, 0x2

INCOMPAT_SUPPORTED = INCOMPAT_FILETYPE
RO_COMPAT_SUPPORTED = RO_COMPAT_SPARSE_SUPER | RO_COMPAT_LARGE_FILE

INCOMPAT_NAMES = {
    0x1: "compression", 0x2: "filetype", 0x4: "needs_recovery", 0x8: "journal_dev", 0x10: "meta_bg", 0x40: "extent",
    0x80: "64bit", 0x100: "mmp", 0x200: "flex_bg", 0x400: "ea_inode", 0x1000: "dirdata", 0x2000: "metadata_csum_seed",
    0x4000: "large_dir", 0x8000: "inline_data", 0x10000: "encrypt", 0x20000: "casefold",
}  # fmt: skip
RO_COMPAT_NAMES = {
    0x1: "sparse_super", 0x2: "large_file", 0x4: "btree_dir", 0x8: "huge_file", 0x10: "uninit_bg", 0x20: "dir_nlink",
    0x40: "extra_isize", 0x80: "has_snapshot", 0x100: "quota", 0x200: "bigalloc", 0x400: "metadata_csum",
    0x800: "replica", 0x1000: "read-only", 0x2000: "project", 0x4000: "shared_blocks", 0x8000: "verity",
    0x10000: "orphan_present",
}  # fmt: skip

# Types of directory entries (with the feature filetype), by the format bits of the mode shifted right by 12.
ENTRY_TYPE = {0o10: 1, 0o04: 2, 0o02: 3, 0o06: 4, 0o01: 5, 0o14: 6, 0o12: 7}
ENTRY_FORMAT = {entry: format << 12 for format, entry in ENTRY_TYPE.items()}

POINTERS = 15  # of an inode: 12 direct ones, and one each of one, two and three levels of indirection
DIRECT = 12
FAST_SYMLINK = 59  # bytes of a target that lives in the pointers' place


def feature_names(bits: int, names: dict[int, str]) -> str:
    """The names of the features in ``bits``, separated by commas."""
    known = [names.get(1 << bit, f"0x{1 << bit:x}") for bit in range(32) if bits >> bit & 1]
    return ", ".join(known)


def has_backup(group: int, sparse: bool) -> bool:
    """Whether ``group`` begins with a copy of superblock and group descriptors."""
    if group <= 1 or not sparse:
        return True
    return any(_is_power(group, base) for base in (3, 5, 7))


def _is_power(number: int, base: int) -> bool:
    power = base
    while power < number:
        power *= base
    return power == number
