"""Cleaning: blocks that are left over in nearly empty segments are written elsewhere, so that the log finds whole ones.

Invariant: cleaning changes where blocks lie and nothing else, it needs no room that the next checkpoint needs, and
nobody waits for it: writers thread through partly used segments when no clean one is there.

What it may cost is bounded by a share of what was written. The segments that are cleaned first are those with the best
ratio of benefit to cost, (1 - u) * age / (1 + u), u being how much of them is used. What it moves has been there for
long, and goes to segments of its own.
"""

from __future__ import annotations

import logging

from ...abi.errors import SyscallError
from ...sched.strand import Scheduler
from .cipher import numbers
from .commit import Committer
from .forest import key_of_owner
from .layout import ENTRY_SIZE, OWNER_NODE, SEGMENT, SEGMENTS
from .space import COLD
from .volume import Volume, place_in
from .writer import Writer

log = logging.getLogger(__name__)

# Clean when fewer than this share of the segments is clean, segments that are used by at most so much.
WANTED = 0.10
WORTH = 0.5
# Blocks that may be moved for each block that was written.
BUDGET = 0.05
AT_ONCE = 4  # segments for one commit
MOVE = 256  # blocks


class Cleaner:
    """Cleans one volume, in a strand of its own, after commits."""

    def __init__(self, scheduler: Scheduler, volume: Volume, writer: Writer, committer: Committer) -> None:
        self._scheduler = scheduler
        self._volume = volume
        self._writer = writer
        self._committer = committer
        self._running = False
        self._stopped = False

    def wake(self) -> None:
        """See whether there is something to do."""
        if not self._running and not self._stopped and self._wanted():
            self._running = True
            self._scheduler.spawn(self._run())

    def _wanted(self) -> bool:
        space = self._volume.space
        statistics = self._volume.io.statistics
        if statistics.moved + SEGMENT * (1 - WORTH) > BUDGET * statistics.user_written:
            return False
        return space.clean_segments < WANTED * space.geometry.segments

    async def stop(self) -> None:
        """End what is under way, and do nothing any more."""
        self._stopped = True
        await self._writer.until(lambda: not self._running)

    async def _run(self) -> None:
        try:
            await self.clean(AT_ONCE)
        except SyscallError as error:
            log.warning("mlsdisk: cleaning stopped: %s", error)
        except Exception:
            log.exception("oops: cleaning failed")
        finally:
            self._running = False
            self._writer.queue.wake()

    async def clean(self, limit: int) -> int:
        """Clean up to ``limit`` segments; how many. Their room is there after the next commit."""
        cleaned = 0
        for segment in await self._choose(limit):
            if self._stopped or self._writer.error or not await self._clean_segment(segment):
                break
            cleaned += 1
        self._volume.io.statistics.segments_cleaned += cleaned
        return cleaned

    async def _choose(self, limit: int) -> list[int]:
        space = self._volume.space
        async with self._volume.lock():
            await space.refresh()
        candidates = [one for one in space.candidates() if space.used[one] <= WORTH * SEGMENT]
        candidates.sort(key=lambda one: space.used[one])
        rated = []
        for segment in candidates[: 16 * limit]:
            async with self._volume.lock():
                await self._volume.forest.ensure((space.region_key(segment // SEGMENTS),))
                used = space.used[segment] / SEGMENT
                rated.append(((1 - used) * (1 + space.age_of(segment)) / (1 + used), segment))
        rated.sort(reverse=True)
        return [segment for _, segment in rated[:limit]]

    async def _clean_segment(self, segment: int) -> bool:
        """Move everything out of a segment; False when there is no room for that."""
        volume, space = self._volume, self._volume.space
        region, number = divmod(segment, SEGMENTS)
        async with volume.lock():
            await volume.forest.ensure((space.region_key(region), space.owners_key(segment)))
            slot, owners_slot = (
                volume.cache.slot_of[key] for key in (space.region_key(region), space.owners_key(segment))
            )
            base = space.geometry.first + region * SEGMENTS * SEGMENT
            places, owners = volume.cache.arena.segment_used(slot, number, owners_slot, base)
        pairs = [pair for pair in zip(owners, places, strict=True) if pair[1] < space.geometry.image]
        await self._rewrite_nodes([(owner, place) for owner, place in pairs if owner & OWNER_NODE])
        data = sorted((owner, place) for owner, place in pairs if owner < space.geometry.blocks)
        for start in range(0, len(data), MOVE):
            async with self._writer.inside():
                if not await self._move(data[start : start + MOVE]):
                    return False
        return True

    async def _rewrite_nodes(self, pairs: list[tuple[int, int]]) -> None:
        """Nodes are written elsewhere at the next checkpoint, if they are changed."""
        volume = self._volume
        for owner, place in pairs:
            key = key_of_owner(owner)
            async with volume.lock():
                if not volume.forest.knows(key):
                    continue
                await volume.spill(1)
                await volume.forest.ensure((key,))
                if volume.forest.place_of(key) == place:
                    volume.cache.mark_dirty(volume.cache.slot_of[key])
                    volume.changed = True

    async def _move(self, pairs: list[tuple[int, int]]) -> bool:
        """Copy blocks as they are, sealed, and let the index refer to the copies; False when there is no room."""
        volume = self._volume
        addresses = numbers(address for address, _ in pairs)
        entries = await volume.lookup(addresses)
        still = [index for index, (_, place) in enumerate(pairs) if place_in(entries, index) == place]
        if not still:
            return True
        # Half of the room is left to writers.
        if volume.room(self._writer.promised + len(still)) < volume.space.free // 2:
            return False
        addresses = numbers(addresses[index] for index in still)
        expected = b"".join(bytes(entries[index * ENTRY_SIZE : (index + 1) * ENTRY_SIZE]) for index in still)
        sealed = await volume.io.read_sealed(expected, len(still))
        async with volume.lock():
            places = await volume.space.take(len(still), addresses, COLD)
        await volume.io.write(places, sealed)
        async with volume.lock():
            done = await volume.move(addresses, expected, places)
            before = numbers(place_in(expected, index) for index, flag in enumerate(done) if flag)
            await volume.space.give_back(before, hold=True)
            await volume.space.give_back(numbers(places[index] for index, flag in enumerate(done) if not flag), False)
        self._committer.clock += 1
        volume.io.statistics.moved += len(before)
        return True
