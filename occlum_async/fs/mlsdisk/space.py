"""Which blocks of the image are free, and which of them to write next.

Invariant: a block that the last durable state needs is never given out. What is freed stays *busy* until the
transaction that freed it is durable, even when it is not *used* any more; a region's page has a bit for each.

The log goes on in segments that are wholly free. When there is none left it is threaded through the free blocks of
segments that are partly used, the emptiest first: that costs nothing but the sequence, where cleaning would have to
write others' blocks again.
"""

from __future__ import annotations

import errno
import re
import struct
from array import array
from typing import Any

from ...abi.errors import SyscallError
from ..block.device import BLOCK
from .cipher import numbers
from .forest import NUMBER_MASK, Forest
from .layout import KIND_SHIFT, PAGES, REGION, SEGMENT, SEGMENTS, SPACE, Geometry, node_key
from .native import segment_counts

# Who writes: new data (hot), nodes (hotter), what cleaning moves (cold). Each fills segments of its own.
HOT, NODES, COLD = 0, 1, 2
STREAMS = 3

_NUMBER = struct.Struct("<Q")
_STAMPS = 8  # offset in a region's page
_HALF = REGION // 8  # bytes of bits; a region's page ends with those of used and of busy blocks
_CLEAN = 255
# What segments to thread through, by their class: at least so many 254ths of them are free.
_STEPS = [re.compile(b"[\\x%02x-\\xfe]" % least) for least in (224, 192, 160, 128, 96, 64, 48, 32, 16, 8, 4, 2, 1)]
UNKNOWN_AT_ONCE = 8  # regions


