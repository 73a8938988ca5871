"""MlsDisk as its users see it: on files, with many at once, when it is full, and when it is cleaned."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.errors import DiskError
from occlum_async.fs.block.device import BLOCK
from occlum_async.fs.block.image import HostImage
from occlum_async.fs.block.memory import MemoryDevice
from occlum_async.fs.mlsdisk import FileCounter, MlsDisk
from occlum_async.fs.mlsdisk import cipher as ciphers
from occlum_async.fs.mlsdisk.cipher import package_cipher
from occlum_async.fs.mlsdisk.keys import Keys
from occlum_async.fs.mlsdisk.layout import SEGMENT
from occlum_async.io.boundary import Boundary
from occlum_async.sched.strand import Scheduler
from tests.crash.simulated import EMPTY, Blocks, SimulatedDisk
from tests.crash.workload import contents

KEY = bytes(range(32))


def piece(number: int) -> bytes:
    return b"%015d\n" % number * (BLOCK // 16)


# -- on files -----------------------------------------------------------------------------------------------------


async def test_a_disk_in_a_file(tmp_path: Path, boundary: Boundary) -> None:
    path, counter = tmp_path / "disk.mls", FileCounter(tmp_path / "counter")
    disk = await MlsDisk.create(path, KEY, blocks=5000, counter=counter, boundary=boundary)
    assert disk.blocks == 5000 and path.stat().st_mode & 0o777 == 0o600
    for block in range(0, 2000, 500):
        await disk.write(block, b"".join(piece(block + index) for index in range(500)))
    await disk.write(4999, piece(4999))
    await disk.close()
    await disk.close()
    assert b"0000000017\n" not in path.read_bytes()
    disk = await MlsDisk.open(path, KEY, counter=counter, boundary=boundary)
    assert await disk.read(0, 2000) == b"".join(map(piece, range(2000)))
    assert await disk.read(4998, 2) == EMPTY + piece(4999)
    with pytest.raises(DiskError, match="in use"):
        await MlsDisk.open(path, KEY, boundary=boundary)
    await disk.close()
    with pytest.raises(SyscallError) as error:
        await disk.read(0, 1)
    assert error.value.errno == errno.EINVAL


async def test_a_disk_with_a_boundary_of_its_own(tmp_path: Path) -> None:
    async def use() -> None:
        disk = await MlsDisk.create(tmp_path / "d", KEY, blocks=1000)
        await disk.write(1, piece(1))
        await disk.resize(3000)
        await disk.write(2999, piece(2))
        await disk.close()
        disk = await MlsDisk.open(tmp_path / "d", KEY, read_only=True)
        assert await disk.read(1, 1) == piece(1) and await disk.read(2999, 1) == piece(2) and disk.blocks == 3000
        for refused in (disk.write(0, EMPTY), disk.discard(0, 1)):
            with pytest.raises(SyscallError) as error:
                await refused
            assert error.value.errno == errno.EROFS
        await disk.close()

    await use()


async def test_files_that_are_no_disks(tmp_path: Path, boundary: Boundary) -> None:
    with pytest.raises(DiskError, match="No such file"):
        await MlsDisk.open(tmp_path / "nothing", KEY, boundary=boundary)
    for name, content in (("empty", b""), ("short", bytes(5000)), ("zeros", bytes(1 << 20)), ("text", b"text" * 99999)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DiskError, match="no MlsDisk"):
            await MlsDisk.open(tmp_path / name, KEY, boundary=boundary)
        assert (tmp_path / name).read_bytes() == content
    with pytest.raises(DiskError, match="File exists"):
        await MlsDisk.create(tmp_path / "text", KEY, blocks=1000, boundary=boundary)
    with pytest.raises(DiskError, match="how large"):
        await MlsDisk.create(tmp_path / "new", KEY, boundary=boundary)
    for blocks in (0, -1, 1 << 40):
        with pytest.raises(DiskError):
            await MlsDisk.create(tmp_path / "new", KEY, blocks=blocks, boundary=boundary)
    with pytest.raises(DiskError, match="a key has"):
        await MlsDisk.create(tmp_path / "new", b"short", blocks=1000, boundary=boundary)
    with pytest.raises(DiskError, match="128 or 256"):
        await MlsDisk.create(tmp_path / "new", KEY, blocks=1000, bits=192, boundary=boundary)
    assert not (tmp_path / "new").exists()


async def test_an_image_answers_only_for_itself(tmp_path: Path, boundary: Boundary) -> None:
    image = HostImage.create(tmp_path / "image", 10, boundary)
    await image.write(8, piece(1) + piece(2))
    assert await image.read(7, 3) == EMPTY + piece(1) + piece(2)
    for wrong in ((9, 2), (-1, 1), (10, 1)):
        with pytest.raises(SyscallError) as error:
            await image.read(*wrong)
        assert error.value.errno == errno.EINVAL
    await image.discard(8, 1)
    assert await image.read(8, 2) == EMPTY + piece(2)
    image.resize(20)
    assert await image.read(19, 1) == EMPTY
    os.truncate(tmp_path / "image", 5 * BLOCK)
    with pytest.raises(SyscallError) as error:
        await image.read(4, 3)
    assert error.value.errno == errno.EIO
    await image.close()
    await image.close()


# -- many at once -------------------------------------------------------------------------------------------------


async def test_syncs_at_the_same_time_share_commits() -> None:
    disk = SimulatedDisk(4000)
    scheduler = Scheduler(asyncio.get_running_loop())
    mls = await MlsDisk.create(disk, KEY, scheduler=scheduler)
    disk.scheduler = scheduler
    before = mls.stats()["commits"]

    async def one(number: int) -> None:
        await mls.write(number, piece(number))
        await mls.sync()

    await asyncio.gather(*[one(number) for number in range(100)])
    assert mls.stats()["commits"] - before <= 5
    await mls.sync()
    assert mls.stats()["commits"] - before <= 5, "there was nothing to sync"
    await mls.abandon()
    mls = await MlsDisk.open(disk, KEY, scheduler=scheduler)
    assert await contents(mls) == {number: piece(number) for number in range(100)}
    await mls.close()


async def test_readers_writers_and_syncs_at_the_same_time() -> None:
    disk = SimulatedDisk(6000)
    scheduler = Scheduler(asyncio.get_running_loop())
    mls = await MlsDisk.create(disk, KEY, scheduler=scheduler, cache=1 << 20)
    disk.scheduler = scheduler
    written: dict[int, int] = {}
    own = mls.blocks // 8

    async def writer(number: int) -> None:
        chance = random.Random(number)
        for version in range(60):
            count = chance.choice((1, 1, 4, 30))
            block = number * own + chance.randrange(own - count)
            if chance.random() < 0.1:
                await mls.discard(block, count)
                for one in range(block, block + count):
                    written.pop(one, None)
            else:
                await mls.write(block, b"".join(piece(one * 1000 + version) for one in range(block, block + count)))
                written.update((one, one * 1000 + version) for one in range(block, block + count))
            one = number * own + chance.randrange(own)
            assert await mls.read(one, 1) == (piece(written[one]) if one in written else EMPTY)
            if chance.random() < 0.2:
                await mls.sync()

    await asyncio.gather(*[writer(number) for number in range(8)])
    report = await mls.check()
    assert report.whole and not report.leaked
    await mls.close()
    mls = await MlsDisk.open(disk, KEY, scheduler=scheduler)
    assert await contents(mls) == {block: piece(number) for block, number in written.items()}
    await mls.close()


async def test_a_cancelled_writer_leaves_the_disk_in_order() -> None:
    disk = SimulatedDisk(6000)
    scheduler = Scheduler(asyncio.get_running_loop())
    mls = await MlsDisk.create(disk, KEY, scheduler=scheduler)
    disk.scheduler = scheduler
    for number in range(30):
        calls = (
            mls.write(number * 100, b"".join(map(piece, range(100)))), mls.discard(number * 90, 400), mls.check(),
            mls.sync(), mls.resize(mls.blocks + 1),
        )  # fmt: skip
        tasks = [asyncio.create_task(call) for call in calls[: 5 if number % 7 == 0 else 2]]
        for call in calls[len(tasks) :]:
            call.close()
        for _ in range(number % 11):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await mls.sync()
    report = await mls.check()
    assert report.whole and not report.leaked
    await mls.close()


# -- a cache that is too small, a disk that is full ---------------------------------------------------------------


async def test_more_nodes_than_the_cache_holds() -> None:
    device = MemoryDevice(90_000)
    mls = await MlsDisk.create(device, KEY, cache=1 << 20)
    chance = random.Random(3)
    model: Blocks = {}
    for number in range(30_000):
        block = chance.randrange(mls.blocks)
        model[block] = piece(number)
        await mls.write(block, model[block])
        if number % 7000 == 6999:
            await mls.sync()
    stats = mls.stats()
    assert stats["cached_nodes"] <= 256 and stats["nodes_written"] > 600
    await mls.discard(1000, 40_000)
    model = {block: data for block, data in model.items() if not 1000 <= block < 41_000}
    await mls.close()
    mls = await MlsDisk.open(device, KEY, cache=1 << 20)
    report = await mls.check()
    assert report.whole and not report.leaked and report.blocks == len(model)
    for block in random.Random(1).sample(range(mls.blocks), 2000):
        assert await mls.read(block, 1) == model.get(block, EMPTY)
    await mls.close()


async def test_random_overwrites_of_a_disk_that_is_full_cost_little() -> None:
    mls = await MlsDisk.create(MemoryDevice(60_000), KEY)
    filled = mls.blocks * 8 // 10
    for block in range(0, filled, 256):
        await mls.write(block, bytes(256 * BLOCK))
    await mls.checkpoint()
    before = mls.stats()
    chance = random.Random(1)
    data = piece(1)
    for _ in range(30_000):
        await mls.write(chance.randrange(filled), data)
    await mls.checkpoint()
    after = mls.stats()
    written = sum(after[name] - before[name] for name in ("written", "journal_written", "superblocks_written"))
    assert written / (after["user_written"] - before["user_written"]) < 1.15
    await mls.close()


async def test_cleaning_makes_segments_whole_and_changes_nothing() -> None:
    mls = await MlsDisk.create(MemoryDevice(12 * SEGMENT), KEY)
    model = {}
    for block in range(8 * SEGMENT):
        model[block] = piece(block)
        await mls.write(block, model[block])
    await mls.sync()
    for block in range(8 * SEGMENT):
        if block % 10:
            del model[block]
            await mls.discard(block, 1)
    await mls.checkpoint()
    before = mls.stats()["clean_segments"]
    cleaned = await mls._cleaner.clean(6)
    await mls.checkpoint()
    assert cleaned == 6
    await mls.write(mls.blocks - 1, EMPTY)
    await mls.sync()
    assert mls.stats()["clean_segments"] >= before + 4 and mls.stats()["moved"] > 4 * SEGMENT // 11
    report = await mls.check()
    assert report.whole and not report.leaked
    assert all([await mls.read(block, 1) == model.get(block, EMPTY) for block in range(0, 8 * SEGMENT, 5)])
    await mls.close()


async def test_cleaning_beside_writers() -> None:
    device = SimulatedDisk(8 * SEGMENT)
    scheduler = Scheduler(asyncio.get_running_loop())
    mls = await MlsDisk.create(device, KEY, scheduler=scheduler)
    device.scheduler = scheduler
    chance = random.Random(2)
    model: Blocks = {}
    for number in range(4000):
        block = chance.randrange(5 * SEGMENT)
        if chance.random() < 0.4:
            model.pop(block, None)
            await mls.discard(block, 1)
        else:
            model[block] = piece(number)
            await mls.write(block, model[block])
        if number % 200 == 0:
            await asyncio.gather(mls.sync(), mls._cleaner.clean(2), mls.write(block, model.get(block, EMPTY)))
    report = await mls.check()
    assert report.whole and not report.leaked
    await mls.close()
    mls = await MlsDisk.open(device, KEY, scheduler=scheduler)
    assert await contents(mls) == model
    await mls.close()


# -- the rest -----------------------------------------------------------------------------------------------------


async def test_wrong_ranges_and_sizes_are_refused() -> None:
    mls = await MlsDisk.create(MemoryDevice(2000), KEY)
    data = bytes(BLOCK)
    for call in (
        mls.read(-1, 1), mls.read(0, -1), mls.read(mls.blocks, 1), mls.read(mls.blocks - 1, 2), mls.write(-1, data),
        mls.write(mls.blocks, data), mls.write(mls.blocks - 1, 2 * data), mls.write(0, data[1:]), mls.write(0, b"x"),
        mls.discard(0, mls.blocks + 1), mls.discard(-1, 1), mls.resize(0),
    ):  # fmt: skip
        with pytest.raises(SyscallError) as error:
            await call
        assert error.value.errno == errno.EINVAL
    assert bytes(await mls.read(mls.blocks, 0)) == b""
    await mls.write(0, b"")
    await mls.discard(0, 0)
    assert (await mls.check()).blocks == 0
    await mls.close()


async def test_without_the_native_module_disks_are_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    device = MemoryDevice(2000)
    mls = await MlsDisk.create(device, KEY)
    data = b"".join(map(piece, range(300)))
    await mls.write(10, data)
    await mls.close()
    package_cipher()
    ciphers.best_cipher.cache_clear()
    monkeypatch.setitem(sys.modules, "occlum_async._native._seal", None)
    try:
        with caplog.at_level(logging.WARNING):
            mls = await MlsDisk.open(device, KEY)
        assert caplog.text.count("slower package") == 1
        assert await mls.read(10, 300) == data
        await mls.write(500, data)
        await mls.close()
    finally:
        ciphers.best_cipher.cache_clear()
    monkeypatch.undo()
    mls = await MlsDisk.open(device, KEY)
    assert await mls.read(500, 300) == data and (await mls.check()).whole
    await mls.close()


async def test_no_nonce_comes_twice_whatever_is_crashed_and_cloned(monkeypatch: pytest.MonkeyPatch) -> None:
    given: set[tuple[bytes, int, int]] = set()
    take = Keys.take

    def recorded(keys: Keys, count: int) -> tuple[object, int, int]:
        key, epoch, first = take(keys, count)
        for counter in range(first, first + count):
            nonce = (keys._secret, epoch, counter)
            assert nonce not in given
            given.add(nonce)
        return key, epoch, first

    monkeypatch.setattr(Keys, "take", recorded)
    disk = SimulatedDisk(3000)
    await (await MlsDisk.create(disk, KEY)).close()
    images = [disk]
    for number in range(6):
        for image in list(images):
            mls = await MlsDisk.open(image, KEY)
            for block in range(0, 900, 300):
                await mls.write(block + number, bytes(300 * BLOCK))
            await mls.sync()
            await mls.write(number, EMPTY)
            if number == 2 and len(images) < 4:
                images.append(SimulatedDisk(3000, image.content))
            await (mls.close if number % 2 else mls.abandon)()
    assert len(given) > 8_000


async def test_opening_reads_as_little_of_a_large_disk_as_of_a_small_one() -> None:
    reads = []
    for image in (50_000, 500_000):
        device = MemoryDevice(image)
        mls = await MlsDisk.create(device, KEY, cache=4 << 20)
        for block in range(0, mls.blocks, mls.blocks // 3000):
            await mls.write(block, EMPTY)
        await mls.close()
        mls = await MlsDisk.open(device, KEY)
        reads.append(mls.stats()["read"])
        await mls.close()
    assert reads[1] <= reads[0] + 2


def test_keys_are_in_no_error_and_no_log(tmp_path: Path) -> None:
    program = f"""
import asyncio, logging
from occlum_async.fs.mlsdisk import MlsDisk
logging.basicConfig(level=logging.DEBUG)
key = b"this is the secret key, 32 bytes"
async def main():
    disk = await MlsDisk.create({str(tmp_path / "d")!r}, key, blocks=1000)
    print(disk, vars(disk), disk.stats())
    await disk.write(0, bytes(4096))
    await disk.close()
    await MlsDisk.open({str(tmp_path / "d")!r}, key[::-1])
asyncio.run(main())
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "DiskError" in result.stderr and "key is wrong" in result.stderr
    assert "secret" not in result.stdout + result.stderr.replace('key = b"this is the secret', "")


@pytest.mark.slow
async def test_a_terabyte_needs_little_memory_for_its_index() -> None:
    mls = await MlsDisk.create(MemoryDevice(1 << 28), KEY)
    chance = random.Random(1)
    for number in range(60_000):
        await mls.write(chance.randrange(mls.blocks), EMPTY)
        if number % 5000 == 0:
            await mls.sync()
    volume = mls._volume
    tables = volume.space.slots, volume.space.available, volume.space.used
    size = volume.cache.slots * BLOCK + sum(table.itemsize * len(table) for table in tables)
    assert size < 64 << 20
    await mls.close()
