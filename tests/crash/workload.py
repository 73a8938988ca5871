"""A random workload on an MlsDisk, with a model of what each sync made durable."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.block.device import BLOCK
from occlum_async.fs.mlsdisk import MlsDisk, TrustedCounter
from occlum_async.sched.strand import Scheduler
from tests.crash.simulated import EMPTY, Blocks, SimulatedDisk

KEY = bytes(range(32))
CACHE = 1 << 20


@dataclass
class Run:
    """What happened, by positions in the disk's log.

    ``versions`` are the contents after each change, ``begun`` where each change began. ``syncs`` are where one began
    and ended, and how many changes had come back when it was called.
    """

    disk: SimulatedDisk
    versions: list[Blocks]
    begun: list[int] = field(default_factory=lambda: [0])
    syncs: list[tuple[int, int, int]] = field(default_factory=lambda: [(0, 0, 0)])

    def allowed(self, position: int) -> list[Blocks]:
        """The states that may be found when the machine stops after ``position`` operations."""
        first = max(version for _, end, version in self.syncs if end <= position)
        if all(begin >= position for begin, end, _ in self.syncs if end > position):
            # Nothing is under way: it is the state of a sync that has come back, to within what ran beside it.
            ended = [end for _, end, _ in self.syncs if end <= position]
            last = max(number for number, begin in enumerate(self.begun) if begin <= max(ended))
        else:
            last = max(number for number, begin in enumerate(self.begun) if begin <= position)
        return self.versions[first : last + 1]


def content(chance: random.Random) -> bytes:
    return chance.randbytes(16) * (BLOCK // 16)


async def fill(disk: MlsDisk, chance: random.Random) -> Blocks:
    """Write every block; what is on it now."""
    model = {block: content(chance) for block in range(disk.blocks)}
    for block, data in model.items():
        await disk.write(block, data)
    return model


async def change(
    disk: MlsDisk, model: Blocks, chance: random.Random, sync: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Write or discard something; with a sync before when there is no room else."""
    count = min(chance.choice((1, 1, 1, 2, 5, 17, 40)), disk.blocks)
    # A few blocks are written again and again.
    first = chance.randrange(8) if chance.random() < 0.3 else chance.randrange(disk.blocks - count + 1)
    if chance.random() < 0.15:
        await disk.discard(first, count)
        for block in range(first, first + count):
            model.pop(block, None)
        return
    pieces = [content(chance) for _ in range(count)]
    try:
        await disk.write(first, b"".join(pieces))
    except SyscallError as error:
        if error.errno != errno.ENOSPC:
            raise
        await (sync or disk.sync)()
        await disk.write(first, b"".join(pieces))
    model.update(zip(range(first, first + count), pieces, strict=True))


async def run(
    disk: SimulatedDisk, seed: int, steps: int, model: Blocks, counter: TrustedCounter | None = None,
    checkpoints: float = 0.35,
) -> Run:  # fmt: skip
    """Open the disk, change and sync it at random, and leave it open as a crash would."""
    chance = random.Random(seed)
    scheduler = Scheduler(asyncio.get_running_loop())
    mls = await MlsDisk.open(disk, KEY, counter=counter, cache=CACHE, scheduler=scheduler, strict=True)
    result = Run(disk, [dict(model)])
    disk.scheduler, disk.chance = scheduler, random.Random(seed)
    syncs: list[asyncio.Task[None]] = []

    async def sync(checkpoint: bool = False) -> None:
        begin, version = len(disk.log), len(result.versions) - 1
        await (mls.checkpoint if checkpoint else mls.sync)()
        result.syncs.append((begin, len(disk.log), version))

    for _ in range(steps):
        if chance.random() < 0.25:
            syncs.append(asyncio.create_task(sync(chance.random() < checkpoints)))
            if chance.random() < 0.5:
                await asyncio.gather(*syncs)
            else:
                await asyncio.sleep(0)
        else:
            result.begun.append(len(disk.log))
            version = dict(result.versions[-1])
            await change(mls, version, chance, sync)
            result.versions.append(version)
    await asyncio.gather(*syncs)
    await mls.abandon()
    return result


async def contents(disk: MlsDisk) -> Blocks:
    """Everything that is on it, without the holes."""
    found: Blocks = {}
    for first in range(0, disk.blocks, 256):
        count = min(256, disk.blocks - first)
        data = bytes(await disk.read(first, count))
        for index in range(count):
            piece = data[index * BLOCK : (index + 1) * BLOCK]
            if piece != EMPTY:
                found[first + index] = piece
    return found


async def refused(disk: MlsDisk, first: int) -> bool:
    """Whether a block can't be read."""
    try:
        await disk.read(first, 1)
    except SyscallError:
        return True
    return False
