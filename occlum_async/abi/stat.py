"""File attributes, as stat(2) and statx(2) report them."""

from __future__ import annotations

import struct

import msgspec

S_IFMT, S_IFSOCK, S_IFLNK, S_IFREG, S_IFBLK, S_IFDIR, S_IFCHR, S_IFIFO = (
    0o170000, 0o140000, 0o120000, 0o100000, 0o060000, 0o040000, 0o020000, 0o010000,
)  # fmt: skip

STAT = struct.Struct("<QQQIIIxxxxQqqq6q24x")
STATX_TIMESTAMP = struct.Struct("<qIi")

STATX_BASIC_STATS = 0x7FF
STATX_BTIME = 0x800
STATX_MNT_ID = 0x1000


def makedev(major: int, minor: int) -> int:
    """The kernel's 64-bit encoding of a device number (gnu_dev_makedev(3))."""
    return ((major & 0xFFFFF000) << 32) | ((major & 0xFFF) << 8) | ((minor & 0xFFFFFF00) << 12) | (minor & 0xFF)


def split_device(device: int) -> tuple[int, int]:
    """Major and minor number of ``device``."""
    return ((device >> 32) & 0xFFFFF000) | ((device >> 8) & 0xFFF), ((device >> 12) & 0xFFFFFF00) | (device & 0xFF)


class Stat(msgspec.Struct):
    """Attributes of an inode. Times are nanoseconds since the epoch, ``blocks`` are of 512 bytes.

    ``attributes`` are STATX_ATTR_*, of which a file system knows those in ``attributes_mask``.
    """

    mode: int
    ino: int = 0
    dev: int = 0
    nlink: int = 1
    uid: int = 0
    gid: int = 0
    rdev: int = 0
    size: int = 0
    blksize: int = 4096
    blocks: int = 0
    atime: int = 0
    mtime: int = 0
    ctime: int = 0
    btime: int = 0
    mount_id: int = 0
    attributes: int = 0
    attributes_mask: int = 0

    def pack(self) -> bytes:
        """``struct stat`` of x86-64."""
        second = 1_000_000_000
        atime, mtime, ctime = self.atime, self.mtime, self.ctime
        return STAT.pack(
            self.dev, self.ino, self.nlink, self.mode, self.uid, self.gid, self.rdev,
            self.size, self.blksize, self.blocks, atime // second, atime % second,
            mtime // second, mtime % second, ctime // second, ctime % second,
        )  # fmt: skip

    def pack_statx(self) -> bytes:
        """``struct statx``: everything that there is, whatever the mask asked for."""
        mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID
        head = struct.pack(
            "<IIQIIIHxxQQQQ", mask, self.blksize, self.attributes, self.nlink, self.uid, self.gid, self.mode,
            self.ino, self.size, self.blocks, self.attributes_mask,
        )  # fmt: skip
        times = b"".join(
            STATX_TIMESTAMP.pack(*divmod(time, 10**9), 0) for time in (self.atime, self.btime, self.ctime, self.mtime)
        )
        devices = struct.pack("<IIII", *split_device(self.rdev), *split_device(self.dev))
        return (head + times + devices + struct.pack("<Q", self.mount_id)).ljust(256, b"\0")
