"""The volume: addresses and the sealed blocks behind them, in a transaction that is being built.

Invariant: the index refers only to blocks that the device has taken, and whatever it does not refer to any more is
freed. All changes are made under ``lock``, and each of them is also a delta for the journal.
"""

from __future__ import annotations

import errno
import logging
from array import array
from collections.abc import Iterator
from typing import Any

from ...abi.errors import SyscallError
from ...sched.mutex import Hold, Mutex
from ...sched.strand import Scheduler
from ..block.device import BLOCK
from .blockio import SealedBlocks
from .cipher import numbers
from .forest import Forest
from .journal import Deltas
from .layout import DATA, ENTRY, ENTRY_SIZE, FANOUT, HOLE, INDEX, KIND_SHIFT, SPACE, Geometry, kept_free
from .pending import Pending
from .space import NODES, Space
from .workers import let_others_go_on

log = logging.getLogger(__name__)

LEAF = INDEX << KIND_SHIFT
# Shares of the cache: what an operation may need at once, what may always be changed and unwritten, and what is left
# to nodes that are only read.
SHARE, DIRTY_SHARE, SPARE_SHARE = 16, 3, 8
# Leaves of which a discard clears the entries in one go.
DISCARD_LEAVES = 32
# Parts of a merge between which others have their turn.
TURN = 8
# Entries that are sorted in the event loop; more of them by a worker.
SORT_AT_ONCE = 4096


