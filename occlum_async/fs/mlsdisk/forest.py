"""Two trees of sealed nodes, copied on write: the index (addresses to places) and the space map.

Invariant: a node's entry, with its tag, is in its parent, and the roots' entries are in the superblock. So a root
vouches for every block below it, and a node that was written is never overwritten: it gets another place.

A tree is a radix tree over numbers: a node of kind k and number n is the entry n % 128 of the node of kind k + 1 and
number n // 128. A hole among the entries stands for a subtree of zeros.
"""

from __future__ import annotations

import errno
import logging
from array import array
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ...abi.errors import SyscallError
from ..block.device import BLOCK
from .blockio import SealedBlocks
from .cache import NodeCache, parent_of
from .cipher import numbers
from .layout import ENTRY, ENTRY_SIZE, FANOUT, HOLE, INDEX, KIND_SHIFT, OWNER_KIND_SHIFT, OWNER_NODE, SPACE, node_key

log = logging.getLogger(__name__)

NUMBER_MASK = (1 << KIND_SHIFT) - 1
# Nodes that are read or written in one go.
BATCH = 256
# Nodes that are read where one of them is asked for.
NEIGHBOURS = 16
# Who asks for no more nodes than that at once reads: a piece of a file in order, if there are two of them.
FEW = 4
# Blocks of a disk whose nodes (of 128 blocks each) the host can be expected to keep: 128 GiB have 1 GiB of them.
NEAR = 1 << 25


