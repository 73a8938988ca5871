"""The data of regular files: sizes, holes, limits, and what e2fsck(8) says to it."""

from __future__ import annotations

import errno
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import BLOCK_SIZES, ENVIRONMENT, ROOT, Disk, failing, fsck, loop_mount, mke2fs, mount, remounted, run

REGULAR = 0o100644


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
async def test_written_is_read(tmp_path: Path, disks: Callable[..., Any], block_size: int) -> None:
    """Through all levels of indirection, before and after the cache forgets it."""
    mounted = await disks(16, block_size)
    data = os.urandom(5_000_001)
    file = await mounted.root.create(b"f", REGULAR, ROOT)
    assert await file.write(data, 3) == len(data)
    assert await file.read(len(data) + 10, 0) == b"\0\0\0" + data
    del file
    again = await remounted(mounted, tmp_path / "image")
    file = await again.root.lookup(b"f")
    assert await file.read(len(data) + 10, 0) == b"\0\0\0" + data
    assert file.size == len(data) + 3
    await again.fs.unmount()


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
async def test_random_writes_and_truncates(tmp_path: Path, disks: Callable[..., Any], block_size: int) -> None:
    """Against a ``bytearray``, with syncs and remounts in between."""
    chance = random.Random(block_size)
    mounted = await disks(24, block_size)
    model = bytearray()
    file = await mounted.root.create(b"f", REGULAR, ROOT)
    for step in range(150):
        what = chance.randrange(10)
        if what < 6:
            offset = chance.randrange(1 << chance.randrange(4, 23))
            data = chance.randbytes(chance.randrange(1, 1 << chance.randrange(1, 18)))
            assert await file.write(data, offset) == len(data)
            model.extend(bytes(max(0, offset + len(data) - len(model))))
            model[offset : offset + len(data)] = data
        elif what == 6:
            size = chance.randrange(len(model) * 5 // 4 + 10)
            await file.setattr(size=size)
            model = model[:size].ljust(size, b"\0")
        elif what == 7 and model:
            offset = chance.randrange(len(model))
            length = chance.randrange(1, 200000)
            await file.fallocate(3, offset, length)
            model[offset : offset + length] = bytes(len(model[offset : offset + length]))
        elif what == 8:
            await mounted.fs.sync()
            fsck(mounted.fs.block_device, tmp_path / "image")
        else:
            await file.cached().advise(4, 0, 0)
        assert file.size == len(model)
        if step % 10 == 0:
            assert await file.read(len(model) + 1, 0) == bytes(model), step
    del file
    again = await remounted(mounted, tmp_path / "image")
    assert await (await again.root.lookup(b"f")).read(len(model) + 1, 0) == bytes(model)
    await again.fs.unmount()


async def test_what_lies_side_by_side_is_written_at_once(
    disks: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that grows takes its room in steps; its blocks reach the device in one piece all the same."""
    mounted = await disks(32)
    device, write = mounted.fs.block_device, mounted.fs.block_device.write
    sizes: list[int] = []

    async def counted(block: int, data: bytes) -> None:
        sizes.append(len(data))
        await write(block, data)

    file = await mounted.root.create(b"f", REGULAR, ROOT)
    monkeypatch.setattr(device, "write", counted)
    for piece in range(8):
        await file.write(bytes([piece + 1]) * (1 << 20), piece << 20)
        await file.sync(True)
    large = [size for size in sizes if size > 64 << 10]
    # Twice an indirect block lies in between.
    assert sum(large) > 7 << 20 and len(large) <= 10, large


async def test_holes(disks: Callable[..., Any]) -> None:
    mounted = await disks(16)
    file = await mounted.root.create(b"f", REGULAR, ROOT)
    await file.setattr(size=10 << 20)
    await file.write(b"x" * 4096, 1 << 20)
    await file.write(b"y", 9 << 20)
    assert await file.seek_data(0, False) == 1 << 20
    assert await file.seek_data(0, True) == 0
    assert await file.seek_data(1 << 20, True) == (1 << 20) + 4096
    assert await file.seek_data((1 << 20) + 4096, False) == 9 << 20
    assert await file.seek_data(9 << 20, True) == (9 << 20) + 4096
    with failing(errno.ENXIO):
        await file.seek_data((9 << 20) + 4096, False)
    with failing(errno.ENXIO):
        await file.seek_data(10 << 20, True)
    # Two blocks of data, one of pointers to them behind the direct ones, two levels for the second.
    assert (await file.getattr()).blocks == 8 * 5
    await file.fallocate(3, 0, 10 << 20)
    assert (await file.getattr()).blocks == 0
    assert file.size == 10 << 20


async def test_more_than_4_gib(tmp_path: Path, disks: Callable[..., Any]) -> None:
    mounted = await disks(8)
    file = await mounted.root.create(b"f", REGULAR, ROOT)
    places = (0, (2 << 30) - 2, (4 << 30) + 5, (5 << 30) - 1, (1 << 40) + 7)
    for place in places:
        assert await file.write(b"here", place) == 4
    del file
    again = await remounted(mounted, tmp_path / "image")
    file = await again.root.lookup(b"f")
    assert file.size == (1 << 40) + 11
    for place in places:
        assert await file.read(4, place) == b"here"
    await file.setattr(size=(4 << 30) + 9)
    assert (await file.read(10, 4 << 30)) == b"\0" * 5 + b"here"
    del file
    await again.fs.unmount()
    fsck(mounted.fs.block_device, tmp_path / "image")


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
async def test_largest_file(disks: Callable[..., Any], block_size: int) -> None:
    mounted = await disks(8, block_size)
    file = await mounted.root.create(b"f", REGULAR, ROOT)
    limit = mounted.fs.map.max_size
    assert await file.write(b"abcd", limit - 2) == 2
    with failing(errno.EFBIG):
        await file.write(b"x", limit)
    with failing(errno.EFBIG):
        await file.setattr(size=limit + 1)
    with failing(errno.EFBIG):
        await file.fallocate(0, limit - 1, 2)
    assert file.size == limit
    await file.sync(False)


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
async def test_full_disk(tmp_path: Path, disks: Callable[..., Any], block_size: int) -> None:
    """Every block can be used, what does not fit is ENOSPC, and what was written before is there."""
    mounted = await disks(4, block_size, reserved_percent=0)
    file = await mounted.root.create(b"f", REGULAR, ROOT)
    written = 0
    with failing(errno.ENOSPC):
        while True:
            written += await file.write(bytes([written // 65536 % 251]) * 65536, written)
    await file.sync(False)
    assert (await mounted.fs.statfs()).bfree < 4
    with failing(errno.ENOSPC):
        for number in range(4):
            await mounted.root.mkdir(b"d%d" % number, 0o755, ROOT)
    for place in range(0, written - 65536, 65536):
        assert await file.read(65536, place) == bytes([place // 65536 % 251]) * 65536
    fsck(mounted.fs.block_device, tmp_path / "image")
    await mounted.root.unlink(b"f", file)
    del file
    # What was deleted is there for the next one at once.
    file = await mounted.root.create(b"g", REGULAR, ROOT)
    assert await file.write(bytes(written // 2), 0) == written // 2


async def test_promised_room_is_kept(disks: Callable[..., Any]) -> None:
    """A write that was accepted finds room when it is written back, whatever others do meanwhile."""
    mounted = await disks(4, 1024, reserved_percent=0)
    first = await mounted.root.create(b"a", REGULAR, ROOT)
    second = await mounted.root.create(b"b", REGULAR, ROOT)
    assert await first.write(os.urandom(2_000_000), 300_000) == 2_000_000
    accepted = 0
    with failing(errno.ENOSPC):
        while True:
            accepted += await second.write(b"y" * 10_000, accepted)
    with failing(errno.ENOSPC):
        await second.fallocate(0, 0, 3 << 20)
    await first.sync(False)
    await second.sync(False)
    assert await second.read(accepted, 0) == b"y" * accepted
    assert mounted.fs.blocks.promised == 0


async def test_promises_are_given_back(disks: Callable[..., Any]) -> None:
    mounted = await disks(8)
    file = await mounted.root.create(b"a", REGULAR, ROOT)
    await file.write(bytes(1_000_000), 0)
    assert mounted.fs.blocks.promised > 244
    assert (await file.getattr()).blocks >= 245 * 8
    await file.setattr(size=4096)
    assert mounted.fs.blocks.promised <= 2  # an indirect block is promised until nothing of the file is
    await file.write(bytes(1_000_000), 0)
    await file.fallocate(3, 0, 1_000_000)
    assert mounted.fs.blocks.promised == 0
    await file.write(bytes(1_000_000), 0)
    await mounted.root.unlink(b"a", file)
    del file
    assert mounted.fs.blocks.promised == 0


async def test_reserve_is_for_root(disks: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = await disks(4, reserved_percent=10)
    fs = mounted.fs
    reserve = fs.superblock.r_blocks_count
    file = await mounted.root.create(b"a", REGULAR, ROOT)
    with monkeypatch.context() as patch:
        patch.setattr(fs, "privileged", lambda: False)
        written = 0
        with failing(errno.ENOSPC):
            while True:
                written += await file.write(bytes(4096), written)
        assert (await fs.statfs()).bavail == 0
        assert reserve <= fs.blocks.free - fs.blocks.promised <= reserve + 1
        with failing(errno.ENOSPC):
            await mounted.root.mkdir(b"d", 0o755, ROOT)
    assert await file.write(bytes(4096), written) == 4096
    await mounted.root.mkdir(b"d", 0o755, ROOT)


async def test_fallocate(disks: Callable[..., Any]) -> None:
    mounted = await disks(8)
    file = await mounted.root.create(b"a", REGULAR, ROOT)
    await file.fallocate(0, 5000, 100_000)
    assert file.size == 105_000
    assert (await file.getattr()).blocks >= 25 * 8
    assert await file.read(200_000, 0) == bytes(105_000)
    await file.write(b"data", 6000)
    await file.fallocate(1, 0, 100_000)
    assert await file.read(4, 6000) == b"data"
    with failing(errno.EOPNOTSUPP):
        await file.fallocate(1, 100_000, 100_000)
    with failing(errno.EOPNOTSUPP):
        await file.fallocate(8, 0, 4096)
    with failing(errno.ENOSPC):
        await file.fallocate(0, 0, 100 << 20)
    assert file.size == 105_000
    await file.sync(False)


async def test_old_content_is_never_seen(disks: Callable[..., Any]) -> None:
    """Blocks that others left are zeros where a file has written nothing."""
    mounted = await disks(4, 1024, reserved_percent=0)
    old = await mounted.root.create(b"old", REGULAR, ROOT)
    await old.write(b"secret! " * 300_000, 0)
    await old.sync(False)
    await mounted.root.unlink(b"old", old)
    del old
    file = await mounted.root.create(b"new", REGULAR, ROOT)
    await file.fallocate(0, 0, 1 << 20)
    for place in range(0, 2 << 20, 9000):
        await file.write(b"x", place)
    await file.sync(False)
    await file.cached().advise(4, 0, 0)
    data = await file.read(3 << 20, 0)
    assert data.strip(b"\0x") == b""


async def test_contiguous(disks: Callable[..., Any]) -> None:
    """Files that grow at the same time lie in long runs nevertheless, and are read in few pieces."""
    mounted = await disks(32)
    files = [await mounted.root.create(b"f%d" % number, REGULAR, ROOT) for number in range(4)]
    for step in range(32):
        for file in files:
            await file.write(bytes([step]) * 65536, step * 65536)
            await file.sync(True)
    for file in files:
        runs, block = 0, 0
        while block < 512:
            _, length = await mounted.fs.map.find(file, block, 512 - block)
            runs += 1
            block += length
        assert runs <= 10, runs


async def test_places_are_remembered_until_they_are_freed(disks: Callable[..., Any]) -> None:
    """An indirect block is not gone to twice, nor to one that was freed while somebody was on his way."""
    mounted = await disks(8)
    blocks, buffers = mounted.fs.map, mounted.fs.buffers
    file = await mounted.root.create(b"f", REGULAR, ROOT)
    await file.write(b"x" * 200_000, 0)
    await file.sync(False)
    place, _ = await blocks.find(file, 20, 1)
    asked: list[int] = []
    get = buffers.get

    async def slowly(block: int) -> Any:
        buffers.get = get
        asked.append(block)
        found = await get(block)
        await file.setattr(size=0)
        return found

    buffers.get = slowly
    assert await blocks.find(file, 20, 1) == (place, 1) and not asked
    file.leaves.clear()
    assert await blocks.find(file, 20, 1) == (0, 1) and len(asked) == 1
    assert not file.leaves
    other = await mounted.root.create(b"g", REGULAR, ROOT)
    await other.write(b"y" * 200_000, 0)
    await other.sync(False)
    assert (await blocks.find(file, 20, 1))[0] == 0


async def test_unlinked_while_open(tmp_path: Path, disks: Callable[..., Any]) -> None:
    mounted = await disks(8)
    free = (await mounted.fs.statfs()).bfree
    file = await mounted.root.create(b"f", REGULAR, ROOT)
    await file.write(b"x" * 100_000, 0)
    await file.sync(False)
    await mounted.root.unlink(b"f", file)
    await mounted.fs.sync()
    assert await file.read(5, 0) == b"xxxxx"
    await file.write(b"y" * 200_000, 0)
    await file.sync(False)
    del file
    assert (await mounted.fs.statfs()).bfree == free
    assert mounted.fs.superblock.last_orphan == 0


async def test_orphans_are_freed_at_the_next_mount(tmp_path: Path) -> None:
    disk = mke2fs(tmp_path / "image", 8 << 20)
    mounted = await mount(disk)
    free = await mounted.fs.statfs()
    files = [await mounted.root.create(b"f%d" % number, REGULAR, ROOT) for number in range(5)]
    files.append(await mounted.root.tmpfile(REGULAR, ROOT))
    folder = await mounted.root.mkdir(b"d", 0o755, ROOT)
    for number, file in enumerate(files):
        await file.write(b"x" * 100_000, 0)
        await file.sync(False)
        if number < 5:
            await mounted.root.unlink(b"f%d" % number, file)
    await mounted.root.rmdir(b"d", folder)
    del files[2]  # out of the middle of the list
    await mounted.fs.sync()
    crashed = Disk(disk.blocks, disk.content())
    again = await mount(crashed)
    after = await again.fs.statfs()
    assert (after.bfree, after.ffree) == (free.bfree, free.ffree)
    await again.fs.unmount()
    fsck(crashed, tmp_path / "image")
    # e2fsck(8) and Linux understand the list as well.
    disk.save(tmp_path / "image")
    repair = subprocess.run(["e2fsck", "-p", "-f", str(tmp_path / "image")], capture_output=True, env=ENVIRONMENT)
    assert repair.returncode == 1
    run("e2fsck", "-fn", str(tmp_path / "image"))
    with loop_mount(disk.save(tmp_path / "image"), tmp_path / "mnt"):
        pass
    run("e2fsck", "-fn", str(tmp_path / "image"))
    await mounted.fs.unmount()
    del file, files, folder


async def test_fdatasync_leaves_times_behind(tmp_path: Path, disks: Callable[..., Any]) -> None:
    """Overwriting and fdatasync write the data alone; a new size is written too, and times by fsync."""
    mounted = await disks(8)
    file = await mounted.root.create(b"f", REGULAR, ROOT)
    await file.write(bytes(20_000), 0)
    await mounted.fs.sync()
    disk = mounted.fs.block_device
    written: list[int] = []
    write = disk.write

    async def noted(block: int, data: Any) -> None:
        written.append(block)
        await write(block, data)

    disk.write = noted
    place, _ = await mounted.fs.map.find(file, 1, 1)
    await file.write(b"new", 5000)
    await file.sync(True)
    assert written == [place]
    await file.write(b"longer", 19_999)
    await file.sync(True)
    table = mounted.fs.table.place(file.ino)[0]
    assert len(written) == 3 and written[-1] == table
    await file.write(b"again", 5000)
    mtime = file.mtime
    await file.sync(False)
    assert written[-1] == table
    crashed = await mount(disk.copy())
    assert (await crashed.root.lookup(b"f")).mtime == mtime
    await crashed.fs.unmount()


async def test_tmpfile_gets_a_name(tmp_path: Path, disks: Callable[..., Any]) -> None:
    mounted = await disks(8)
    file = await mounted.root.tmpfile(REGULAR, ROOT)
    assert file.nlink == 0
    await file.write(b"content", 0)
    await mounted.root.link(b"named", file)
    assert file.nlink == 1
    del file
    again = await remounted(mounted, tmp_path / "image")
    assert await (await again.root.lookup(b"named")).read(10, 0) == b"content"
    await again.fs.unmount()