class Volume:
    """Index and space of one disk."""

    def __init__(
        self, scheduler: Scheduler, io: SealedBlocks, forest: Forest, space: Space, geometry: Geometry, log_limit: int,
        pending: Pending,
    ) -> None:  # fmt: skip
        self._scheduler = scheduler
        self.io = io
        self.forest = forest
        self.cache = forest.cache
        self.space = space
        self.geometry = geometry
        self._mutex = Mutex()
        # Data sealed from here on is in no durable state.
        self.since: tuple[int, int] = io.keys.now
        # Places of nodes of the last checkpoint that have been written elsewhere.
        self.replaced_nodes: array[int] = numbers()
        self._kept = kept_free(geometry)
        self._replaying = False
        self.pending = pending
        self.deltas = Deltas()
        self._log_limit = log_limit
        self.log_overflow = False
        self.changed = False

    def lock(self) -> Hold:
        """Held by whoever changes the volume."""
        return self._mutex.hold(self._scheduler)

    @property
    def step(self) -> int:
        """How many addresses one operation on the cache may have."""
        return self.cache.slots // SHARE

    # -- reading ---------------------------------------------------------------------------

    async def lookup(self, addresses: Any) -> bytearray:
        """The entries of a few addresses."""
        entries = bytearray(len(addresses) * ENTRY_SIZE)
        if len(self.pending) and self.pending.get(addresses, entries):
            return entries
        slots = await self._leaves(addresses)
        entries = self.cache.arena.get(slots, addresses)
        self.pending.get(addresses, entries)
        return entries

    async def _leaves(self, addresses: Any) -> array[int]:
        """The slot of each address's leaf, valid until the caller waits."""
        slot_of = self.cache.slot_of
        try:
            slots = numbers([slot_of[LEAF + (address >> 7)] for address in addresses])
            self.io.statistics.cache_hits += 1
        except KeyError:
            await self.forest.ensure({LEAF + address // FANOUT for address in addresses})
            slots = numbers([slot_of[LEAF + (address >> 7)] for address in addresses])
        self.cache.touch(set(slots))
        return slots

    async def read_one(self, address: int) -> bytes | bytearray:
        """The content of one address. EIO when it is damaged."""
        key, before = LEAF + address // FANOUT, b""
        while True:
            entry = self.pending.get_one(address)
            if not entry:
                slot = self.cache.slot_of.get(key)
                if slot is None:
                    await self.forest.ensure((key,))
                    continue
                self.cache.touch((slot,))
                entry = self.cache.entry(slot, address)
            if entry == before:
                self.io.statistics.damaged += 1
                log.error("mlsdisk: block %d does not verify", address)
                raise SyscallError(errno.EIO)
            if entry == HOLE:
                return bytes(BLOCK)
            if (data := await self.io.read_one(DATA, address, entry)) is not None:
                return data
            # The block may have been overwritten, and its place used again, while it was being read.
            before = entry

    async def read(self, addresses: Any) -> bytearray:
        """The contents of a few addresses. EIO when one of them is damaged."""
        entries = await self.lookup(addresses)
        while True:
            data, bad = await self.io.read(DATA, addresses, entries)
            if 1 not in bad:
                return data
            # The block may have been overwritten, and its place used again, while it was being read.
            again = await self.lookup(addresses)
            if again == entries:
                self.io.statistics.damaged += bad.count(1)
                log.error("mlsdisk: block %d does not verify", addresses[bad.index(1)])
                raise SyscallError(errno.EIO)
            entries = again

    # -- changing (all of it under the lock) ---------------------------------------------------

    async def apply(self, addresses: Any, entries: Any) -> None:
        """Let addresses, in ascending order, refer to blocks that were written."""
        view, all_entries = memoryview(addresses), memoryview(entries)
        step = min(self.step, self.pending.limit // 2)
        for start in range(0, len(addresses), step):
            part = view[start : start + step]
            await self._keep(part, all_entries[start * ENTRY_SIZE : (start + len(part)) * ENTRY_SIZE])
        self.deltas.add(addresses, entries)
        self._logged()

    async def _keep(self, addresses: Any, entries: Any) -> None:
        if len(self.pending) + len(addresses) > self.pending.limit:
            await self.merge()
        old, fresh = self.pending.put(addresses, entries, *self.since)
        if not self._replaying:
            await self.release(old, hold=True)
            await self.release(fresh, hold=False)

    async def merge(self) -> None:
        """Let the index say what is pending, leaf after leaf."""
        ordered = await self._ordered()
        for number, (part, entries) in enumerate(self._parts(ordered)):
            await self._set(part, entries)
            if number % TURN == TURN - 1:
                await let_others_go_on(self._scheduler)
        if self._replaying:
            # Only now: what one address has left, another one may have taken later.
            for _, entries in self._parts(ordered):
                await self._mark(entries)
        self.pending.clear()

    async def _ordered(self) -> array[int]:
        if len(self.pending) < SORT_AT_ONCE:
            return self.pending.ordered()
        sorted_elsewhere: list[array[int]] = []
        await self.io.workers.run([lambda: sorted_elsewhere.append(self.pending.ordered())])
        return sorted_elsewhere[0]

    def _parts(self, ordered: array[int]) -> Iterator[tuple[array[int], bytearray]]:
        """What is pending in ascending order, as much at a time as the cache can take."""
        for start in range(0, len(ordered), self.step):
            part = ordered[start : start + self.step]
            entries = bytearray(len(part) * ENTRY_SIZE)
            self.pending.get(part, entries)
            yield part, entries

    def wants_merge(self, promised: int) -> bool:
        """Whether what is freed by a merge would be missed."""
        return len(self.pending) > max(0, self.room(promised)) // 2

    async def _set(self, addresses: Any, entries: Any) -> None:
        leaves = addresses[-1] // FANOUT - addresses[0] // FANOUT + 1
        await self.spill(min(len(addresses), leaves) + min(len(addresses), self.geometry.regions))
        slots = await self._leaves(addresses)
        for slot in set(slots):
            self.cache.mark_dirty(slot)
        old, fresh = self.cache.arena.exchange(slots, addresses, entries, *self.since)
        await self.space.give_back(old, hold=not self._replaying)
        await self.space.give_back(fresh, hold=False)

    async def discard(self, address: int, count: int) -> None:
        """Let addresses be holes."""
        old, fresh = self.pending.discard(address, count, *self.since)
        if not self._replaying:
            await self.release(old, hold=True)
            await self.release(fresh, hold=False)
        first, last = address // FANOUT, (address + count - 1) // FANOUT
        leaf = first
        while leaf <= last:
            leaves, leaf = await self._existing(leaf, last)
            if not leaves:
                continue
            members = numbers()
            for one in leaves:
                members.extend(range(max(address, one * FANOUT), min(address + count, (one + 1) * FANOUT)))
            await self._set(members, HOLE * len(members))
        self.deltas.discard(address, count)
        self._logged()

    async def _existing(self, first: int, last: int) -> tuple[list[int], int]:
        """Some leaves between two that may hold something, and where to go on."""
        limit = min(DISCARD_LEAVES, max(1, self.step // 2))
        kind, top = INDEX, self.forest.index_top
        # The highest node on the way that is missing: everything below it is a hole.
        for above in range(top, kind - 1, -1):
            width: int = FANOUT ** (above - kind)
            key = above << KIND_SHIFT | first // width
            if not await self.forest.exists(key):
                return [], (first // width + 1) * width
        leaves = [first]
        end = min(last, first + limit - 1, (first // FANOUT + 1) * FANOUT - 1)
        for leaf in range(first + 1, end + 1):
            if await self.forest.exists(LEAF + leaf):
                leaves.append(leaf)
        return leaves, end + 1

    async def move(self, addresses: Any, expected: Any, places: Any) -> bytearray:
        """Let addresses refer to copies of their blocks where they are still the expected ones; 1 for those."""
        await self.spill(len(addresses))
        slots = await self._leaves(addresses)
        done = self.pending.move(addresses, expected, places)
        if 2 in done:
            moved_below = self.cache.arena.move(slots, addresses, expected, places)
            for index, known in enumerate(done):
                if known != 2:
                    continue
                done[index] = moved_below[index]
                if moved_below[index]:
                    self.cache.mark_dirty(slots[index])
        entries = bytearray(expected)
        moved = numbers()
        for index, flag in enumerate(done):
            if flag:
                moved.append(addresses[index])
                entries[index * ENTRY_SIZE + 28 : (index + 1) * ENTRY_SIZE] = places[index].to_bytes(4, "little")
        kept = b"".join(
            bytes(entries[index * ENTRY_SIZE : (index + 1) * ENTRY_SIZE]) for index, flag in enumerate(done) if flag
        )
        self.deltas.add(moved, kept)
        self._logged()
        return done

    def _logged(self) -> None:
        self.changed = True
        if self.log_overflow or len(self.deltas) > self._log_limit:
            self.log_overflow = True
            self.deltas.clear()

    async def release(self, places: array[int], hold: bool) -> None:
        """Give back any number of places, wherever they are."""
        for start in range(0, len(places), self.step):
            part = places[start : start + self.step]
            await self.spill(min(len(part), self.geometry.regions))
            await self.space.give_back(part, hold)

    # -- nodes --------------------------------------------------------------------------------

    async def spill(self, coming: int) -> None:
        """Write changed nodes until ``coming`` more can become changed."""
        # The way to each changed node stays as well. Where all ways together are short, they are all that has to.
        slots = self.cache.slots
        limit = max(slots // DIRTY_SHARE, slots - self.geometry.upper_nodes - slots // SPARE_SHARE)
        # Writing nodes changes those above them, which on a large disk are many as well.
        for kind in (INDEX, INDEX + 1, SPACE, SPACE + 1):
            if self.cache.dirty_count + coming + 16 <= limit:
                return
            await self.write_kind(kind)

    async def write_kind(self, kind: int) -> None:
        """Write the changed nodes of one kind; those of zeros become holes."""
        keys = self.cache.dirty_keys(kind)
        empty = self.forest.empty_of(keys) if kind < SPACE else []
        if empty:
            await self._replaced(*self.forest.set_entries(empty, HOLE * len(empty)))
            gone = set(empty)
            keys = [key for key in keys if key not in gone]
        if keys:
            places = await self.space.take(len(keys), self.forest.owners(keys), NODES)
            await self._replaced(*await self.forest.write_nodes(keys, places))

    async def _replaced(self, old: array[int], fresh: array[int]) -> None:
        self.replaced_nodes.extend(old)
        await self.space.give_back(fresh, hold=False)

    def room(self, promised: int) -> int:
        """How many blocks may still be written when ``promised`` are about to: the rest is for the next checkpoint."""
        return self.space.free - promised - self._kept

    async def reshape(self, geometry: Geometry) -> None:
        """Take another size; everything is written, and nobody is at work."""
        self.replaced_nodes.extend(await self.forest.reshape(geometry.index_top, geometry.space_top))
        self.geometry = geometry
        self._kept = kept_free(geometry)
        await self.space.grow(geometry)
        self.changed = True

    # -- the journal's part in recovery -----------------------------------------------------------

    async def replay(self, deltas: Deltas) -> None:
        """Do again what the journal says. EIO when it can't be true.

        What is replaced is free at once: the state that is to be found does not need it.
        """
        self._replaying = True
        start = 0
        while start < len(deltas):
            end = start
            while end < len(deltas) and end - start < self.step and place_in(deltas.entries, end):
                end += 1
            if end == start:
                address, count = deltas.addresses[start], ENTRY.unpack_from(deltas.entries, start * ENTRY_SIZE)[2]
                self._check(address, count)
                await self.discard(address, count)
                end += 1
            else:
                for address in deltas.addresses[start:end]:
                    self._check(address, 1)
                await self._keep(deltas.addresses[start:end], deltas.entries[start * ENTRY_SIZE : end * ENTRY_SIZE])
            start = end
        await self.merge()
        self.deltas.clear()
        self._replaying = False

    def _check(self, address: int, count: int) -> None:
        if not 0 < count <= self.geometry.blocks - address:
            raise SyscallError(errno.EIO)

    async def _mark(self, entries: bytearray) -> None:
        """What was taken since the checkpoint is used."""
        places = numbers([place for index in range(len(entries) // ENTRY_SIZE) if (place := place_in(entries, index))])
        if places and not self.geometry.first <= min(places) <= max(places) < self.geometry.image:
            raise SyscallError(errno.EIO)
        await self.space.mark(places)


def place_in(entries: bytes | bytearray, index: int) -> int:
    """The place in one of several entries."""
    end = (index + 1) * ENTRY_SIZE
    return int.from_bytes(entries[end - 4 : end], "little")
