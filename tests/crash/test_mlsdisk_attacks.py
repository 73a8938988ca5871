"""The host changes the image: each change is noticed, and nothing is ever read that was not written there last."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from occlum_async.errors import DiskError
from occlum_async.fs.mlsdisk import MemoryCounter, MlsDisk
from occlum_async.fs.mlsdisk.check import Checker
from tests.crash.simulated import EMPTY, Blocks, History, SimulatedDisk
from tests.crash.workload import CACHE, KEY, change, content, contents, refused, run

BLOCKS = 600

Attack = Callable[[Blocks, int, random.Random], bytes]


def flip(image: Blocks, block: int, chance: random.Random) -> bytes:
    data = bytearray(image[block])
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def zero(image: Blocks, block: int, chance: random.Random) -> bytes:
    return EMPTY


def swap(image: Blocks, block: int, chance: random.Random) -> bytes:
    return image[chance.choice([other for other in image if image[other] != image[block]])]


async def used_disk() -> tuple[SimulatedDisk, SimulatedDisk, Blocks]:
    """A disk that was closed in order, the same disk some time before, and its contents."""
    disk = SimulatedDisk(BLOCKS)
    mls = await MlsDisk.create(disk, KEY, cache=CACHE)
    chance = random.Random(5)
    model: Blocks = {}
    older = SimulatedDisk(BLOCKS)
    for step in range(60):
        await change(mls, model, chance)
        if step % 6 == 0:
            await mls.sync()
        if step == 40:
            await mls.checkpoint()
            older = SimulatedDisk(BLOCKS, disk.content)
    await mls.close()
    return SimulatedDisk(BLOCKS, disk.content), older, model


async def needed_places(disk: SimulatedDisk) -> set[int]:
    """The blocks of the image that the disk's last state needs, besides superblocks and journal."""
    mls = await MlsDisk.open(disk, KEY, cache=CACHE, read_only=True)
    checker = Checker(mls._volume)
    assert (await checker.run()).whole
    await mls.abandon()
    return {place for place in range(disk.blocks) if checker.referred[place // 8] >> place % 8 & 1}


async def noticed(image: SimulatedDisk, model: Blocks) -> bool:
    """Whether the change is noticed by opening or by ``check``. What can be read must be right in any case."""
    try:
        mls = await MlsDisk.open(image, KEY, cache=CACHE)
    except DiskError:
        return True
    report = await mls.check()
    bad = {block for first, count in report.bad_blocks for block in range(first, first + count)}
    for block in range(mls.blocks):
        if block in bad:
            assert await refused(mls, block)
        else:
            assert await mls.read(block, 1) == model.get(block, EMPTY), f"block {block}"
    await mls.abandon()
    return not report.whole


async def attack_all(attack: Attack, every: int) -> None:
    disk, _, model = await used_disk()
    needed = await needed_places(disk)
    assert len(needed) > 100
    for place in sorted(needed)[::every]:
        image = SimulatedDisk(BLOCKS, disk.content)
        image.content[place] = attack(image.content, place, random.Random(place))
        assert await noticed(image, model), f"place {place}"
    for place in sorted(disk.content.keys() - needed)[::every]:
        image = SimulatedDisk(BLOCKS, disk.content)
        image.content[place] = attack(image.content, place, random.Random(place))
        await noticed(image, model)  # of no importance, and so without any effect


@pytest.mark.parametrize("attack", [flip, zero, swap])
async def test_changed_blocks_are_noticed(attack: Attack) -> None:
    await attack_all(attack, 9)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [flip, zero, swap])
async def test_every_changed_block_is_noticed(attack: Attack) -> None:
    await attack_all(attack, 1)


async def test_older_versions_of_single_blocks_are_noticed() -> None:
    disk, older, model = await used_disk()
    needed = await needed_places(disk)
    tried = 0
    for place in sorted(needed):
        if older.content.get(place, EMPTY) != disk.content[place]:
            image = SimulatedDisk(BLOCKS, disk.content)
            image.content[place] = older.content.get(place, EMPTY)
            assert await noticed(image, model), f"place {place}"
            tried += 1
    assert tried > 20


@pytest.mark.parametrize("copy", [0, 15])
async def test_one_superblock_is_enough_and_the_other_is_missed(copy: int, caplog: pytest.LogCaptureFixture) -> None:
    disk, older, model = await used_disk()
    for damage in (flip(disk.content, copy, random.Random(1)), EMPTY, older.content[copy]):
        image = SimulatedDisk(BLOCKS, disk.content)
        image.content[copy] = damage
        mls = await MlsDisk.open(image, KEY, cache=CACHE)
        assert await contents(mls) == model
        await mls.close()
    assert "superblock copy" in caplog.text


async def test_both_superblocks_gone_is_refused_and_left_alone() -> None:
    disk, _, _ = await used_disk()
    for damage in ("flip", "zero"):
        image = SimulatedDisk(BLOCKS, disk.content)
        for copy in (0, 15):
            image.content[copy] = EMPTY if damage == "zero" else flip(disk.content, copy, random.Random(2))
        before = dict(image.content)
        with pytest.raises(DiskError, match="superblock"):
            await MlsDisk.open(image, KEY)
        assert image.content == before and not image.log


async def test_a_wrong_key_is_refused_and_nothing_is_changed() -> None:
    disk, _, _ = await used_disk()
    before = dict(disk.content)
    with pytest.raises(DiskError, match="key is wrong"):
        await MlsDisk.open(disk, bytes(32))
    assert disk.content == before and not disk.log


@pytest.mark.parametrize("blocks", [0, 1, 15, 16, 40, BLOCKS - 1])
async def test_a_truncated_image_is_refused(blocks: int) -> None:
    disk, _, _ = await used_disk()
    image = SimulatedDisk(blocks, {place: data for place, data in disk.content.items() if place < blocks})
    with pytest.raises(DiskError):
        await MlsDisk.open(image, KEY)
    assert not image.log


async def test_a_damaged_block_is_an_error_of_that_block_alone() -> None:
    disk = SimulatedDisk(BLOCKS)
    mls = await MlsDisk.create(disk, KEY, cache=CACHE)
    model = {block: content(random.Random(block)) for block in range(100)}
    before = set(disk.content)
    for block, data in model.items():
        await mls.write(block, data)
    await mls.sync()
    place = max(disk.content.keys() - before)
    disk.content[place] = flip(disk.content, place, random.Random(3))
    bad = [block for block in model if await refused(mls, block)]
    assert len(bad) == 1
    assert (await mls.check()).bad_blocks == [(bad[0], 1)]
    await mls.write(bad[0], EMPTY)
    await mls.sync()
    assert await mls.read(bad[0], 1) == EMPTY and (await mls.check()).whole
    await mls.close()


# -- older states of the whole disk -------------------------------------------------------------------------------


async def test_every_snapshot_opens_to_a_synced_state_or_with_a_counter_is_refused() -> None:
    disk, _, model = await used_disk()
    counter = MemoryCounter()
    await (await MlsDisk.open(disk, KEY, counter=counter, bind_counter=True, cache=CACHE)).close()
    disk = SimulatedDisk(BLOCKS, disk.content)
    before = dict(disk.content)
    happened = await run(disk, 11, 40, model, counter)
    history = History(disk, before)
    last = happened.allowed(len(disk.log))
    accepted = 0
    for position in range(0, len(disk.log) + 1, 2):
        history.advance(position)
        snapshot = history.whole()
        mls = await MlsDisk.open(SimulatedDisk(BLOCKS, snapshot.content), KEY, cache=CACHE)
        assert await contents(mls) in happened.allowed(position)
        await mls.abandon()
        try:
            mls = await MlsDisk.open(snapshot, KEY, counter=MemoryCounter(counter.value), cache=CACHE)
        except DiskError as error:
            assert "rollback" in str(error)
            continue
        assert await contents(mls) in last, f"snapshot {position}"
        await mls.abandon()
        accepted += 1
    assert 0 < accepted < len(disk.log) // 2


async def test_what_was_under_way_at_a_crash_can_not_replace_what_was_synced_later() -> None:
    counter = MemoryCounter()
    disk = SimulatedDisk(BLOCKS)
    mls = await MlsDisk.create(disk, KEY, counter=counter, cache=CACHE)
    await mls.write(1, b"a" * 4096)
    await mls.sync()
    durable = dict(disk.content)
    before = counter.value
    await mls.write(1, b"b" * 4096)
    await mls.sync()
    under_way = dict(disk.content)
    await mls.abandon()
    # The machine stops before the counter is advanced, and the host loses what was under way.
    counter.value = before
    disk = SimulatedDisk(BLOCKS, durable)
    mls = await MlsDisk.open(disk, KEY, counter=counter, cache=CACHE)
    assert await mls.read(1, 1) == b"a" * 4096
    await mls.write(1, b"c" * 4096)
    await mls.sync()
    await mls.abandon()
    with pytest.raises(DiskError, match="rollback"):
        await MlsDisk.open(SimulatedDisk(BLOCKS, under_way), KEY, counter=counter, cache=CACHE)


async def test_a_journal_cut_in_its_middle_is_refused() -> None:
    disk = SimulatedDisk(BLOCKS)
    mls = await MlsDisk.create(disk, KEY, cache=CACHE)
    journal = []
    for block in range(4):
        start = len(disk.log)
        await mls.write(block, content(random.Random(block)))
        await mls.sync()
        places = [entry[0] for entry in disk.log[start:] if isinstance(entry, tuple)]
        journal.extend(place for place in places if 16 <= place < 32)
    await mls.abandon()
    assert len(journal) == 4
    for place in journal[:-1]:
        image = SimulatedDisk(BLOCKS, disk.content)
        image.content[place] = flip(image.content, place, random.Random(place))
        with pytest.raises(DiskError, match="journal is damaged"):
            await MlsDisk.open(image, KEY, cache=CACHE)
        assert not image.log
