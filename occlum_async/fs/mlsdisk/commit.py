"""Commits: how what was written becomes the state that the disk is found in.

Invariant: the order is data, then flush, then the record that refers to it, then flush, then the trusted counter; and
only then is any block written over that the state before needs. A record is a commit of the journal, or a
superblock after all changed nodes (a checkpoint).

A commit of the journal costs a block or a few; it is repeated when the disk is opened. A checkpoint writes the nodes,
begins an empty journal, and comes when the journal is full or would be larger than the nodes.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ...abi.errors import SyscallError
from ...errors import DiskError, LibOSError
from ...sched.strand import Scheduler
from .cache import parent_of
from .cipher import numbers
from .counter import TrustedCounter
from .journal import Journal
from .layout import INDEX, JOURNAL, KIND_SHIFT, SPACE, SUPERBLOCKS, Geometry
from .space import NODES
from .superblock import Header, Superblock, encode
from .volume import Volume
from .writer import Writer

log = logging.getLogger(__name__)

NAME_SIZE = 16


class Committer:
    """Commits one volume. ``superblock`` is the last checkpoint, ``number`` what the trusted counter says."""

    def __init__(
        self, scheduler: Scheduler, volume: Volume, writer: Writer, superblock: Superblock, header: Header,
        journal: Journal, counter: TrustedCounter | None, number: int,
    ) -> None:  # fmt: skip
        self._scheduler = scheduler
        self.volume = volume
        self.writer = writer
        self.superblock = superblock
        self._header = header
        self._journal = journal
        self._counter = counter
        self.number = number
        self._io = volume.io
        self._running = False
        self.clock = 0  # counts changes that have come back
        self._durable = 0  # the clock of the last commit
        # Who wants to hear that a transaction has ended that has all changes up to a clock.
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        # Called after each commit, when there is time.
        self.after: Callable[[], None] | None = None

    @property
    def counts(self) -> bool:
        """Whether a trusted counter goes along."""
        return self._counter is not None

    # -- one at a time, for all who wait ----------------------------------------------------------

    async def commit(self, checkpoint: bool = False) -> None:
        """Make all changes before the call durable. Those who call at the same time share a commit."""
        wanted = self.clock
        if checkpoint:
            await self.writer.until(self._idle)
            self._start(True)
            await self.writer.until(self._idle)
        while self._durable < wanted and not self.writer.error:
            if not self._running:
                self._start(False)
            await self.writer.until(lambda: self._durable >= wanted or not self._running)
        if self.writer.error:
            raise SyscallError(self.writer.error)

    @contextmanager
    def telling(self, settled: Callable[[], None]) -> Iterator[None]:
        """Meanwhile ``settled`` is called when a transaction ends that has all changes up to now."""
        waiting = self.clock, settled
        self._waiting.append(waiting)
        try:
            yield
        finally:
            self._waiting.remove(waiting)

    def _settle(self, clock: int) -> None:
        """The transaction with all changes up to ``clock`` has ended: what comes now belongs to the next."""
        for wanted, settled in self._waiting:
            if wanted <= clock:
                settled()

    async def until_idle(self) -> None:
        """Wait for a commit that is under way, whether it goes well or not."""
        while self._running:
            await self.writer.queue.wait(self._scheduler, interruptible=False)

    def _idle(self) -> bool:
        return not self._running

    async def reshape(self, geometry: Geometry) -> None:
        """Take another size, durably. ``geometry`` has this disk's journal."""
        await self.commit(checkpoint=True)
        await self.writer.until(self._idle)
        self._running = True
        try:
            await self.writer.close_gate()
            async with self.volume.lock():
                await self.volume.merge()
                await self._write_nodes()
                await self.volume.reshape(geometry)
        except SyscallError as error:
            self.writer.fail(error)
            raise
        finally:
            self._running = False
            self.writer.open_gate()
        await self.commit(checkpoint=True)

    async def early(self) -> bool:
        """Commit because there is no room for more; False when there is nothing to commit."""
        if self._durable >= self.clock and not self.volume.changed and not self.writer.under_way:
            return False
        self._io.statistics.early_commits += 1
        self.clock += 1
        await self.commit()
        return True

    def _start(self, checkpoint: bool) -> None:
        if not self.writer.error:
            self._running = True
            self._scheduler.spawn(self._run(checkpoint))

    async def _run(self, checkpoint: bool) -> None:
        try:
            await self._commit(checkpoint)
        except (SyscallError, LibOSError) as error:
            self.writer.fail(error)
        except Exception as error:
            log.exception("oops: a commit failed")
            self.writer.fail(error)
        finally:
            self._running = False
            self.writer.queue.wake()
        if self.after is not None and not self.writer.error:
            self.after()

    async def _commit(self, checkpoint: bool) -> None:
        writer, volume = self.writer, self.volume
        # What has come back by now is on its way; what comes back from here on moves the clock.
        clock = self.clock
        await writer.close_gate()
        try:
            if writer.error:
                return
            async with volume.lock():
                checkpoint = checkpoint or self._wants_checkpoint()
                if checkpoint or volume.wants_merge(writer.promised):
                    await volume.merge()
                if checkpoint:
                    await self._write_nodes()
                first, record = self._cut(checkpoint)
            self._settle(clock)
        finally:
            writer.open_gate()
        generation = volume.space.generation - 1
        await self._io.flush()
        if checkpoint:
            await self._write_superblock(SUPERBLOCKS[0], record)
        else:
            await self._write_journal(first, record)
        await self._io.flush()
        if checkpoint:
            await self._write_superblock(SUPERBLOCKS[1], record)
        await self._advance()
        async with volume.lock():
            volume.space.committed(generation)
        self._io.statistics.commits += 1
        self._durable = max(self._durable, clock)

    def _wants_checkpoint(self) -> bool:
        volume = self.volume
        if volume.log_overflow or not self._journal.fits(len(volume.deltas)):
            return True
        return self._journal.blocks_for(len(volume.deltas)) > 2 * (volume.cache.dirty_count + len(volume.pending)) + 2

    def _cut(self, checkpoint: bool) -> tuple[int, bytes]:
        """End the transaction: what it is recorded with, and where. What changes from here on belongs to the next."""
        volume = self.volume
        if not 0 <= volume.space.occupied <= volume.geometry.data:
            log.error("mlsdisk: the space map does not agree with what is used")
            raise SyscallError(errno.EIO)
        generation = volume.space.begin()
        self.number += 1
        if checkpoint:
            forest = volume.forest
            self.superblock = replace(
                self.superblock,
                geometry=volume.geometry,
                generation=generation,
                counter=self.number,
                occupied=volume.space.occupied,
                name=os.urandom(NAME_SIZE),
                index_root=forest.roots[forest.index_top],
                space_root=forest.roots[forest.space_top],
            )
            self._journal.begin(self.superblock.name)
            self._journal.blocks = volume.geometry.journal
            first, record = 0, encode(self.superblock, self._io.keys, self._header)
            volume.forest.since = self._io.keys.now
            self._io.statistics.checkpoints += 1
        else:
            first, record = self._journal.append(volume.deltas, self.number)
        volume.deltas.clear()
        volume.log_overflow = volume.changed = False
        volume.since = self._io.keys.now
        return first, record

    # -- writing the record ---------------------------------------------------------------------------

    async def _write_superblock(self, place: int, record: bytes) -> None:
        await self._io.device.write(place, record)
        self._io.statistics.superblocks_written += 1

    async def _write_journal(self, first: int, record: bytes) -> None:
        await self._io.device.write(JOURNAL + first, record)
        self._io.statistics.journal_written += len(record) // 4096

    async def _advance(self) -> None:
        if self._counter is None:
            return
        try:
            await self._scheduler.bridge(self._counter.advance(self.number))
        except LibOSError:
            raise
        except Exception as error:
            raise DiskError(f"the trusted counter can't be advanced ({error})") from error

    # -- checkpoints: the changed nodes ----------------------------------------------------------------

    async def _write_nodes(self) -> None:
        """Write all changed nodes of both trees, to the roots."""
        volume = self.volume
        for kind in range(INDEX, volume.forest.index_top + 1):
            await volume.write_kind(kind)
        await self._write_space()

    async def _write_space(self) -> None:
        """Write the space map, in which the places of its own pages are to be right.

        Each page gets its new place before any is written. That changes other pages, which get theirs too, until
        no more are changed. Places come one after another, so this ends soon.
        """
        volume, space = self.volume, self.volume.space
        old, volume.replaced_nodes = volume.replaced_nodes, numbers()
        await volume.release(old, hold=True)
        given: dict[int, int] = {}
        while keys := self._changed_pages(given):
            places = await space.take(len(keys), volume.forest.owners(keys), NODES)
            given.update(zip(keys, places, strict=True))
            before = numbers(place for place in map(volume.forest.place_of, keys) if place)
            await space.give_back(before, hold=True)
        for kind in range(SPACE, volume.forest.space_top + 1):
            keys = sorted(key for key in given if key >> KIND_SHIFT == kind)
            if keys:
                await volume.forest.write_nodes(keys, numbers(given[key] for key in keys))

    def _changed_pages(self, given: dict[int, int]) -> list[int]:
        """Pages that are changed, with all nodes above them, and have no new place yet."""
        forest = self.volume.forest
        found: set[int] = set()
        for kind in range(SPACE, forest.space_top + 1):
            for key in forest.cache.dirty_keys(kind):
                while key not in found:
                    found.add(key)
                    if forest.is_root(key):
                        break
                    key = parent_of(key)
        return sorted(found - given.keys())
