"""File-system blocks on a device of 4096-byte blocks.

Invariant: what is written to one block never changes its neighbours in the same block of the device.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...sched.mutex import Mutex
from ...sched.strand import CoroutineStrand, Scheduler
from ...sched.waitqueue import WaitQueue
from ..block.device import BLOCK, BlockDevice

Data = bytes | bytearray | memoryview

WRITERS = 8  # runs that are on their way to the device at the same time


class BlockIO:
    """Reads and writes runs of blocks of ``block_size`` bytes (1024, 2048 or 4096)."""

    def __init__(self, device: BlockDevice, block_size: int, scheduler: Scheduler) -> None:
        self.device = device
        self.block_size = block_size
        self.scheduler = scheduler
        self._ratio = BLOCK // block_size
        # Held while the edges of a run are read, joined with it and written: small blocks only.
        self._edges = Mutex()

    async def read(self, block: int, count: int) -> memoryview:
        """``count`` blocks from ``block`` on. EIO."""
        ratio = self._ratio
        if ratio == 1:
            return memoryview(await self.device.read(block, count))
        first, last = block // ratio, -(-(block + count) // ratio)
        data = memoryview(await self.device.read(first, last - first))
        start = (block - first * ratio) * self.block_size
        return data[start : start + count * self.block_size]

    async def write(self, block: int, data: Data) -> None:
        """Write whole blocks from ``block`` on. EIO, ENOSPC."""
        ratio = self._ratio
        count = len(data) // self.block_size
        if block % ratio == 0 and count % ratio == 0:
            await self.device.write(block // ratio, data)
            return
        first, last = block // ratio, -(-(block + count) // ratio)
        before = (block - first * ratio) * self.block_size
        after = before + len(data)
        async with self._edges.hold(self.scheduler):
            joined = bytearray((last - first) * BLOCK)
            if before:
                joined[:BLOCK] = await self.device.read(first, 1)
            if after % BLOCK and (last - first > 1 or not before):
                joined[-BLOCK:] = await self.device.read(last - 1, 1)
            joined[before:after] = data
            await self.device.write(first, joined)

    async def write_many(self, runs: Sequence[tuple[int, Data]]) -> None:
        """Write several runs that have no block in common, some at a time. The first error, when none is under way."""
        waiting = iter(runs)
        running = min(WRITERS, len(runs))
        failures: list[Exception] = []
        finished = WaitQueue()

        async def write() -> None:
            nonlocal running
            try:
                for block, data in waiting:
                    await self.write(block, data)
                    if failures:
                        break
            except Exception as error:
                failures.append(error)
            finally:
                running -= 1
                finished.wake()

        for _ in range(running):
            CoroutineStrand(self.scheduler, write()).step()
        while running:
            await finished.wait(self.scheduler, interruptible=False)
        if failures:
            raise failures[0]

    async def discard(self, block: int, count: int) -> None:
        """The content is no longer needed. Blocks of the device that hold others too are left alone."""
        first, last = -(-block // self._ratio), (block + count) // self._ratio
        if last > first:
            await self.device.discard(first, last - first)
