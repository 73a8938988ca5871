"""Disks whose structures verify and are wrong, as one with the key could make them: errors, never a crash or a hang."""

from __future__ import annotations

import asyncio
import errno
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.errors import DiskError
from occlum_async.fs.block.device import BLOCK
from occlum_async.fs.mlsdisk import MlsDisk
from occlum_async.fs.mlsdisk.blockio import SealedBlocks
from occlum_async.fs.mlsdisk.cipher import numbers
from occlum_async.fs.mlsdisk.journal import Journal
from occlum_async.fs.mlsdisk.keys import Keys
from occlum_async.fs.mlsdisk.layout import ENTRY, ENTRY_SIZE, FANOUT, HOLE, INDEX, JOURNAL, SPACE, SUPERBLOCKS, Geometry
from occlum_async.fs.mlsdisk.recovery import _find_superblock
from occlum_async.fs.mlsdisk.stats import Statistics
from occlum_async.fs.mlsdisk.superblock import Header, Superblock, encode
from occlum_async.fs.mlsdisk.volume import Deltas
from occlum_async.fs.mlsdisk.workers import Workers
from occlum_async.sched.strand import Scheduler
from tests.crash.simulated import SimulatedDisk
from tests.crash.workload import CACHE, KEY

BLOCKS = 4000
SECONDS = 30  # that the work on one disk may take
WILD = (0, 1, 15, 16, 600, BLOCKS - 1, BLOCKS, BLOCKS + 1, 15376, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
WILDER = (*WILD, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


@pytest.fixture(scope="module")
def closed() -> SimulatedDisk:
    """A disk with something on it, without a journal."""

    async def make() -> SimulatedDisk:
        disk = SimulatedDisk(BLOCKS)
        mls = await MlsDisk.create(disk, KEY, cache=CACHE)
        chance = random.Random(1)
        for _ in range(150):
            await mls.write(chance.randrange(mls.blocks - 20), chance.randbytes(BLOCK) * chance.randrange(1, 20))
        await mls.close()
        return disk

    return asyncio.run(make())


class Forger:
    """Somebody with the key, at work on a disk that is not open."""

    def __init__(self, disk: SimulatedDisk, header: Header, keys: Keys, superblock: Superblock) -> None:
        self.disk, self.header, self.keys, self.superblock = disk, header, keys, superblock
        self._workers = Workers(Scheduler(asyncio.get_running_loop()))
        self._io = SealedBlocks(disk, keys, keys.cipher, self._workers, Statistics())

    @classmethod
    async def at(cls, disk: SimulatedDisk) -> Forger:
        return cls(disk, *await _find_superblock(disk, KEY))

    async def finish(self) -> None:
        """Write the superblock."""
        for place in SUPERBLOCKS:
            await self.disk.write(place, encode(self.superblock, self.keys, self.header))
        self._workers.close()

    async def node(self, lowest: int, chance: random.Random) -> None:
        """Change a node of a tree, and seal it and all above it anew."""
        geometry = self.superblock.geometry
        top = geometry.index_top if lowest == INDEX else geometry.space_top
        entry = self.superblock.index_root if lowest == INDEX else self.superblock.space_root
        path: list[tuple[int, int, int, bytearray]] = []  # kind, number, place, content
        number = 0
        for kind in range(top, chance.randrange(lowest, top + 1) - 1, -1):
            page, bad = await self._io.read(kind, numbers((number,)), entry)
            assert not any(bad)
            path.append((kind, number, ENTRY.unpack(entry)[3], page))
            below = [at for at in range(FANOUT) if page[at * ENTRY_SIZE : (at + 1) * ENTRY_SIZE] != HOLE]
            child = chance.choice(below)
            number, entry = number * FANOUT + child, bytes(page[child * ENTRY_SIZE : (child + 1) * ENTRY_SIZE])
        kind, number, _, page = path[-1]
        if kind > lowest and chance.random() < 0.4:
            # A child that verifies, where there is none.
            at = chance.randrange(FANOUT)
            content = bytearray(chance.choice((bytes(BLOCK), b"\xff" * BLOCK, bytes(page), chance.randbytes(BLOCK))))
            child, place = numbers((number * FANOUT + at,)), numbers((BLOCKS - 3,))
            sealed, entries = await self._io.seal(kind - 1, child, content, None, place)
            await self.disk.write(BLOCKS - 3, sealed)
            page[at * ENTRY_SIZE : (at + 1) * ENTRY_SIZE] = entries
        else:
            spoil(page, chance, space=lowest == kind == SPACE)
        for kind, number, place, page in reversed(path):
            sealed, entries = await self._io.seal(kind, numbers((number,)), page, None, numbers((place,)))
            await self.disk.write(place, sealed)
            if kind == top:
                name = "index_root" if lowest == INDEX else "space_root"
                self.superblock = replace(self.superblock, **{name: bytes(entries)})
            else:
                at = number % FANOUT * ENTRY_SIZE
                path[top - kind - 1][3][at : at + ENTRY_SIZE] = entries

    async def journal(self, chance: random.Random) -> None:
        """Let the journal say something."""
        deltas = Deltas()
        for _ in range(chance.randrange(1, 5)):
            count = chance.randrange(1, 4)
            entries = b"".join(
                ENTRY.pack(chance.randbytes(16), chance.choice(WILDER), chance.choice(WILD), chance.choice(WILD))
                for _ in range(count)
            )
            deltas.add(numbers(chance.choice(WILD) for _ in range(count)), entries)
            if chance.random() < 0.3:
                deltas.discard(chance.choice(WILD), chance.choice(WILD))
        journal = Journal(self.keys, self.superblock.geometry.journal, self.superblock.name)
        first, record = journal.append(deltas, chance.choice((1, self.superblock.counter + 1, (1 << 64) - 1)))
        await self.disk.write(JOURNAL + first, record)

    def fields(self, chance: random.Random) -> None:
        """Change some of what the superblock says."""
        superblock = self.superblock
        wilder = chance.choice(WILDER)
        geometry = superblock.geometry
        self.superblock = chance.choice(
            (
                replace(superblock, generation=wilder),
                replace(superblock, counter=wilder),
                replace(superblock, occupied=wilder),
                replace(superblock, reserve=chance.choice((float("nan"), float("inf"), -1.0, 0.0, 1e300))),
                replace(superblock, geometry=Geometry(geometry.image, wilder, geometry.journal)),
                replace(superblock, geometry=Geometry(wilder, geometry.blocks, geometry.journal)),
                replace(superblock, geometry=Geometry(geometry.image, geometry.blocks, wilder)),
                replace(superblock, index_root=superblock.space_root),
                replace(superblock, index_root=ENTRY.pack(bytes(16), wilder, 1, chance.choice(WILD))),
                replace(superblock, space_root=HOLE),
            )
        )


def spoil(page: bytearray, chance: random.Random, space: bool) -> None:
    """Change some of a node; of a page of the space map rather its numbers and bits."""
    for _ in range(chance.randrange(1, 6)):
        what = chance.random()
        at = chance.randrange(FANOUT) * ENTRY_SIZE
        if space and what < 0.5:
            at = chance.randrange(0, 16) * 8 if chance.random() < 0.5 else chance.randrange(BLOCK - 64)
            page[at : at + 8] = chance.choice(WILDER).to_bytes(8, "little")
        elif space:
            at = chance.randrange(BLOCK - 512)
            page[at : at + 512] = chance.choice((bytes(512), b"\xff" * 512, chance.randbytes(512)))
        elif what < 0.5:
            page[at + 28 : at + 32] = chance.choice(WILD).to_bytes(4, "little")
        elif what < 0.8:
            other = chance.randrange(FANOUT) * ENTRY_SIZE
            page[at : at + ENTRY_SIZE] = page[other : other + ENTRY_SIZE]
        else:
            page[at : at + ENTRY_SIZE] = chance.randbytes(ENTRY_SIZE)


async def use(disk: SimulatedDisk, seed: int) -> None:
    """Open it and do everything; what fails must fail as a device does."""
    chance = random.Random(seed)
    try:
        mls = await MlsDisk.open(disk, KEY, cache=CACHE)
    except DiskError:
        return
    for start in range(0, min(mls.blocks, 2 * BLOCKS), 256):
        try:
            await mls.read(start, min(256, mls.blocks - start))
        except SyscallError as error:
            assert error.errno == errno.EIO
    with suppress(SyscallError):
        await mls.check()
    for _ in range(12):
        start = chance.randrange(max(1, min(mls.blocks, BLOCKS) - 300))
        with suppress(SyscallError):
            await mls.write(start, bytes(chance.choice((1, 20, 300)) * BLOCK))
        with suppress(SyscallError):
            await (mls.discard(start, 50) if chance.random() < 0.3 else mls.sync())
    with suppress(SyscallError, DiskError):
        await mls._cleaner.clean(2)
    with suppress(SyscallError, DiskError):
        await mls.resize(mls.blocks + chance.choice((-100, 100)))
    with suppress(SyscallError):
        await mls.close()


async def forge_and_use(closed: SimulatedDisk, seed: int) -> None:
    chance = random.Random(seed)
    disk = SimulatedDisk(BLOCKS, closed.content)
    forger = await Forger.at(disk)
    what = seed % 4
    if what == 0:
        forger.fields(chance)
    elif what == 1:
        await forger.journal(chance)
    else:
        await forger.node((INDEX, SPACE)[what - 2], chance)
    await forger.finish()
    async with asyncio.timeout(SECONDS):
        await use(disk, seed)


async def forge_and_use_all(closed: SimulatedDisk, seeds: range, caplog: pytest.LogCaptureFixture) -> None:
    """What fails, or logs an oops, tells its seed."""
    for seed in seeds:
        try:
            await forge_and_use(closed, seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        assert "oops" not in caplog.text, f"seed {seed}"


@pytest.mark.parametrize("first", range(0, 80, 20))
async def test_structures_that_are_wrong(closed: SimulatedDisk, first: int, caplog: pytest.LogCaptureFixture) -> None:
    await forge_and_use_all(closed, range(first, first + 20), caplog)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_many_structures_that_are_wrong(closed: SimulatedDisk, caplog: pytest.LogCaptureFixture) -> None:
    await forge_and_use_all(closed, range(1000, 4000), caplog)
