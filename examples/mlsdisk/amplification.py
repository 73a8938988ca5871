"""What the index costs: blocks written for each block that is overwritten at random, on disks of any size.

    python examples/mlsdisk/amplification.py [GIB ...]

The disk is a real one whose data blocks are not sealed and not kept, so that a terabyte needs no terabyte: everything
else (nodes, space map, journal, superblocks) is as always. Beside it, what an LSM tree with the same memory would write
by its usual estimate: each entry about ``FANOUT + 1`` times on each level.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from occlum_async.fs.block.memory import MemoryDevice
from occlum_async.fs.mlsdisk import MlsDisk
from occlum_async.fs.mlsdisk.blockio import SealedBlocks
from occlum_async.fs.mlsdisk.disk import DEFAULT_CACHE
from occlum_async.fs.mlsdisk.layout import DATA, ENTRY, ENTRY_SIZE, image_blocks

SIZES = (1, 5, 10, 20, 50, 100, 1000)
BLOCK, FULL = 4096, 0.8
LSM_ENTRY, LSM_FANOUT = 40, 10
ZEROS = bytes(BLOCK)

_seal = SealedBlocks.seal


async def seal_nodes_only(
    self: SealedBlocks, kind: int, addresses: Any, source: Any, positions: Any, places: Any
) -> Any:
    """``SealedBlocks.seal`` that leaves data as zeros, which the device does not keep."""
    if kind != DATA:
        return await _seal(self, kind, addresses, source, positions, places)
    _, epoch, counter = self.keys.take(len(addresses))
    entries = bytearray(len(addresses) * ENTRY_SIZE)
    for index, place in enumerate(places):
        ENTRY.pack_into(entries, index * ENTRY_SIZE, b"t" * 16, epoch, counter + index, place)
    return bytearray(len(addresses) * BLOCK), entries


def lsm_estimate(blocks: int) -> float:
    """Blocks that an LSM tree writes for one entry, with all of the memory as its memtable."""
    total = blocks * LSM_ENTRY
    levels = max(1, math.ceil(math.log(max(total / DEFAULT_CACHE, 1.01), LSM_FANOUT)))
    return (
        1 + (1 + levels * (LSM_FANOUT + 1)) * LSM_ENTRY / BLOCK if total > DEFAULT_CACHE else 1 + 2 * LSM_ENTRY / BLOCK
    )


async def measure(gib: int, writes: int) -> float:
    """Write amplification of random overwrites, 80 % of the disk being full, with a sync for each 64 MiB."""
    blocks = gib << 18
    disk = await MlsDisk.create(MemoryDevice(image_blocks(blocks, 0.05)), bytes(32), blocks=blocks)
    filled = int(blocks * FULL)
    # A part of them stands for all: what is overwritten at random costs the index the same wherever it lay.
    step = bytes(256 * BLOCK)
    for block in range(0, min(filled, 1 << 18), 256):
        await disk.write(block, step)
    await disk.checkpoint()
    before, chance = disk.stats(), random.Random(1)
    for number in range(writes):
        await disk.write(chance.randrange(filled), ZEROS)
        if number % 16384 == 16383:
            await disk.sync()
    await disk.checkpoint()
    after = disk.stats()
    await disk.abandon()
    written = sum(after[name] - before[name] for name in ("written", "journal_written", "superblocks_written"))
    return written / (after["user_written"] - before["user_written"])


def main() -> None:
    setattr(SealedBlocks, "seal", seal_nodes_only)  # noqa: B010
    table = Table("disk", "MlsDisk, measured", "LSM tree, estimated", title="write amplification")
    for gib in [int(argument) for argument in sys.argv[1:]] or SIZES:
        measured = asyncio.run(measure(gib, 1_600_000))
        table.add_row(f"{gib} GiB", f"{measured:.3f}", f"{lsm_estimate(gib << 18):.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
