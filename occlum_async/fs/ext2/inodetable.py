"""The inode table: where an inode is on the disk, its form there, and which numbers are free.

Invariant: an inode that is in memory and changed is in ``dirty`` until its record in the table's buffer says
the same; an inode that nobody refers to is read again from there.
"""

from __future__ import annotations

import errno
import random
import struct
import time
from array import array
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.stat import S_IFBLK, S_IFCHR, S_IFMT, S_IFREG, makedev, split_device
from . import layout
from .bitmap import clear_run, find_run, free_bits, set_run
from .buffers import Buffer

if TYPE_CHECKING:
    from .filesystem import Ext2
    from .inode import Ext2Inode

_RECORD = struct.Struct("<HHIiiiIHHIII60sIIIIHHHH4x")
_TIMES = struct.Struct("<HHIIIiI")  # extra size, checksum, ctime, mtime, atime, crtime, crtime
_SECOND = 1_000_000_000
EXTRA = 32  # bytes of a record that follow the first 128 in new inodes
# Offsets in a record.
DTIME, BODY = 20, 128

READ_AHEAD = 8  # blocks
_DIRTY_LIMIT = 1024  # changed inodes that are not in their buffers


class InodeTable:
    """Reads, writes, allocates and frees the inodes of one file system."""

    def __init__(self, fs: Ext2) -> None:
        self.fs = fs
        self.free = sum(fs.groups.free_inodes)
        self.dirty: dict[int, Ext2Inode] = {}
        self.late: dict[int, Ext2Inode] = {}  # those of which nothing but times were changed
        self._random = random.Random()

    # -- places ------------------------------------------------------------------------

    def place(self, ino: int) -> tuple[int, int]:
        """Where the record of ``ino`` is: block, and offset in it. EIO for a number that does not exist."""
        superblock = self.fs.superblock
        if not 1 <= ino <= superblock.inodes_count:
            raise self.fs.fault(f"inode {ino} does not exist")
        group, index = divmod(ino - 1, superblock.inodes_per_group)
        block, slot = divmod(index, superblock.inodes_per_block)
        return self.fs.groups.inode_table[group] + block, slot * superblock.inode_size

    async def record(self, ino: int) -> tuple[Buffer, int]:
        """The buffer that holds the record of ``ino``, and its offset. EIO."""
        block, offset = self.place(ino)
        buffer = self.fs.buffers.cached(block)
        if buffer is None:
            await self._read_ahead(ino, block)
            buffer = await self.fs.buffers.get(block)
        return buffer, offset

    async def _read_ahead(self, ino: int, block: int) -> None:
        """Read the neighbours in the table too: files of one directory lie next to each other."""
        superblock = self.fs.superblock
        table = self.fs.groups.inode_table[(ino - 1) // superblock.inodes_per_group]
        first = (block - table) // READ_AHEAD * READ_AHEAD
        await self.fs.buffers.prefetch(table + first, min(READ_AHEAD, superblock.table_blocks - first))

    # -- records -----------------------------------------------------------------------

    async def read(self, inode: Ext2Inode) -> None:
        """Fill ``inode`` from its record. EIO."""
        buffer, offset = await self.record(inode.ino)
        (
            inode.mode, uid, size, atime, ctime, mtime, inode.dtime, gid, inode.nlink, inode.sectors, inode.flags,
            _, pointers, inode.generation, inode.file_acl, size_high, _, _, _, uid_high, gid_high,
        ) = _RECORD.unpack_from(buffer.data, offset)  # fmt: skip
        inode.uid, inode.gid = uid | uid_high << 16, gid | gid_high << 16
        inode.pointers = array("I", pointers)
        inode.size = size | size_high << 32 if inode.mode & S_IFMT == S_IFREG else size
        inode.atime, inode.ctime, inode.mtime = atime * _SECOND, ctime * _SECOND, mtime * _SECOND
        inode.btime = min(inode.mtime, inode.ctime)
        inode.extra = 0
        if self.fs.superblock.inode_size > BODY:
            self._read_extra(inode, buffer, offset)
        if inode.mode & S_IFMT in (S_IFCHR, S_IFBLK):
            inode.rdev = _device(inode.pointers)

    def _read_extra(self, inode: Ext2Inode, buffer: Buffer, offset: int) -> None:
        extra, _, ctime, mtime, atime, crtime, crtime_extra = _TIMES.unpack_from(buffer.data, offset + BODY)
        if extra > self.fs.superblock.inode_size - BODY or extra % 4:
            raise self.fs.fault(f"inode {inode.ino}: its record is damaged")
        inode.extra = extra
        if extra >= 16:
            inode.ctime, inode.mtime = _precise(inode.ctime, ctime), _precise(inode.mtime, mtime)
            inode.atime = _precise(inode.atime, atime)
        if extra >= 24:
            inode.btime = _precise(crtime * _SECOND, crtime_extra)

    async def write(self, inode: Ext2Inode) -> None:
        """Bring the record of ``inode`` up to date. EIO."""
        buffer, offset = await self.record(inode.ino)
        self.dirty.pop(inode.ino, None)  # a change from here on enters it again
        self.late.pop(inode.ino, None)
        data = buffer.data
        # What is not ours to set stays as it is.
        *_, version, _, _, _, high, fragment, sectors_high, acl_high, _, _ = _RECORD.unpack_from(data, offset)
        if inode.mode & S_IFMT == S_IFREG:
            high = inode.size >> 32
            if inode.size >> 31:
                self.fs.need_large_files()
        _RECORD.pack_into(
            data, offset, inode.mode, inode.uid & 0xFFFF, inode.size & 0xFFFFFFFF, _seconds(inode.atime),
            _seconds(inode.ctime), _seconds(inode.mtime), inode.dtime, inode.gid & 0xFFFF, inode.nlink, inode.sectors,
            inode.flags, version, inode.pointers.tobytes(), inode.generation, inode.file_acl, high, fragment,
            sectors_high, acl_high, inode.uid >> 16, inode.gid >> 16,
        )  # fmt: skip
        if inode.extra >= 16:
            times = (_extra(inode.ctime), _extra(inode.mtime), _extra(inode.atime))
            struct.pack_into("<III", data, offset + BODY + 4, *times)
        self.fs.buffers.mark(buffer)

    async def initialize(self, inode: Ext2Inode) -> None:
        """Write the record of a new inode over whatever an earlier one left there. EIO."""
        buffer, offset = await self.record(inode.ino)
        size = self.fs.superblock.inode_size
        buffer.data[offset : offset + size] = bytes(size)
        if size > BODY:
            inode.extra = min(EXTRA, size - BODY)
            if inode.extra >= 24:
                crtime = (_seconds(inode.btime), _extra(inode.btime))
                _TIMES.pack_into(buffer.data, offset + BODY, inode.extra, 0, 0, 0, 0, *crtime)
        await self.write(inode)

    async def set_dtime(self, ino: int, value: int) -> None:
        """Set the field that links the orphans, of an inode that may or may not be in memory. EIO."""
        inode = self.fs.known(ino)
        if inode is not None:
            inode.dtime = value
            self.mark(inode)
        else:
            buffer, offset = await self.record(ino)
            struct.pack_into("<I", buffer.data, offset + DTIME, value)
            self.fs.buffers.mark(buffer)

    def mark(self, inode: Ext2Inode) -> None:
        """``inode`` was changed."""
        self.dirty[inode.ino] = inode
        self.late.pop(inode.ino, None)
        self.fs.changed()

    def mark_times(self, inode: Ext2Inode) -> None:
        """Times of ``inode`` were changed, which fdatasync(2) need not make durable."""
        if inode.ino not in self.dirty:
            self.late[inode.ino] = inode
        self.fs.changed()

    @property
    def crowded(self) -> bool:
        """So many inodes are changed that they should be stored before more are."""
        return len(self.dirty) + len(self.late) >= _DIRTY_LIMIT

    async def store(self, times: bool = True) -> None:
        """Bring the records of all changed inodes up to date, if ``times`` also of those with nothing but new times.

        EIO; what fails stays changed.
        """
        for changed in (self.dirty, self.late) if times else (self.dirty,):
            for inode in tuple(changed.values()):
                if inode.ino in changed:
                    await self.write(inode)

    # -- numbers -----------------------------------------------------------------------

    async def allocate(self, parent: Ext2Inode, directory: bool) -> int:
        """A free number: a file's near its directory, a directory's where there is room. ENOSPC, EIO."""
        superblock, groups = self.fs.superblock, self.fs.groups
        home = (parent.ino - 1) // superblock.inodes_per_group
        if directory:
            home = self._roomy_group(home, parent.ino == layout.ROOT_INODE)
        for step in range(superblock.groups):
            group = (home + step) % superblock.groups
            if not groups.free_inodes[group]:
                continue
            buffer = await groups.bitmap(group, True)
            if buffer is None:
                continue
            first = superblock.first_ino - 1 if group == 0 else 0
            index = find_run(free_bits(buffer.data, superblock.inodes_per_group), first, 1)
            if index < 0:
                continue
            set_run(buffer.data, index, 1)
            self.fs.buffers.mark(buffer)
            self._count(group, -1, directory)
            return group * superblock.inodes_per_group + index + 1
        raise SyscallError(errno.ENOSPC)

    def _roomy_group(self, home: int, top: bool) -> int:
        """The group for a new directory: below the root spread out, elsewhere near the parent while there is room."""
        groups = self.fs.groups
        count = self.fs.superblock.groups
        inodes, blocks = self.free // count, self.fs.blocks.free // count

        def roomy(group: int) -> bool:
            return groups.free_inodes[group] >= max(1, inodes) and groups.free_blocks[group] >= blocks

        if not top and roomy(home):
            return home
        start = self._random.randrange(count) if top else home
        candidates = [group for step in range(count) if roomy(group := (start + step) % count)]
        return min(candidates, key=groups.directories.__getitem__, default=home) if top else (candidates or [home])[0]

    def generation(self) -> int:
        """A number that tells an inode from earlier ones of the same number."""
        return self._random.getrandbits(32)

    async def give_back(self, inode: Ext2Inode) -> None:
        """Free the number of an inode that holds nothing any more; its record says when. EIO."""
        inode.nlink, inode.size, inode.dtime = 0, 0, int(time.time())
        await self.write(inode)
        self.fs.forget(inode)
        await self.free_number(inode.ino, inode.is_dir)

    async def free_number(self, ino: int, directory: bool) -> None:
        """Free a number. Damage is reported, and leaves it in use. EIO."""
        group, index = divmod(ino - 1, self.fs.superblock.inodes_per_group)
        buffer = await self.fs.groups.bitmap(group, True)
        if buffer is None or not clear_run(buffer.data, index, 1):
            self.fs.fault(f"inode {ino} can't be freed: its bitmap is damaged")
            return
        self.fs.buffers.mark(buffer)
        self._count(group, 1, directory)

    def _count(self, group: int, change: int, directory: bool) -> None:
        groups = self.fs.groups
        groups.free_inodes[group] += change
        self.free += change
        if directory:
            groups.directories[group] = max(0, groups.directories[group] - change)
        groups.changed(group)


def device_pointers(device: int) -> array[int]:
    """What a device's inode has in the place of pointers: the old form of its number if it fits, or the new one."""
    major, minor = split_device(device)
    pointers = array("I", bytes(4 * layout.POINTERS))
    if major < 256 and minor < 256:
        pointers[0] = major << 8 | minor
    else:
        pointers[1] = minor & 0xFF | (major & 0xFFF) << 8 | (minor & 0xFFF00) << 12
    return pointers


def _device(pointers: array[int]) -> int:
    if pointers[0]:
        return makedev(pointers[0] >> 8 & 0xFF, pointers[0] & 0xFF)
    return makedev(pointers[1] >> 8 & 0xFFF, pointers[1] & 0xFF | pointers[1] >> 12 & 0xFFF00)


def _seconds(time_ns: int) -> int:
    """The low 32 bits of the seconds, as a signed number."""
    return (time_ns // _SECOND + 0x80000000) % (1 << 32) - 0x80000000


def _extra(time_ns: int) -> int:
    """Nanoseconds, and in the lower two bits how often the 32 bits of seconds have overflowed."""
    seconds, nanoseconds = divmod(time_ns, _SECOND)
    return nanoseconds << 2 | (seconds - _seconds(time_ns)) >> 32 & 3


def _precise(whole: int, extra: int) -> int:
    return whole + (((extra & 3) << 32) * _SECOND) + min(extra >> 2, _SECOND - 1)
