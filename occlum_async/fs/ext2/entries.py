"""The entries of a directory: records in blocks, each of which is a chain without gaps.

Invariants: every block that ``entry_block`` returns is a valid chain; an entry never moves while it exists, so its
offset is a cookie that stays good; a hash index (which other drivers make) is given up at the first change, as
the blocks under it are an ordinary directory.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from . import layout
from .buffers import Buffer
from .inode import Ext2Inode
from .namemap import NameMap

if TYPE_CHECKING:
    from .filesystem import Ext2

_ENTRY = struct.Struct("<IHBB")  # inode, length of the record, length of the name, type
HEAD = _ENTRY.size
_UNKNOWN = 0xFFFF  # of ``room``
READ_AHEAD = 32  # blocks
GROWING = 4  # blocks that a directory has that will have more
MAPPED = 8  # blocks from which on a directory has a map of its names
ENTERED = 4  # blocks whose names one search enters into it


class Entry(NamedTuple):
    """One name: where its record is, and the offset of the one before it in the same block (-1: none)."""

    buffer: Buffer
    offset: int
    previous: int
    ino: int
    type: int


class Spot(NamedTuple):
    """The record with the most free room of a block, how much that is, and the most that another one of it has."""

    number: int
    offset: int
    room: int
    others: int


class Entries(Ext2Inode):
    """A directory as the sum of its records. Nothing here checks whether a change makes sense."""

    def __init__(self, fs: Ext2, ino: int, mode: int, uid: int = 0, gid: int = 0) -> None:
        super().__init__(fs, ino, mode, uid, gid)
        self._size = fs.superblock.block_size  # of each block
        self._places = array("I")  # of the blocks, as far as they were looked up
        self._room = array("H")  # the longest record that fits into each block
        self._spot: Spot | None = None  # where the next name goes
        self._absent = b""  # the name that was looked for last and not found
        self._near = 0  # the block where the last one was found: its neighbours are often next
        self._changes = 0
        self._map: NameMap | None = None  # of a large directory

    # -- blocks -------------------------------------------------------------------------------

    @property
    def blocks(self) -> int:
        """How many blocks the directory has."""
        return self.size // self._size

    async def entry_block(self, number: int) -> Buffer:
        """Block ``number``, checked. EIO."""
        places = self._places
        if number >= len(places):
            await self._locate(number)
        buffer = self.fs.buffers.cached(places[number])
        if buffer is None:
            await self._read_ahead(number)
            buffer = await self.fs.buffers.get(places[number])
        if not buffer.checked:
            self._check(buffer)
        return buffer

    async def _locate(self, number: int) -> None:
        fs = self.fs
        while len(self._places) <= number:
            known = len(self._places)
            if known >= self.blocks:
                raise fs.fault(f"directory {self.ino} has no block {number}")
            place, length = await fs.map.find(self, known, self.blocks - known)
            if not place:
                raise fs.fault(f"directory {self.ino} has a hole")
            if known == len(self._places):  # nobody else was faster
                self._places.extend(range(place, place + length))
                self._room.extend([_UNKNOWN] * length)

    async def _read_ahead(self, number: int) -> None:
        """Read the neighbours on the disk as well that are the next blocks of the directory."""
        places = self._places
        count = 1
        while count < READ_AHEAD and number + count < len(places) and places[number + count] == places[number] + count:
            count += 1
        await self.fs.buffers.prefetch(places[number], count)

    def _check(self, buffer: Buffer) -> None:
        """EIO unless the block is a chain of valid records that ends at its end."""
        data, size = buffer.data, self._size
        inodes = self.fs.superblock.inodes_count
        offset = 0
        while offset < size:
            ino, length, name_length, _ = self._unpack(data, offset)
            good = HEAD + 4 <= length <= size - offset and length % 4 == 0 and ino <= inodes
            name = data[offset + HEAD : offset + HEAD + name_length]
            if not good or (ino and (not name_length or HEAD + name_length > length or b"/" in name or b"\0" in name)):
                raise self.fs.fault(f"directory {self.ino}: block {buffer.block} is damaged at {offset}")
            offset += length
        buffer.checked = True

    def _unpack(self, data: bytearray, offset: int) -> tuple[int, int, int, int]:
        ino, length, name_length, kind = _ENTRY.unpack_from(data, offset)
        return ino, length, name_length, kind if self.fs.superblock.filetype else 0

    # -- looking ------------------------------------------------------------------------------

    async def find_entry(self, name: bytes) -> Entry | None:
        """The entry of that name. EIO."""
        if name == self._absent:
            return None
        while True:
            changes = self._changes
            entry = await self._mapped(name) or await self._search(name)
            if entry is not None:
                return entry
            if changes == self._changes:  # else it may have been moved to where had been looked before
                self._absent = name
                return None

    async def _mapped(self, name: bytes) -> Entry | None:
        """The entry of that name if the map knows it. EIO."""
        if self._map is None and self.blocks >= MAPPED:
            self._map = NameMap(self.fs.name_maps, self.blocks)
        number = None if self._map is None else self._map.places.get(name)
        return None if number is None else self._find_in(await self.entry_block(number), name)

    async def _search(self, name: bytes) -> Entry | None:
        """The entry of that name if it is in a block that the map does not know all of. EIO."""
        known, left = self._map, ENTERED
        count = self.blocks
        for step in range(count if known is None or known.unknown else 0):
            number = (self._near + step) % count
            if known is not None and known.known[number]:
                continue
            buffer = await self.entry_block(number)
            entry = self._find_in(buffer, name)
            if entry is not None:
                self._near = number
                return entry
            if known is not None and left and not known.full:
                known.enter(number, [found for _, ino, _, found in self._records(buffer) if ino])
                left -= 1
        return None

    def _find_in(self, buffer: Buffer, name: bytes) -> Entry | None:
        data = buffer.data
        length = len(name)
        position = data.find(name, HEAD)
        while position >= 0:
            if data[position - 2] == length and (entry := self._at(buffer, position - HEAD)) is not None:
                return entry
            position = data.find(name, position + 1)
        return None

    def _at(self, buffer: Buffer, wanted: int) -> Entry | None:
        """The entry that begins at ``wanted``, if one does."""
        if wanted % 4:
            return None
        previous, offset = -1, 0
        data = buffer.data
        while offset < wanted:
            previous = offset
            offset += data[offset + 4] | data[offset + 5] << 8
        if offset != wanted:
            return None
        ino, _, _, kind = self._unpack(data, offset)
        return Entry(buffer, offset, previous, ino, kind) if ino else None

    async def listing(self, start: int) -> list[tuple[bytes, int, int, int]]:
        """Name, inode, type and offset of the next entries at ``start`` or behind; [] at the end. EIO."""
        number = start // self._size
        found: list[tuple[bytes, int, int, int]] = []
        while number < self.blocks and not found:
            buffer = await self.entry_block(number)
            base = number * self._size
            found = [
                (name, ino, kind, base + offset)
                for offset, ino, kind, name in self._records(buffer)
                if ino and base + offset >= start and name not in (b".", b"..")
            ]
            number += 1
        return found

    def _records(self, buffer: Buffer) -> Iterator[tuple[int, int, int, bytes]]:
        data, size = buffer.data, self._size
        offset = 0
        while offset < size:
            ino, length, name_length, kind = self._unpack(data, offset)
            yield offset, ino, kind, bytes(data[offset + HEAD : offset + HEAD + name_length])
            offset += length

    async def is_empty(self) -> bool:
        """Whether there is nothing but "." and "..". EIO."""
        return not await self.listing(0)

    # -- changing ------------------------------------------------------------------------------

    def start_entries(self, buffer: Buffer, parent: int) -> None:
        """Make the first block of a new directory."""
        ino = self.ino
        kind = layout.ENTRY_TYPE[0o04] if self.fs.superblock.filetype else 0
        _ENTRY.pack_into(buffer.data, 0, ino, 12, 1, kind)
        buffer.data[8:9] = b"."
        _ENTRY.pack_into(buffer.data, 12, parent, self._size - 12, 2, kind)
        buffer.data[20:22] = b".."
        buffer.checked = True
        self._places.append(buffer.block)
        self._room.append(_UNKNOWN)

    async def add_entry(self, name: bytes, ino: int, mode: int) -> None:
        """Enter a name that is not there. ENOSPC, EIO."""
        needed = _record_size(len(name))
        spot = self._spot
        if spot is None or spot.room < needed:
            spot = await self._find_spot(needed)
        buffer = await self.entry_block(spot.number)
        self._spot = None
        self._absent = b""
        present, length, name_length, _ = _ENTRY.unpack_from(buffer.data, spot.offset)
        used = _record_size(name_length) if present else 0
        if used:
            struct.pack_into("<H", buffer.data, spot.offset + 4, used)
        self._put(buffer, spot.offset + used, length - used, name, ino, mode)
        left = length - used - needed
        if self._map is not None:
            self._map.added(spot.number, name)
        self._room[spot.number] = max(left, spot.others)
        if left >= spot.others:
            self._spot = Spot(spot.number, spot.offset + used, left, spot.others)
        self._changed(buffer)

    def _put(self, buffer: Buffer, offset: int, length: int, name: bytes, ino: int, mode: int) -> None:
        _ENTRY.pack_into(buffer.data, offset, ino, length, len(name), self._type(mode))
        buffer.data[offset + HEAD : offset + HEAD + len(name)] = name

    def _type(self, mode: int) -> int:
        return layout.ENTRY_TYPE[mode >> 12] if self.fs.superblock.filetype else 0

    async def _find_spot(self, needed: int) -> Spot:
        """Where a record of ``needed`` bytes fits: in the first block that has room, or in a new one. ENOSPC, EIO."""
        for number in range(self.blocks):
            known = number < len(self._room) and self._room[number] != _UNKNOWN
            if known and self._room[number] < needed:
                continue
            spot = self._measure(number, await self.entry_block(number))
            self._room[number] = spot.room
            if spot.room >= needed:
                return spot
        await self._grow()
        return Spot(self.blocks - 1, 0, self._size, 0)

    def _measure(self, number: int, buffer: Buffer) -> Spot:
        data, size = buffer.data, self._size
        place, room, others = 0, 0, 0
        offset = 0
        while offset < size:
            ino, length, name_length, _ = _ENTRY.unpack_from(data, offset)
            free = length - (HEAD + name_length + 3 & ~3) if ino else length
            if free > room:
                place, room, others = offset, free, room
            elif free > others:
                others = free
            offset += length
        return Spot(number, place, room, others)

    async def _grow(self) -> None:
        """One more block, with one empty record. ENOSPC, EIO."""
        fs = self.fs
        number = self.blocks
        if number:
            await self.entry_block(number - 1)  # so that the places of all blocks are known
        words, index, leaf = await fs.map.leaf(self, number)
        place, _ = await fs.blocks.allocate(self.ino if number >= GROWING else 0, self.goal, 1)
        fs.map.link(self, words, index, place, 1, leaf)
        buffer = fs.buffers.fresh(place)
        _ENTRY.pack_into(buffer.data, 0, 0, self._size, 0, 0)
        buffer.checked = True
        self.size += self._size
        self._places.append(place)
        self._room.append(self._size)
        if self._map is not None:
            self._map.grown()

    def remove_entry(self, entry: Entry) -> None:
        """Take a name out: the record before it in the block takes its room."""
        data = entry.buffer.data
        _, length, name_length, _ = _ENTRY.unpack_from(data, entry.offset)
        if self._map is not None:
            self._map.removed(bytes(data[entry.offset + HEAD : entry.offset + HEAD + name_length]))
        if entry.previous < 0:
            struct.pack_into("<I", data, entry.offset, 0)
        else:
            before = struct.unpack_from("<H", data, entry.previous + 4)[0]
            struct.pack_into("<H", data, entry.previous + 4, before + length)
        number = self._places.index(entry.buffer.block)
        self._room[number] = _UNKNOWN
        if self._spot is not None and self._spot.number == number:
            self._spot = None
        self._changed(entry.buffer)

    def replace_entry(self, entry: Entry, ino: int, mode: int) -> None:
        """Let a name lead to another inode."""
        struct.pack_into("<I", entry.buffer.data, entry.offset, ino)
        entry.buffer.data[entry.offset + 7] = self._type(mode)
        self._changed(entry.buffer)

    def _changed(self, buffer: Buffer) -> None:
        self._changes += 1
        self.fs.buffers.mark(buffer)
        self.flags &= ~layout.FLAG_INDEX
        self.touch()


def _record_size(name_length: int) -> int:
    return HEAD + name_length + 3 & ~3
