"""How fast MlsDisk is by itself, without a file system and without a LibOS.

    python examples/mlsdisk/bench.py [--size 1g] [--image FILE] [--rounds 3] [--json FILE]

Every round makes a new disk in FILE and takes all figures; the best of the rounds is shown (and all of them are in the
JSON). "Cold" is the disk opened anew: its nodes are read and verified again; what the host has cached stays cached.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from occlum_async.fs.block.device import BlockDevice
from occlum_async.fs.mlsdisk import MlsDisk

BLOCK = 4096
MEGABYTE = 256  # blocks
KEY = bytes(range(32))
SUFFIXES = {"k": 10, "m": 20, "g": 30}

# Name, unit, whether more is better.
FIGURES = {
    "sequential write, 1 MiB, the host taken away": "MB/s",
    "random write, 4 KiB, the host taken away": "1/s",
    "sequential write, 1 MiB": "MB/s",
    "sequential read, 1 MiB": "MB/s",
    "random write, 4 KiB, buffered": "1/s",
    "random write, 4 KiB, synced at the end": "MB/s",
    "random read, 4 KiB, cold": "1/s",
    "random read, 4 KiB, warm": "1/s",
    "write 4 KiB and sync": "1/s",
    "opening": "ms",
    "write amplification, random, 80 % full": "x",
}


def size_of(text: str) -> int:
    """Bytes of "512m", "1g"."""
    shift = SUFFIXES.get(text[-1:].lower(), 0)
    return int(text[:-1] if shift else text) << shift


class NoHost(BlockDevice):
    """Takes everything and keeps nothing: what is left is the disk's own work."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks

    async def read(self, block: int, count: int) -> bytes:
        return bytes(count * BLOCK)

    async def write(self, block: int, data: bytes | bytearray | memoryview) -> None:
        pass

    async def discard(self, block: int, count: int) -> None:
        pass

    async def sync(self) -> None:
        pass

    async def close(self) -> None:
        pass


async def timed(action: Callable[[], Awaitable[object]]) -> float:
    """Seconds."""
    start = time.perf_counter()
    await action()
    return time.perf_counter() - start


class Round:
    """One disk, and its figures."""

    def __init__(self, image: Path, blocks: int, seed: int) -> None:
        self.image = image
        self.blocks = blocks
        self.chance = random.Random(seed)
        self.figures: dict[str, float] = {}

    async def run(self) -> dict[str, float]:
        """Take all figures."""
        with contextlib.suppress(FileNotFoundError):
            self.image.unlink()
        await self.alone()
        disk = await MlsDisk.create(self.image, KEY, blocks=self.blocks)
        filled = self.blocks * 8 // 10 // MEGABYTE * MEGABYTE
        await self.fill(disk, filled)
        await disk.close()
        disk = await self.cold(filled)
        await self.reads(disk, filled)
        await self.small_writes(disk, filled)
        await disk.close()
        self.image.unlink()
        return self.figures

    async def alone(self) -> None:
        disk = await MlsDisk.create(NoHost(self.blocks * 5 // 4), KEY, blocks=self.blocks)
        data = os.urandom(MEGABYTE * BLOCK)

        async def large() -> None:
            for block in range(0, self.blocks - MEGABYTE, MEGABYTE):
                await disk.write(block, data)
            await disk.sync()

        self.figures["sequential write, 1 MiB, the host taken away"] = self.blocks * BLOCK / 1e6 / await timed(large)
        blocks = [self.chance.randrange(self.blocks) for _ in range(100_000)]
        small = data[:BLOCK]

        async def scattered() -> None:
            for block in blocks:
                await disk.write(block, small)
            await disk.sync()

        self.figures["random write, 4 KiB, the host taken away"] = len(blocks) / await timed(scattered)
        await disk.abandon()

    async def fill(self, disk: MlsDisk, filled: int) -> None:
        data = os.urandom(MEGABYTE * BLOCK)

        async def write() -> None:
            for block in range(0, filled, MEGABYTE):
                await disk.write(block, data)
            await disk.sync()

        # The host's file gets its blocks now; what is measured is the second time.
        await write()
        self.figures["sequential write, 1 MiB"] = filled * BLOCK / 1e6 / await timed(write)

    async def cold(self, filled: int) -> MlsDisk:
        start = time.perf_counter()
        disk = await MlsDisk.open(self.image, KEY)
        self.figures["opening"] = (time.perf_counter() - start) * 1000
        count = min(20000, filled)
        blocks = [self.chance.randrange(filled) for _ in range(count)]

        async def read() -> None:
            for block in blocks:
                await disk.read(block, 1)

        self.figures["random read, 4 KiB, cold"] = count / await timed(read)
        self.figures["random read, 4 KiB, warm"] = count / await timed(read)
        return disk

    async def reads(self, disk: MlsDisk, filled: int) -> None:
        async def read() -> None:
            for block in range(0, filled, MEGABYTE):
                await disk.read(block, MEGABYTE)

        self.figures["sequential read, 1 MiB"] = filled * BLOCK / 1e6 / await timed(read)

    async def small_writes(self, disk: MlsDisk, filled: int) -> None:
        before = disk.stats()
        data = [os.urandom(BLOCK) for _ in range(16)]
        count = min(filled, 100_000)
        blocks = [self.chance.randrange(filled) for _ in range(count)]
        start = time.perf_counter()
        for number, block in enumerate(blocks):
            await disk.write(block, data[number & 15])
        self.figures["random write, 4 KiB, buffered"] = count / (time.perf_counter() - start)
        await disk.sync()
        self.figures["random write, 4 KiB, synced at the end"] = count * BLOCK / 1e6 / (time.perf_counter() - start)
        # Once more through the whole, so that the log has to find its way between what is there.
        for start_block in range(0, filled, count):
            for number in range(min(count, filled - start_block)):
                await disk.write(self.chance.randrange(filled), data[number & 15])
            await disk.sync()
        await disk.checkpoint()
        after = disk.stats()
        written = sum(after[name] - before[name] for name in ("written", "journal_written", "superblocks_written"))
        asked = after["user_written"] - before["user_written"]
        self.figures["write amplification, random, 80 % full"] = written / asked
        count = 200

        async def write_and_sync() -> None:
            for block in blocks[:count]:
                await disk.write(block, data[0])
                await disk.sync()

        self.figures["write 4 KiB and sync"] = count / await timed(write_and_sync)


def best(rounds: list[dict[str, float]], name: str) -> float:
    """The best of all rounds."""
    values = [figures[name] for figures in rounds]
    return min(values) if FIGURES[name] in ("ms", "x") else max(values)


def main() -> None:
    parser = argparse.ArgumentParser(description="MlsDisk's figures")
    parser.add_argument("--size", type=size_of, default=1 << 30)
    parser.add_argument("--image", type=Path, default=Path(tempfile.gettempdir()) / "bench.mls")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-uvloop", action="store_true")
    options = parser.parse_args()
    runner = asyncio.Runner()
    if not options.no_uvloop:
        with contextlib.suppress(ImportError):
            import uvloop

            runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    rounds = []
    with runner:
        for number in range(options.rounds):
            rounds.append(runner.run(Round(options.image, options.size // BLOCK, number).run()))
    table = Table("figure", "best", "unit", title=f"MlsDisk, {options.size >> 20} MiB, {options.rounds} rounds")
    for name, unit in FIGURES.items():
        value = best(rounds, name)
        table.add_row(name, f"{value:,.0f}" if value >= 100 else f"{value:.3g}", unit)
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"size": options.size, "rounds": rounds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