class Forest:
    """The two trees. ``roots`` has the entry of each one's root, by the root's kind."""

    def __init__(self, io: SealedBlocks, slots: int, index_top: int, space_top: int) -> None:
        self.io = io
        self.index_top, self.space_top = index_top, space_top
        self.roots: dict[int, bytes] = {index_top: HOLE, space_top: HOLE}
        self.cache = NodeCache(slots, self.is_root)
        # What was sealed from here on is in no state that is on the disk.
        self.since: tuple[int, int] = io.keys.now

    def is_root(self, key: int) -> bool:
        """Whether a node is the root of its tree."""
        return key >> KIND_SHIFT in self.roots

    async def reshape(self, index_top: int, space_top: int) -> array[int]:
        """Make the trees as high as these kinds say. Nothing may be changed and unwritten.

        A higher tree has roots above its root; a lower one begins at the first child of its root, which is the only
        one. Returns the places of roots that are not needed any more.
        """
        gone = numbers()
        for before, after in ((self.index_top, index_top), (self.space_top, space_top)):
            for kind in range(before, after, -1):
                await self.ensure((node_key(kind, 0),))
                gone.extend(place for place in (self.place_of(node_key(kind, 0)),) if place)
                below = self.cache.entry(self.cache.slot_of[node_key(kind, 0)], 0)
                self.cache.clear()
                del self.roots[kind]
                self.roots[kind - 1] = below
        self.cache.clear()
        for before, after in ((self.index_top, index_top), (self.space_top, space_top)):
            if after > before:
                entry = self.roots.pop(before)
                self.roots[after] = HOLE
                for kind in range(after, before, -1):
                    page = bytearray(BLOCK)
                    if kind == before + 1:
                        page[:ENTRY_SIZE] = entry
                    self.cache.mark_dirty(self.cache.insert(node_key(kind, 0), page))
        self.index_top, self.space_top = index_top, space_top
        return gone

    # -- loading ------------------------------------------------------------------------

    async def ensure(self, keys: Iterable[int]) -> None:
        """Have these nodes in memory when this returns, and until whoever called waits again.

        EIO for a node that does not verify. ``keys`` are at most an eighth of the cache.
        """
        slot_of = self.cache.slot_of
        while missing := {key for key in keys if key not in slot_of}:
            self.io.statistics.cache_misses += len(missing)
            parents = {parent_of(key) for key in missing if not self.is_root(key)}
            if any(key not in slot_of for key in parents):
                await self.ensure(parents)
            elif len(missing) <= FEW:
                await self._load_near(min(missing), in_order=len(missing) > 1)
            else:
                await self._load(sorted(missing))

    def _entry(self, key: int) -> bytes:
        """The entry of a node whose parent is cached."""
        if self.is_root(key):
            return self.roots[key >> KIND_SHIFT]
        return self.cache.entry(self.cache.slot_of[parent_of(key)], key)

    async def _load_near(self, key: int, in_order: bool) -> None:
        """Load a node, and those that lie around it if they are needed next, or as far as there is room for more."""
        entry = self._entry(key)
        if entry == HOLE:
            self._insert(key, entry, bytes(BLOCK))
            return
        kind = key >> KIND_SHIFT
        if not self.is_root(key):
            if in_order or self.cache.free >= NEIGHBOURS:
                with suppress(SyscallError):  # one that can't be read must not take its neighbours with it
                    await self._read_nodes(kind, self._neighbours(key), strict=False)
            elif self.io.device.blocks <= NEAR:
                place = int.from_bytes(entry[-4:], "little") // NEIGHBOURS * NEIGHBOURS
                self.io.device.will_need(place, min(NEIGHBOURS, self.io.device.blocks - place))
        if self._stale(key, entry):
            return  # it is there now
        page = await self.io.read_one(kind, key & NUMBER_MASK, entry)
        if page is None:
            self._damaged(key, entry)
        else:
            self._insert(key, entry, page)

    def _neighbours(self, key: int) -> list[tuple[int, bytes]]:
        """Nodes with their entries: the one of ``key``, and its siblings beside it on the disk that are not cached."""
        slot_of = self.cache.slot_of
        places = self.cache.places(slot_of[parent_of(key)])
        number = key % FANOUT
        base = key - number

        def beside(one: int, other: int) -> bool:
            return places[other] == places[one] + other - one and base + other not in slot_of

        first = last = number
        while first and last - first + 1 < NEIGHBOURS // 2 and beside(first, first - 1):
            first -= 1
        while last + 1 < FANOUT and last - first + 1 < NEIGHBOURS and beside(last, last + 1):
            last += 1
        return [(base + one, self._entry(base + one)) for one in range(first, last + 1)]

    async def _load(self, keys: list[int]) -> None:
        wanted = [(key, self._entry(key)) for key in keys]
        for key, entry in wanted:
            if entry == HOLE:
                self._insert(key, entry, bytes(BLOCK))
        # Neighbours were written one after another more often than not: one request reads them.
        wanted = sorted(((key, entry) for key, entry in wanted if entry != HOLE), key=lambda item: item[1][-4:][::-1])
        for first in range(0, len(wanted), BATCH):
            part = wanted[first : first + BATCH]
            for kind in {key >> KIND_SHIFT for key, _ in part}:
                await self._read_nodes(kind, [item for item in part if item[0] >> KIND_SHIFT == kind])

    async def _read_nodes(self, kind: int, nodes: list[tuple[int, bytes]], strict: bool = True) -> None:
        """Load nodes of a kind. EIO for one that does not verify; if not ``strict`` it is left out."""
        addresses = numbers(key & NUMBER_MASK for key, _ in nodes)
        pages, bad = await self.io.read(kind, addresses, b"".join(entry for _, entry in nodes))
        view = memoryview(pages)
        for index, (key, entry) in enumerate(nodes):
            if not bad[index]:
                self._insert(key, entry, view[index * BLOCK : (index + 1) * BLOCK])
            elif strict:
                self._damaged(key, entry)

    def _damaged(self, key: int, entry: bytes) -> None:
        """What was read for a node does not verify: EIO, unless it is of no use anyhow."""
        if not self._stale(key, entry):
            self.io.statistics.damaged += 1
            log.error("mlsdisk: node %d of kind %d does not verify", key & NUMBER_MASK, key >> KIND_SHIFT)
            raise SyscallError(errno.EIO)

    def _stale(self, key: int, entry: bytes) -> bool:
        """Whether somebody loaded or wrote the node while it was being read, so that what was read is of no use."""
        if key in self.cache.slot_of:
            return True
        if not self.is_root(key) and parent_of(key) not in self.cache.slot_of:
            return True
        return self._entry(key) != entry

    def _insert(self, key: int, entry: bytes, page: bytes | bytearray | memoryview) -> None:
        if self._stale(key, entry):
            return
        if not self.is_root(key):
            self.cache.touch((self.cache.slot_of[parent_of(key)],))
        if not self.cache.make_room(1):
            raise SyscallError(errno.ENOMEM)
        # Making room may have taken the parent away, if nothing else held it.
        if not self._stale(key, entry):
            self.cache.insert(key, page)

    # -- writing ------------------------------------------------------------------------

    async def write_nodes(self, keys: list[int], places: Any) -> tuple[array[int], array[int]]:
        """Write changed nodes of one kind, whose children are written, to ``places``; their parents are changed then.

        Returns the places that they had: old ones, and those given since the last checkpoint. Nobody may change
        nodes meanwhile.
        """
        old, fresh = numbers(), numbers()
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            slots = numbers(self.cache.slot_of[key] for key in part)
            addresses = numbers(key & NUMBER_MASK for key in part)
            spots = places[start : start + BATCH]
            sealed, entries = await self.io.seal(part[0] >> KIND_SHIFT, addresses, self.cache.view, slots, spots)
            await self.io.write(spots, sealed)
            self.io.done_with(sealed)
            self.io.statistics.nodes_written += len(part)
            before, lately = self.set_entries(part, entries)
            old.extend(before)
            fresh.extend(lately)
        return old, fresh

    def set_entries(self, keys: list[int], entries: bytes | bytearray) -> tuple[array[int], array[int]]:
        """Give nodes of one kind new entries in their parents, and call them clean; the places that they had."""
        cache = self.cache
        kind = keys[0] >> KIND_SHIFT
        if kind in self.roots:
            before, self.roots[kind] = self.roots[kind], bytes(entries)
            _, epoch, counter, place = ENTRY.unpack(before)
            fresh = epoch == self.since[0] and counter >= self.since[1]
            one = numbers((place,)) if place else numbers()
            replaced = (numbers(), one) if fresh else (one, numbers())
        else:
            parents = numbers(cache.slot_of[parent_of(key)] for key in keys)
            children = numbers(key & NUMBER_MASK for key in keys)
            replaced = cache.arena.exchange(parents, children, entries, *self.since)
            for slot in set(parents):
                cache.mark_dirty(slot)
        for key in keys:
            cache.mark_clean(cache.slot_of[key])
        return replaced

    def place_of(self, key: int) -> int:
        """Where a cached node lies on the disk; 0 if nowhere."""
        place: int = ENTRY.unpack(self._entry(key))[3]
        return place

    async def exists(self, key: int) -> bool:
        """Whether a node may hold anything. One that is not written yet is cached."""
        if key in self.cache.slot_of:
            return True
        if not self.is_root(key):
            await self.ensure((parent_of(key),))
        return self._entry(key) != HOLE

    def knows(self, key: int) -> bool:
        """Whether a node of this number may exist."""
        kind, number = key >> KIND_SHIFT, key & NUMBER_MASK
        for top, lowest in ((self.index_top, INDEX), (self.space_top, SPACE)):
            if lowest <= kind <= top:
                return bool(number < FANOUT ** (top - kind))
        return False

    def empty_of(self, keys: list[int]) -> list[int]:
        """Those of the cached nodes that hold nothing but zeros."""
        return [key for key in keys if self.cache.arena.is_zero(self.cache.slot_of[key])]

    @staticmethod
    def owners(keys: list[int]) -> array[int]:
        """What the owner of a block is when it holds a node."""
        return numbers(OWNER_NODE | (key >> KIND_SHIFT) << OWNER_KIND_SHIFT | key & NUMBER_MASK for key in keys)


def key_of_owner(owner: int) -> int:
    """The node that a block's owner stands for; only for owners with ``OWNER_NODE``."""
    kind = (owner & ~OWNER_NODE) >> OWNER_KIND_SHIFT
    return node_key(kind, owner & (1 << OWNER_KIND_SHIFT) - 1)
