"""A random workload on an MlsDisk, with a model of what each sync made durable."""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass, field

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.block.device import BLOCK
from occlum_async.fs.mlsdisk import MlsDisk, TrustedCounter
from tests.crash.simulated import EMPTY, Blocks, SimulatedDisk

KEY = bytes(range(32))
CACHE = 1 << 20


@dataclass
class Run:
    """What happened: ``syncs`` has, for each sync that came back, where its log began and ended, and the state."""

    disk: SimulatedDisk
    syncs: list[tuple[int, int, Blocks]] = field(default_factory=list)

    def allowed(self, position: int) -> list[Blocks]:
        """The states that may be found when the machine stops after ``position`` operations."""
        states = [self.syncs[0][2]]
        for begin, end, state in self.syncs:
            if end <= position:
                states = [state]
            elif begin < position:
                states.append(state)
        return states


def content(chance: random.Random) -> bytes:
    return chance.randbytes(16) * (BLOCK // 16)


async def change(disk: MlsDisk, model: Blocks, chance: random.Random) -> bool:
    """Write or discard something; False when it took a sync to find room."""
    count = min(chance.choice((1, 1, 1, 2, 5, 17, 40)), disk.blocks)
    # A few blocks are written again and again.
    first = chance.randrange(8) if chance.random() < 0.3 else chance.randrange(disk.blocks - count + 1)
    if chance.random() < 0.15:
        await disk.discard(first, count)
        for block in range(first, first + count):
            model.pop(block, None)
        return True
    pieces = [content(chance) for _ in range(count)]
    roomy = True
    try:
        await disk.write(first, b"".join(pieces))
    except SyscallError as error:
        assert error.errno == errno.ENOSPC
        roomy = False
        await disk.sync()
        await disk.write(first, b"".join(pieces))
    model.update(zip(range(first, first + count), pieces, strict=True))
    return roomy


async def run(
    disk: SimulatedDisk, seed: int, steps: int, counter: TrustedCounter | None = None, model: Blocks | None = None
) -> Run:
    """Open the disk, change and sync it at random, and leave it open as a crash would."""
    chance = random.Random(seed)
    mls = await MlsDisk.open(disk, KEY, counter=counter, cache=CACHE)
    model = {} if model is None else dict(model)
    result = Run(disk, [(0, 0, dict(model))])
    for _ in range(steps):
        if chance.random() < 0.25:
            begin = len(disk.log)
            await (mls.checkpoint if chance.random() < 0.15 else mls.sync)()
            result.syncs.append((begin, len(disk.log), dict(model)))
            continue
        begin, state = len(disk.log), dict(model)
        if not await change(mls, model, chance):
            result.syncs.append((begin, len(disk.log), state))
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
