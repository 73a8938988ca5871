"""Sealed blocks on a device: the lowest layer.

Invariant: what leaves to the device is ciphertext, and what comes from it is used only after it has verified against
an entry that is itself authentic (its parent's, up to the superblock).
"""

from __future__ import annotations

import errno
from functools import partial
from typing import Any

from ...abi.errors import SyscallError
from ..block.device import BLOCK, BlockDevice
from .cipher import Cipher, purpose
from .keys import Keys
from .layout import ENTRY, ENTRY_SIZE
from .native import place_runs, runs_of
from .stats import Statistics
from .workers import Workers

# Fewer blocks than this are sealed in the event loop: to hand them over would take longer.
HAND_OVER = 24
# The most blocks of one request to the device.
REQUEST = 256
# Blocks written without a flush after which the device may begin with them, so that the flush has less to wait for.
EARLY = 4096
# Buffers that are kept for ciphertext of so many blocks, and how many of each.
KEPT_SIZES = (256, 1024)
SPARE = 4


class SealedBlocks:
    """Seals, writes, reads and opens blocks of one device."""

    def __init__(
        self, device: BlockDevice, keys: Keys, cipher: Cipher, workers: Workers, statistics: Statistics
    ) -> None:
        self.device = device
        self.keys = keys
        self.cipher = cipher
        self.workers = workers
        self.statistics = statistics
        # What was written since the device was told of it last: where each run begins, by where it ends.
        self._unflushed: dict[int, int] = {}
        self._unflushed_blocks = 0
        # Memory for the sizes that come again and again: fresh memory costs as much as sealing.
        self._spare: dict[int, list[bytearray]] = {count * BLOCK: [] for count in KEPT_SIZES}

    # -- sealing -----------------------------------------------------------------------

    async def seal(
        self, kind: int, addresses: Any, source: Any, positions: Any, places: Any
    ) -> tuple[bytearray, bytearray]:
        """The ciphertext of the blocks and their entries. ``source`` must not change before the call returns."""
        count = len(addresses)
        key, epoch, counter = self.keys.take(count)
        sealed, entries = self._buffer(count * BLOCK), bytearray(count * ENTRY_SIZE)
        if count < HAND_OVER:
            self.cipher.seal_blocks(key, epoch, counter, kind, addresses, source, positions, places, sealed, entries)
            return sealed, entries
        views = memoryview(addresses), memoryview(source), memoryview(places), memoryview(sealed), memoryview(entries)
        jobs = [
            partial(self._seal_part, key, epoch, counter, kind, views, positions, start, end)
            for start, end in self._parts(count)
        ]
        await self.workers.run(jobs)
        return sealed, entries

    def _buffer(self, size: int) -> bytearray:
        spare = self._spare.get(size)
        return spare.pop() if spare else bytearray(size)

    def done_with(self, sealed: bytearray) -> None:
        """Nobody uses what ``seal`` returned any more; its memory may serve again."""
        if len(sealed) in self._spare and len(self._spare[len(sealed)]) < SPARE:
            self._spare[len(sealed)].append(sealed)

    def _parts(self, count: int) -> list[tuple[int, int]]:
        step = max(HAND_OVER, -(-count // self.workers.parallel))
        return [(start, min(count, start + step)) for start in range(0, count, step)]

    def _seal_part(
        self, key: Any, epoch: int, counter: int, kind: int, views: tuple[memoryview, ...], positions: Any,
        start: int, end: int,
    ) -> None:  # fmt: skip
        addresses, source, places, sealed, entries = views
        if positions is None:
            source = source[start * BLOCK : end * BLOCK]
        else:
            positions = memoryview(positions)[start:end]
        self.cipher.seal_blocks(
            key, epoch, counter + start, kind, addresses[start:end], source, positions, places[start:end],
            sealed[start * BLOCK : end * BLOCK], entries[start * ENTRY_SIZE : end * ENTRY_SIZE],
        )  # fmt: skip

    # -- the device ----------------------------------------------------------------------

    async def write(self, places: Any, data: Any) -> None:
        """Write ``data``, a block to each of ``places``."""
        view = memoryview(data)
        count = len(places)
        runs = place_runs(places)
        for number, start in enumerate(runs):
            end = runs[number + 1] if number + 1 < len(runs) else count
            for first in range(start, end, REQUEST):
                last = min(end, first + REQUEST)
                await self.device.write(places[first], view[first * BLOCK : last * BLOCK])
            self._note(places[start], end - start)
        self.statistics.written += count
        self.statistics.writes += len(runs)

    def _note(self, first: int, count: int) -> None:
        """Blocks were written, and will not be written again: when there are many, the device may begin with them."""
        start = self._unflushed.pop(first, first)
        self._unflushed[first + count] = start
        self._unflushed_blocks += count
        if self._unflushed_blocks >= EARLY:
            for end, start in self._unflushed.items():
                if end - start >= REQUEST:
                    self.device.begin_writeback(start, end - start)
            self._forget_unflushed()

    def _forget_unflushed(self) -> None:
        self._unflushed.clear()
        self._unflushed_blocks = 0

    async def flush(self) -> None:
        """Make durable what was written."""
        self.statistics.flushes += 1
        self._forget_unflushed()
        await self.device.sync()

    # -- reading ------------------------------------------------------------------------

    async def read(self, kind: int, addresses: Any, entries: Any) -> tuple[bytearray, bytearray]:
        """The blocks behind ``entries``, and for each of them whether it is damaged (1; it reads as zeros).

        Holes are zeros. EIO when the device fails.
        """
        count = len(addresses)
        target, bad = bytearray(count * BLOCK), bytearray(count)
        runs = runs_of(entries, count)
        views = memoryview(addresses), memoryview(entries), memoryview(target), memoryview(bad)
        for number, start in enumerate(runs):
            end = runs[number + 1] if number + 1 < len(runs) else count
            place = ENTRY.unpack_from(entries, start * ENTRY_SIZE)[3]
            if not place:
                continue
            sealed = await self._fetch(place, end - start)
            self.statistics.read += end - start
            await self._open(kind, views, start, end, memoryview(sealed))
        return target, bad

    async def read_one(self, kind: int, address: int, entry: bytes) -> bytearray | None:
        """The block behind an entry that is no hole; None when it does not verify. EIO when the device fails."""
        tag, epoch, counter, place = ENTRY.unpack(entry)
        sealed = await self._fetch(place, 1)
        self.statistics.read += 1
        return self.cipher.open(self.keys.of(epoch), counter, purpose(kind, address), sealed, tag)

    async def read_sealed(self, entries: Any, count: int) -> bytearray:
        """The blocks behind ``entries`` as they are on the device, none of them a hole."""
        target = bytearray(count * BLOCK)
        runs = runs_of(entries, count)
        for number, start in enumerate(runs):
            end = runs[number + 1] if number + 1 < len(runs) else count
            sealed = await self._fetch(ENTRY.unpack_from(entries, start * ENTRY_SIZE)[3], end - start)
            target[start * BLOCK : end * BLOCK] = sealed
        self.statistics.read += count
        return target

    async def _fetch(self, place: int, count: int) -> bytes | bytearray | memoryview:
        """Blocks as they are on the device. EIO, also for an entry that leads behind its end."""
        if place + count > self.device.blocks:
            raise SyscallError(errno.EIO)
        sealed = await self.device.read(place, count)
        if len(sealed) != count * BLOCK:
            raise SyscallError(errno.EIO)
        return sealed

    async def _open(self, kind: int, views: tuple[memoryview, ...], start: int, end: int, sealed: memoryview) -> None:
        if end - start < HAND_OVER:
            self._open_part(kind, views, start, end, sealed)
            return
        jobs = [
            partial(self._open_part, kind, views, start + first, start + last, sealed[first * BLOCK : last * BLOCK])
            for first, last in self._parts(end - start)
        ]
        await self.workers.run(jobs)

    def _open_part(self, kind: int, views: tuple[memoryview, ...], start: int, end: int, sealed: memoryview) -> None:
        addresses, entries, target, bad = views
        addresses, entries = addresses[start:end], entries[start * ENTRY_SIZE : end * ENTRY_SIZE]
        target, answers = target[start * BLOCK : end * BLOCK], bytearray(b"\2" * (end - start))
        while (index := answers.find(2)) >= 0:
            epoch = ENTRY.unpack_from(entries, index * ENTRY_SIZE)[1]
            self.cipher.open_blocks(self.keys.of(epoch), epoch, kind, addresses, entries, sealed, target, answers)
        bad[start:end] = answers
