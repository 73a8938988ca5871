"""MlsDisk after a crash: exactly the last sync, wherever it comes and whatever the host had written by then."""

from __future__ import annotations

import random
from array import array

import pytest

from occlum_async.fs.mlsdisk import MemoryCounter, MlsDisk
from occlum_async.fs.mlsdisk.space import Space
from tests.crash.simulated import Blocks, History, SimulatedDisk
from tests.crash.test_mlsdisk_attacks import needed_places
from tests.crash.workload import CACHE, KEY, Run, change, contents, fill, run

BLOCKS = 700


async def full(counter: MemoryCounter | None = None) -> tuple[SimulatedDisk, Blocks]:
    """A disk that is full, so that blocks are soon written over that were in use a moment ago; and what is on it."""
    disk = SimulatedDisk(BLOCKS)
    mls = await MlsDisk.create(disk, KEY, counter=counter, cache=CACHE)
    model = await fill(mls, random.Random(0))
    await mls.close()
    return SimulatedDisk(BLOCKS, disk.content), model


async def found(crashed: SimulatedDisk, happened: Run, position: int, thorough: bool, chance: random.Random) -> None:
    """Open what a crash left, compare, and go on with it."""
    mls = await MlsDisk.open(crashed, KEY, cache=CACHE, strict=True)
    state = await contents(mls)
    assert state in happened.allowed(position), f"after {position} operations"
    if thorough:
        report = await mls.check()
        assert report.whole and not report.leaked, report
        await change(mls, state, chance)
        await mls.sync()
        await mls.abandon()
        mls = await MlsDisk.open(crashed, KEY, cache=CACHE, strict=True)
        assert await contents(mls) == state
        assert (await mls.check()).whole
    await mls.abandon()


async def crash_everywhere(seed: int, steps: int, tries: int, every: int = 1) -> int:
    """Crash after each operation of a workload, in ``tries`` ways; how many disks were looked at."""
    disk, model = await full()
    before = dict(disk.content)
    happened = await run(disk, seed, steps, model)
    history = History(disk, before)
    looked = 0
    for position in range(0, len(disk.log) + 1, every):
        history.advance(position)
        states = [history.whole()]
        if history.pending:
            states.append(history.nothing())
            states.extend(history.crashed(random.Random(f"{seed} {position} {number}")) for number in range(tries))
        for number, state in enumerate(states):
            chance = random.Random(f"{seed} {position} {number}")
            await found(state, happened, position, chance.random() < 0.1, chance)
            looked += 1
    return looked


@pytest.mark.parametrize("seed", range(3))
async def test_a_crash_anywhere_leaves_the_last_sync(seed: int) -> None:
    assert await crash_everywhere(seed, 40, 2, every=3) > 100


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 112))
async def test_thousands_of_crashes(seed: int) -> None:
    assert await crash_everywhere(seed, 100, 8) > 1000


async def test_a_crash_while_it_is_opened() -> None:
    disk, model = await full()
    before = dict(disk.content)
    happened = await run(disk, 7, 30, model)
    last = happened.allowed(len(disk.log))
    history = History(disk, before)
    history.advance(len(disk.log))
    crashed = history.crashed(random.Random(7))
    durable = dict(crashed.content)
    await (await MlsDisk.open(crashed, KEY, cache=CACHE, strict=True)).abandon()
    again = History(crashed, durable)
    for position in range(len(crashed.log) + 1):
        again.advance(position)
        for number in range(4):
            mls = await MlsDisk.open(again.crashed(random.Random(f"{position} {number}")), KEY, cache=CACHE)
            assert await contents(mls) in last
            await mls.abandon()


async def test_nothing_that_is_needed_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a state is durable, no block is written that the state before needs, however soon it could be."""
    original = Space._take_from

    def first_fit(space: Space, segment: int, stream: int, want: int) -> array[int]:
        space._offset[stream] = 0
        return original(space, segment, stream, want)

    monkeypatch.setattr(Space, "_take_from", first_fit)
    for seed, checkpoints in ((1, 0.2), (2, 0.2), (3, 0.9), (4, 0.9)):
        disk, model = await full()
        before = dict(disk.content)
        await run(disk, seed, 120, model, checkpoints=checkpoints)
        history = History(disk, before)
        needed = await needed_places(history.nothing())
        for position, entry in enumerate(disk.log):
            if isinstance(entry, tuple):
                assert entry[0] not in needed, f"block {entry[0]} at {position}"
            else:
                history.advance(position + 1)
                needed = await needed_places(history.nothing())
