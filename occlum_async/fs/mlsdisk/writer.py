"""The way of written blocks: gathered, sealed in batches, written, and then referred to.

Invariant: batches become visible in the index in the order in which they began, each only after the device has taken
its blocks. Until then a block is read from where it is gathered, or its batch is waited for.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from ...abi.errors import SyscallError
from ...sched.strand import Scheduler
from ...sched.waitqueue import WaitQueue
from ..block.device import BLOCK
from .cipher import numbers
from .layout import DATA
from .memory import private, wipe
from .space import HOT
from .volume import Volume
from .workers import let_others_go_on

log = logging.getLogger(__name__)

T = TypeVar("T")

STAGE = 1024  # blocks that are gathered before they are sealed together
SMALL = 16  # blocks; more of them are sealed where they are, without a copy
PIECE = 256  # blocks of a large write that are sealed together
IN_FLIGHT = 4096  # blocks under way at most
SPARE_STAGES = 3
RELIEFS = 4


class Batch:
    """Blocks on their way. ``members`` are their addresses."""

    __slots__ = ("addresses", "members", "positions", "sealed", "source")

    def __init__(self, addresses: Any, members: Any, source: Any, positions: Any) -> None:
        self.addresses = addresses
        self.members = members
        self.source = source
        self.positions = positions
        self.sealed = False


class Writer:
    """Takes blocks for one volume. After an error nothing more is taken."""

    def __init__(self, scheduler: Scheduler, volume: Volume) -> None:
        self._scheduler = scheduler
        self.volume = volume
        self.error = 0
        self.lost: set[int] = set()
        self.queue = WaitQueue()  # woken whenever something of what is below changes
        self._stage: dict[int, int] = {}
        self._memory = private(STAGE * BLOCK)
        self._view = memoryview(self._memory)
        self._spare: list[mmap.mmap] = []
        self._batches: list[Batch] = []
        self._blocks = 0  # in batches
        self.promised = 0  # blocks that were taken and have no place yet, or may be without asking
        self._credit = 0  # of these, those that may be
        self._closed = False
        self._guests = 0
        self.started: Callable[[], None] | None = None  # called for each batch
        self._piece = max(SMALL, min(PIECE, volume.geometry.data // 10))
        # Commits early when there is no room else, if there is anything to commit; None: ENOSPC instead.
        self.relieve: Callable[[], Awaitable[bool]] | None = None

    @property
    def busy(self) -> bool:
        """Whether a read may meet a block that is on its way, or was lost."""
        return bool(self._batches or self.lost)

    @property
    def under_way(self) -> bool:
        """Whether there are blocks that were taken and are not visible in the index."""
        return bool(self._stage or self._batches)

    @property
    def gathered_any(self) -> bool:
        """Whether there are blocks that have not begun their way."""
        return bool(self._stage)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds, or an error has ended everything."""
        while not (condition() or self.error):
            await self.queue.wait(self._scheduler, interruptible=False)

    def _check(self) -> None:
        if self.error:
            raise SyscallError(errno.EROFS)

    # -- taking ---------------------------------------------------------------------------

    async def write(self, address: int, data: memoryview) -> None:
        """Take whole blocks; ENOSPC, EROFS."""
        count = len(data) // BLOCK
        if count <= SMALL:
            await self._gather(address, count, data)
            return
        for start in range(0, count, self._piece):
            piece = min(self._piece, count - start)
            await self._send(address + start, piece, data[start * BLOCK : (start + piece) * BLOCK])

    def take(self, address: int, data: Any) -> bool:
        """Take one block if that needs no waiting; False when ``write`` has to."""
        stage = self._stage
        position = stage.get(address)
        if position is None:
            if not self._credit:
                return False
            self._credit -= 1
            stage[address] = position = len(stage)
        elif self.error:
            return False
        start = position * BLOCK
        self._memory[start : start + BLOCK] = data
        if position == STAGE - 1 and self._may_start(STAGE):
            self.send_stage()
        return True

    async def _gather(self, address: int, count: int, data: memoryview) -> None:
        while True:
            self._check()
            stage = self._stage
            if len(stage) + count > STAGE:
                await self._make_stage(count)
                continue
            new = sum(address + index not in stage for index in range(count))
            if new <= self._credit or self._get_credit(new):
                break
            await self._relieve(new)
        self._credit -= new
        for index in range(count):
            position = stage.setdefault(address + index, len(stage))
            self._view[position * BLOCK : (position + 1) * BLOCK] = data[index * BLOCK : (index + 1) * BLOCK]
        if len(stage) == STAGE and self._may_start(STAGE):
            self.send_stage()

    def _get_credit(self, count: int) -> bool:
        """Set room aside for what will be gathered: for all of the stage, or at least for ``count`` more blocks."""
        for wanted in (STAGE - len(self._stage) - self._credit, count - self._credit):
            if self._promise(wanted):
                self._credit += wanted
                return True
        return False

    def _drop_credit(self) -> None:
        self.promised -= self._credit
        self._credit = 0

    def _promise(self, count: int) -> bool:
        """Set room aside; False when there is not enough."""
        if self.volume.room(self.promised) < count:
            return False
        self.promised += count
        return True

    async def _relieve(self, count: int) -> None:
        """Make room: a commit gives back what the state before it needed. ENOSPC when that does not help."""
        for _ in range(RELIEFS):  # others may take the room that a commit makes
            if self.relieve is None or not await self.relieve():
                break
            if self.volume.room(self.promised) >= count:
                return
        raise SyscallError(errno.ENOSPC)

    def _may_start(self, count: int) -> bool:
        return not self._closed and (not self._blocks or self._blocks + count <= IN_FLIGHT)

    async def _make_stage(self, count: int) -> None:
        while len(self._stage) + count > STAGE and not self.error:
            if self._may_start(len(self._stage)):
                self.send_stage()
            else:
                await self.queue.wait(self._scheduler, interruptible=False)

    async def _send(self, address: int, count: int, data: memoryview) -> None:
        await self.until(lambda: self._may_start(count))
        self._check()
        while not self._promise(count):
            await self._relieve(count)
            await self.until(lambda: self._may_start(count))
            self._check()
        self.forget(address, count)
        addresses = numbers(range(address, address + count))
        batch = self._start(Batch(addresses, range(address, address + count), data, None))
        await self.until(lambda: batch.sealed)
        self._check()

    def forget(self, address: int, count: int) -> None:
        """Drop gathered blocks that are about to be overwritten or discarded."""
        stage = self._stage
        if not stage or stage.keys().isdisjoint(range(address, address + count)):
            return
        kept = [one for one in stage if not address <= one < address + count]
        self.promised -= len(stage) - len(kept)
        fresh = self._new_memory()
        view = memoryview(fresh)
        for index, one in enumerate(kept):
            start = stage[one] * BLOCK
            view[index * BLOCK : (index + 1) * BLOCK] = self._view[start : start + BLOCK]
        self._retire(self._memory)
        self._memory, self._view = fresh, view
        self._stage = {one: index for index, one in enumerate(kept)}

    # -- batches ------------------------------------------------------------------------------

    def send_stage(self) -> None:
        """Let what was gathered go on its way."""
        self._drop_credit()
        if not self._stage:
            return
        stage, memory = self._stage, self._memory
        self._stage = {}
        self._memory = self._new_memory()
        self._view = memoryview(self._memory)
        ordered = sorted(stage)
        positions = numbers([stage[address] for address in ordered])
        self._start(Batch(numbers(ordered), stage.keys(), memory, positions))

    def _new_memory(self) -> mmap.mmap:
        return self._spare.pop() if self._spare else private(STAGE * BLOCK)

    def _retire(self, memory: mmap.mmap) -> None:
        if len(self._spare) < SPARE_STAGES:
            self._spare.append(memory)

    def _start(self, batch: Batch) -> Batch:
        self._batches.append(batch)
        self._blocks += len(batch.addresses)
        self._scheduler.spawn(self._run(batch))
        if self.started is not None:
            self.started()
        return batch

    async def _run(self, batch: Batch) -> None:
        visible = False
        try:
            visible = await self._carry(batch)
        except SyscallError as error:
            self.fail(error)
        except Exception as error:
            log.exception("oops: a batch of blocks could not be written")
            self.fail(error)
        finally:
            if not visible:
                self.lost.update(batch.members)
            self._batches.remove(batch)
            self._blocks -= len(batch.addresses)
            if isinstance(batch.source, mmap.mmap):
                self._retire(batch.source)
            self.queue.wake()

    async def _carry(self, batch: Batch) -> bool:
        """Take a batch all its way; False when it was given up, because of an earlier error."""
        volume = self.volume
        count = len(batch.addresses)
        async with volume.lock():
            places = await volume.space.take(count, batch.addresses, HOT)
            self.promised -= count
        sealed, entries = await volume.io.seal(DATA, batch.addresses, batch.source, batch.positions, places)
        batch.sealed = True
        self.queue.wake()
        # Whoever waited for that may now hand over more to be sealed while the host takes this.
        await let_others_go_on(self._scheduler)
        await volume.io.write(places, sealed)
        volume.io.done_with(sealed)
        volume.io.statistics.data_written += count
        await self.until(lambda: self._batches[0] is batch)
        if self.error:
            return False
        async with volume.lock():
            await volume.apply(batch.addresses, entries)
        return True

    def fail(self, error: BaseException) -> None:
        """Take nothing more: what was written since the last sync is lost."""
        self._drop_credit()
        if not self.error:
            self.error = error.errno if isinstance(error, SyscallError) else errno.EIO
            log.error("mlsdisk: read-only from now on: %s", error)
        self.queue.wake()

    # -- waiting for them -----------------------------------------------------------------------

    def gathered(self, address: int, count: int) -> list[tuple[int, bytes]]:
        """Those of the blocks that are gathered: (index, content)."""
        stage = self._stage
        if not stage:
            return []
        if count == 1:
            found = [0] if address in stage else []
        elif stage.keys().isdisjoint(range(address, address + count)):
            return []
        else:
            found = [index for index in range(count) if address + index in stage]
        view = self._view
        return [
            (index, bytes(view[stage[address + index] * BLOCK : (stage[address + index] + 1) * BLOCK]))
            for index in found
        ]

    def _concerns(self, batch: Batch, address: int, count: int) -> bool:
        members = batch.members
        if isinstance(members, range):
            return bool(address < members.stop and members.start < address + count)
        return address in members if count == 1 else not members.isdisjoint(range(address, address + count))

    async def settled(self, address: int, count: int) -> None:
        """Wait for batches that write any of these blocks. EIO for one that was lost."""
        while self._batches:
            mine = [batch for batch in self._batches if self._concerns(batch, address, count)]
            if not mine:
                break
            await self.queue.wait(self._scheduler, interruptible=False)
        if self.lost and not self.lost.isdisjoint(range(address, address + count)):
            raise SyscallError(errno.EIO)

    async def close_gate(self) -> None:
        """Let everything that was taken become visible, and let nothing else begin until ``open_gate``."""
        assert not self._closed, "two commits at a time"
        self.send_stage()
        self._closed = True
        await self.until(lambda: not (self._batches or self._guests))

    @contextlib.asynccontextmanager
    async def inside(self) -> AsyncIterator[None]:
        """Change the volume by other means: no commit comes between the begin and the end."""
        await self.until(lambda: not self._closed)
        self._check()
        self._guests += 1
        try:
            yield
        finally:
            self._guests -= 1
            self.queue.wake()

    async def discard(self, address: int, count: int) -> None:
        """Let blocks be holes."""

        async def work() -> None:
            async with self.inside():
                self.forget(address, count)
                await self.settled(address, count)
                async with self.volume.lock():
                    await self._change(self.volume.discard(address, count))

        await self.to_its_end(work())

    async def to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that must not be left half done, whatever becomes of whoever waits for it."""
        results: list[T] = []
        errors: list[Exception] = []

        async def run() -> None:
            try:
                results.append(await work)
            except Exception as error:
                errors.append(error)
            self.queue.wake()

        self._scheduler.spawn(run())
        while not (results or errors):
            await self.queue.wait(self._scheduler, interruptible=False)
        if errors:
            raise errors[0]
        return results[0]

    async def _change(self, change: Awaitable[None]) -> None:
        """An error in the middle of a change leaves it half done: nothing more is taken, as after one in writing."""
        try:
            await change
        except Exception as error:
            self.fail(error)
            raise

    async def until_idle(self) -> None:
        """Wait for all that is under way, whether it goes well or not."""
        while self._batches or self._guests:
            await self.queue.wait(self._scheduler, interruptible=False)

    def open_gate(self) -> None:
        """Go on."""
        self._closed = False
        self.queue.wake()
        if len(self._stage) == STAGE and self._may_start(STAGE):
            self.send_stage()

    def close(self) -> None:
        """Leave nothing in memory."""
        for memory in (self._memory, *self._spare):
            wipe(memory)
        self._stage.clear()
