"""The host's disk fails: a clear error, nothing that was synced is lost, and nothing hangs."""

from __future__ import annotations

import asyncio
import errno
import random

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.errors import DiskError
from occlum_async.fs.block.device import BLOCK
from occlum_async.fs.mlsdisk import CallbackCounter, MemoryCounter, MlsDisk
from tests.crash.simulated import EMPTY, Blocks, SimulatedDisk
from tests.crash.workload import CACHE, KEY, change, content, contents, fill

BLOCKS = 600


class Faults:
    """Lets the ``number``-th operation fail, and if ``forever`` all that follow."""

    def __init__(self, number: int, code: int, forever: bool) -> None:
        self.left = number
        self.code = code
        self.forever = forever
        self.happened = False

    def __call__(self, operation: str) -> None:
        self.left -= 1
        if self.left == 0 or (self.left < 0 and self.forever):
            self.happened = True
            raise SyscallError(self.code)


async def work(mls: MlsDisk, chance: random.Random) -> tuple[Blocks, list[Blocks], int]:
    """Change and sync until an error; what was synced at least, what may be there, and the error (0: none)."""
    model: Blocks = {}
    durable: Blocks = {}
    maybe: list[Blocks] = []
    try:
        for _ in range(20):
            for _ in range(3):
                await change(mls, model, chance)
            maybe = [dict(model)]
            await mls.sync()
            durable, maybe = dict(model), []
        await mls.checkpoint()
    except SyscallError as error:
        return durable, maybe, error.errno
    return durable, maybe, 0


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("forever", [False, True])
async def test_an_error_of_any_call(code: int, forever: bool) -> None:
    fresh = SimulatedDisk(BLOCKS)
    await (await MlsDisk.create(fresh, KEY, cache=CACHE)).close()
    seen = 0
    for number in range(1, 130, 3):
        disk = SimulatedDisk(BLOCKS, fresh.content)
        disk.fault = faults = Faults(number, code, forever)
        try:
            mls = await MlsDisk.open(disk, KEY, cache=CACHE)
        except (DiskError, SyscallError):
            durable, maybe, error = {}, [], code
        else:
            durable, maybe, error = await work(mls, random.Random(number))
            if error and error != errno.EROFS:
                assert error == code
            disk.fault = lambda operation: None
            if mls.stats()["failed"]:
                with pytest.raises(SyscallError) as refused:
                    await mls.write(0, EMPTY)
                assert refused.value.errno == errno.EROFS
                with pytest.raises(SyscallError) as refused:
                    await mls.sync()
                assert refused.value.errno == code
            await mls.abandon()
        disk.fault = lambda operation: None
        seen += faults.happened
        mls = await MlsDisk.open(disk, KEY, cache=CACHE)
        assert await contents(mls) in [durable, *maybe], f"operation {number}"
        report = await mls.check()
        assert report.whole and not report.leaked
        await mls.close()
    assert seen > 25


async def test_blocks_that_were_lost_are_not_read_as_what_they_were_before() -> None:
    disk = SimulatedDisk(BLOCKS)
    mls = await MlsDisk.create(disk, KEY, cache=CACHE)
    await mls.write(3, b"a" * BLOCK)
    await mls.sync()
    disk.fault = Faults(1, errno.EIO, False)
    await mls.write(3, b"b" * BLOCK)
    with pytest.raises(SyscallError) as error:
        await mls.sync()
    assert error.value.errno == errno.EIO
    with pytest.raises(SyscallError) as error:
        await mls.read(3, 1)
    assert error.value.errno == errno.EIO
    assert await mls.read(4, 1) == EMPTY
    with pytest.raises(SyscallError):
        await mls.discard(4, 1)
    await mls.close()


async def test_a_counter_that_fails_stops_the_disk_and_nothing_is_lost() -> None:
    trusted = MemoryCounter()
    broken = False

    async def advance(value: int) -> None:
        await asyncio.sleep(0)
        if broken:
            raise ConnectionError("nobody there")
        await trusted.advance(value)

    counter = CallbackCounter(trusted.read, advance)
    disk = SimulatedDisk(BLOCKS)
    mls = await MlsDisk.create(disk, KEY, counter=counter, cache=CACHE)
    await mls.write(0, b"a" * BLOCK)
    await mls.sync()
    broken = True
    await mls.write(0, b"b" * BLOCK)
    with pytest.raises(SyscallError) as error:
        await mls.sync()
    assert error.value.errno == errno.EIO
    await mls.abandon()
    broken = False
    mls = await MlsDisk.open(disk, KEY, counter=counter, cache=CACHE)
    assert await mls.read(0, 1) == b"b" * BLOCK  # it was on its way
    await mls.close()


async def test_a_full_disk_says_so_and_goes_on_after_a_sync() -> None:
    disk = SimulatedDisk(BLOCKS)
    mls = await MlsDisk.create(disk, KEY, cache=CACHE, strict=True)
    chance = random.Random(1)
    model = await fill(mls, chance)
    await mls.sync()
    full = 0
    for _ in range(2000):
        block, data = chance.randrange(mls.blocks), content(chance)
        try:
            await mls.write(block, data)
        except SyscallError as error:
            assert error.errno == errno.ENOSPC
            full += 1
            await mls.sync()
            await mls.write(block, data)
        model[block] = data
    assert full > 5
    await mls.close()
    mls = await MlsDisk.open(disk, KEY, cache=CACHE)
    assert await contents(mls) == model
    await mls.close()


async def test_a_disk_that_is_not_strict_commits_early_instead() -> None:
    disk = SimulatedDisk(4096)
    mls = await MlsDisk.create(disk, KEY, cache=CACHE)
    called = 0

    def pressed() -> None:
        nonlocal called
        called += 1

    mls.pressure = pressed
    model: Blocks = {}
    chance = random.Random(1)
    for number in range(3 * mls.blocks):
        block = number % mls.blocks
        model[block] = content(chance)
        await mls.write(block, model[block])
    stats = mls.stats()
    assert stats["early_commits"] > 1 and called
    await mls.close()
    mls = await MlsDisk.open(disk, KEY, cache=CACHE)
    assert await contents(mls) == model
    await mls.close()