class Space:
    """The space map of one disk. Everything that changes it runs under the disk's lock."""

    def __init__(self, forest: Forest, geometry: Geometry, free: int, generation: int) -> None:
        self.forest = forest
        self.cache = forest.cache
        self.geometry = geometry
        self.free = free  # blocks that may be taken now
        self.generation = generation  # of the transaction that is being built
        self.durable = generation - 1
        self.held: dict[int, int] = {}  # generation -> blocks that are free when it is durable
        self._touched: dict[int, set[int]] = {}
        # Regions that changed again while a transaction is under way: what they hold for that one; and, when it is
        # durable, what their pages still have to let go.
        self._under_way: dict[int, int] = {}
        self._releases: dict[int, int] = {}
        self._allocate_tables(geometry)
        self._current = [-1] * STREAMS
        self._offset = [0] * STREAMS
        self._hint = 0
        self.cache.watcher = self._node_moved

    def _allocate_tables(self, geometry: Geometry) -> None:
        regions, segments = geometry.regions, geometry.regions * SEGMENTS
        self.slots = array("i", [-1]) * regions
        self._known = bytearray(regions)
        self._stale: set[int] = set()
        # How much of a segment is free: 255 all of it, 0 nothing (or nobody knows).
        self._classes = bytearray(segments)
        self.available = array("H", bytes(2 * segments))
        self.used = array("H", bytes(2 * segments))

    async def grow(self, geometry: Geometry) -> None:
        """The image is longer; all pages are written, and none is cached."""
        before, self.geometry = self.geometry, geometry
        self._allocate_tables(geometry)
        self._current = [-1] * STREAMS
        self._hint = 0
        # What was behind the image's end was marked as used, so that nobody took it.
        end = min(geometry.image, before.first + before.regions * REGION)
        beyond = numbers(range(before.image, end))
        for region in await self._load_regions(beyond):
            self._touch(region)
        self.cache.arena.free(self.slots, geometry.first, beyond, False)
        self._stale.update(range(before.regions))
        self.free += geometry.data - before.data

    # -- pages ---------------------------------------------------------------------------

    @staticmethod
    def region_key(region: int) -> int:
        """The page with a region's bits."""
        return node_key(SPACE, region * PAGES)

    @staticmethod
    def owners_key(segment: int) -> int:
        """The page with the owners of a segment's blocks."""
        region, number = divmod(segment, SEGMENTS)
        return node_key(SPACE, region * PAGES + 1 + number)

    def base_of(self, segment: int) -> int:
        """The place of a segment's first block."""
        return self.geometry.first + segment * SEGMENT

    def _node_moved(self, key: int, slot: int) -> None:
        """The cache took a node in, or let it go."""
        number = key & NUMBER_MASK
        region, page = divmod(number, PAGES)
        if key >> KIND_SHIFT != SPACE or page or region >= self.geometry.regions:
            return
        self.slots[region] = slot
        if slot < 0:
            return
        self._cut(region, slot)
        if self._page_generation(slot) <= self.durable:
            self.cache.arena.settle(slot)
            self._releases.pop(region, None)
        elif region in self._releases:
            self._release(region)
        if not self._known[region] or region in self._stale:
            self._count(region)

    def _cut(self, region: int, slot: int) -> None:
        """Blocks behind the image's end are busy, and those before it that were behind the former end are not."""
        page = self.cache.page(slot)
        beyond = self.geometry.first + (region + 1) * REGION - self.geometry.image
        if beyond > 0:
            keep = REGION - beyond
            for start in (BLOCK - 2 * _HALF, BLOCK - _HALF):
                bits = int.from_bytes(page[start : start + _HALF], "little")
                bits = bits & (1 << keep) - 1 | ((1 << beyond) - 1) << keep
                page[start : start + _HALF] = bits.to_bytes(_HALF, "little")

    def _page_generation(self, slot: int) -> int:
        number: int = _NUMBER.unpack_from(self.cache.view, slot * BLOCK)[0]
        return number

    def _count(self, region: int) -> None:
        """Look how much of a region's segments is free."""
        available, used = segment_counts()
        self.cache.arena.region_counts(self.slots[region], available, used)
        start = region * SEGMENTS
        self.available[start : start + SEGMENTS] = available
        self.used[start : start + SEGMENTS] = used
        for index, count in enumerate(available):
            segment = start + index
            self._classes[segment] = 0 if segment in self._current else _class_of(count)
        self._known[region] = 1
        self._stale.discard(region)

    def _touch(self, region: int) -> None:
        """A region's page is about to change."""
        slot = self.slots[region]
        before = self._page_generation(slot)
        if before != self.generation:
            if before <= self.durable:
                self.cache.arena.settle(slot)
                self._stale.add(region)
            else:
                self._under_way[region] = self._held_bits(slot)
            _NUMBER.pack_into(self.cache.view, slot * BLOCK, self.generation)
        self._touched.setdefault(self.generation, set()).add(region)
        self.cache.mark_dirty(slot)

    def _held_bits(self, slot: int) -> int:
        """The blocks of a region that are busy and not used."""
        page = self.cache.page(slot)
        busy = int.from_bytes(page[-_HALF:], "little")
        return busy & ~int.from_bytes(page[-2 * _HALF : -_HALF], "little")

    def _release(self, region: int) -> None:
        """Let blocks of a region be taken that were held for a transaction which is durable; its page is cached."""
        slot = self.slots[region]
        page = self.cache.page(slot)
        busy = int.from_bytes(page[-_HALF:], "little") & ~self._releases.pop(region)
        page[-_HALF:] = busy.to_bytes(_HALF, "little")
        self.cache.mark_dirty(slot)
        self._stale.add(region)

    # -- taking ---------------------------------------------------------------------------

    async def take(self, count: int, owners: Any, stream: int) -> array[int]:
        """``count`` places, for blocks with these owners. ENOSPC when there are not as many."""
        if count > self.free:
            raise SyscallError(errno.ENOSPC)
        places = numbers()
        while len(places) < count:
            segment = self._current[stream]
            if segment < 0:
                await self._choose(stream)
                continue
            region = segment // SEGMENTS
            await self.forest.ensure((self.region_key(region), self.owners_key(segment)))
            got = self._take_from(segment, stream, count - len(places))
            slot = self.cache.slot_of[self.owners_key(segment)]
            given = owners[len(places) : len(places) + len(got)]
            self.cache.arena.set_owners(slot, self.base_of(segment), got, given)
            self.cache.mark_dirty(slot)
            places.extend(got)
        return places

    def _take_from(self, segment: int, stream: int, want: int) -> array[int]:
        """Up to ``want`` blocks of a segment whose pages are cached."""
        region, number = divmod(segment, SEGMENTS)
        self._touch(region)
        slot = self.slots[region]
        start = number * SEGMENT
        base = self.geometry.first + region * REGION
        got = self.cache.arena.take(slot, start + self._offset[stream], start + SEGMENT, want, base)
        self.free -= len(got)
        # What was given back lately is counted when a segment is chosen the next time.
        self.available[segment] = max(0, self.available[segment] - len(got))
        self.used[segment] = min(SEGMENT, self.used[segment] + len(got))
        if not got:
            self._stale.add(region)  # what was counted is not there: count again
        else:
            self._offset[stream] = got[-1] - base - start + 1
        if len(got) < want:
            self._leave(stream)
        _NUMBER.pack_into(self.cache.view, slot * BLOCK + _STAMPS + 8 * number, self.generation)
        return got

    def _leave(self, stream: int) -> None:
        segment, self._current[stream] = self._current[stream], -1
        self._classes[segment] = 0 if segment in self._current else _class_of(self.available[segment])

    async def _choose(self, stream: int) -> None:
        """Let a stream go on in another segment."""
        await self.refresh()
        segment = self._classes.find(_CLEAN, self._hint)
        if segment < 0:
            segment = self._classes.find(_CLEAN)
        while segment < 0 and await self._discover():
            segment = self._classes.find(_CLEAN)
        if segment < 0:
            segment = self._emptiest()
        if segment < 0:
            segment = next((one for one in self._current if one >= 0 and self.available[one]), -1)
        if segment < 0:
            raise SyscallError(errno.ENOSPC)
        self._hint = segment
        self._current[stream], self._offset[stream] = segment, 0
        self._classes[segment] = 0

    def _emptiest(self) -> int:
        for step in _STEPS:
            found = step.search(self._classes, self._hint) or step.search(self._classes)
            if found:
                return found.start()
        return -1

    async def _discover(self) -> bool:
        """Load the pages of a few regions that nobody has looked at yet; False when there are none."""
        region = self._known.find(0)
        if region < 0:
            return False
        regions: list[int] = []
        while region >= 0 and len(regions) < UNKNOWN_AT_ONCE:
            regions.append(region)
            region = self._known.find(0, region + 1)
        await self.forest.ensure([self.region_key(region) for region in regions])
        for region in regions:
            if not self._known[region] and self.slots[region] >= 0:
                self._count(region)
        return True

    async def refresh(self) -> None:
        """Look again at what has changed since it was counted."""
        for region in list(self._stale):
            if self.slots[region] >= 0:
                if self._page_generation(self.slots[region]) <= self.durable:
                    self.cache.arena.settle(self.slots[region])
                self._count(region)
            else:
                self._known[region] = 0
                start = region * SEGMENTS
                self._classes[start : start + SEGMENTS] = bytes(SEGMENTS)
                self._stale.discard(region)

    # -- giving back ------------------------------------------------------------------------

    async def _load_regions(self, places: Any) -> set[int]:
        """Have the pages of all these places in memory; their regions. EIO for a place that the image does not have."""
        geometry = self.geometry
        first = geometry.first
        regions = {(place - first) // REGION for place in places}
        if min(regions, default=0) < 0 or max(regions, default=0) >= geometry.regions:
            raise SyscallError(errno.EIO)
        while missing := self.cache.arena.missing(self.slots, first, places):
            await self.forest.ensure([self.region_key(region) for region in missing])
        return regions

    async def give_back(self, places: Any, hold: bool) -> None:
        """Blocks are not used any more. They can be taken again when this transaction is durable, or (``hold`` is
        false: no durable state knows them) at once."""
        if not len(places):
            return
        regions = await self._load_regions(places)
        for region in regions:
            self._touch(region)
        freed = self.cache.arena.free(self.slots, self.geometry.first, places, hold)
        if hold:
            self.held[self.generation] = self.held.get(self.generation, 0) + freed
        else:
            self.free += freed
        self._stale |= regions

    async def mark(self, places: Any) -> None:
        """Blocks are used, as the journal says."""
        if not len(places):
            return
        regions = await self._load_regions(places)
        for region in regions:
            self._touch(region)
        self.free -= self.cache.arena.mark(self.slots, self.geometry.first, places)
        self._stale |= regions

    # -- transactions ----------------------------------------------------------------------

    def begin(self) -> int:
        """End the transaction that was being built, and begin the next; the number of the ended one."""
        ended = self.generation
        self.generation += 1
        return ended

    def committed(self, generation: int) -> None:
        """A transaction is durable: what it and those before it freed may be taken. No other is under way."""
        self.durable = generation
        for older in [number for number in self.held if number <= generation]:
            self.free += self.held.pop(older)
        for older in [number for number in self._touched if number <= generation]:
            self._stale |= self._touched.pop(older)
        for region, bits in self._under_way.items():
            self._releases[region] = self._releases.get(region, 0) | bits
            if self.slots[region] >= 0:
                self._release(region)
        self._under_way.clear()

    @property
    def occupied(self) -> int:
        """Blocks that are used by the state that is being built."""
        return self.geometry.data - self.free - sum(self.held.values())

    @property
    def clean_segments(self) -> int:
        """Segments that are known to be wholly free."""
        return self._classes.count(_CLEAN)

    def candidates(self) -> list[int]:
        """Whole segments with something in them that can be cleaned: known, and nobody writes there."""
        busy = set(self._current)
        return [
            segment
            for segment, used in enumerate(self.used[: self.geometry.data // SEGMENT])
            if used and segment not in busy and self._known[segment // SEGMENTS]
        ]

    def age_of(self, segment: int) -> int:
        """How many transactions ago a segment was written to; its region's page is cached."""
        region, number = divmod(segment, SEGMENTS)
        offset = self.slots[region] * BLOCK + _STAMPS + 8 * number
        stamp: int = _NUMBER.unpack_from(self.cache.view, offset)[0]
        return max(0, self.generation - stamp)


def _class_of(available: int) -> int:
    if available == SEGMENT:
        return _CLEAN
    return max(1, available * 254 // SEGMENT) if available else 0
