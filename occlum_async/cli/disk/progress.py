"""Progress bars: on a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...fs.block.device import BLOCK, BlockDevice


@contextmanager
def progress(title: str, total: float | None) -> Iterator[Callable[[int], None]]:
    """A bar of bytes (``total`` None: nobody knows how many); call the result with how many more were done."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


class Counted(BlockDevice):
    """A device that tells how many bytes are written to it."""

    def __init__(self, device: BlockDevice, told: Callable[[int], None]) -> None:
        self.device = device
        self.told = told
        self.blocks = device.blocks
        self.read_only = device.read_only
        self.atomic_sync = device.atomic_sync

    async def read(self, block: int, count: int) -> bytes | bytearray | memoryview:
        return await self.device.read(block, count)

    async def write(self, block: int, data: bytes | bytearray | memoryview) -> None:
        await self.device.write(block, data)
        self.told(len(data))

    async def discard(self, block: int, count: int) -> None:
        await self.device.discard(block, count)
        self.told(count * BLOCK)

    def begin_writeback(self, block: int, count: int) -> None:
        self.device.begin_writeback(block, count)

    async def sync(self) -> None:
        await self.device.sync()

    async def sync_telling(self, settled: Callable[[], None]) -> None:
        await self.device.sync_telling(settled)

    async def close(self) -> None:
        await self.device.close()
