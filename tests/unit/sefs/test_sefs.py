"""sefs: what was synced is there, what the host changes is found out, half a change is undone."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.stat import S_IFREG
from occlum_async.errors import DiskError
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.inode import Inode
from occlum_async.fs.mount import anonymous_device
from occlum_async.fs.overlay.filesystem import OverlayFs
from occlum_async.fs.pagecache import MIN_LIMIT, PAGE, PageCache
from occlum_async.fs.ramfs import RamFs
from occlum_async.fs.sefs import Sefs
from occlum_async.fs.sefs.inode import SefsInode
from occlum_async.io.boundary import open_boundary
from occlum_async.sched.strand import Scheduler

KEY = bytes(range(32))
ROOT = Credentials()


@asynccontextmanager
async def mounted(folder: Path, key: bytes = KEY, crash: bool = False, **options: bool) -> AsyncIterator[Sefs]:
    """``crash``: leave without an unmount."""
    boundary = open_boundary("ocall", Scheduler(asyncio.get_running_loop()))
    cache = PageCache(boundary.scheduler, MIN_LIMIT)
    fs = await Sefs.mount(boundary, str(folder), key, cache, **options)
    try:
        yield fs
    finally:
        if crash:
            fs.writable = False
        await fs.unmount()
        await boundary.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "sefs"
    made.mkdir()
    return made


async def make(directory: Inode, name: bytes, content: bytes = b"") -> Inode:
    inode = await directory.create(name, S_IFREG | 0o644, ROOT)
    assert await inode.write(content, 0) == len(content)
    return inode


async def test_everything_is_there_again(folder: Path) -> None:
    large = os.urandom(200 * PAGE + 17)  # more than one node
    async with mounted(folder) as fs:
        below = await fs.root.mkdir(b"below", 0o755, ROOT)
        file = await make(below, b"file", large)
        await file.setxattr(b"user.a", b"value", 0)
        await file.setattr(mode=0o600, uid=5, mtime=10**9)
        await fs.root.symlink(b"link", b"below/file", ROOT)
        await fs.root.link(b"hard", file)
        sparse = await make(fs.root, b"sparse", b"start")
        await sparse.write(b"end", 100_000 * PAGE)
    async with mounted(folder, read_only=True) as fs:
        below = await fs.root.lookup(b"below")
        file = await below.lookup(b"file")
        assert await file.read(len(large) + 1, 0) == large
        assert await file.getxattr(b"user.a") == b"value"
        assert (file.mode & 0o7777, file.uid, file.mtime, file.nlink) == (0o600, 5, 10**9, 2)
        assert await fs.root.lookup(b"hard") is file
        assert await (await fs.root.lookup(b"link")).readlink() == b"below/file"
        sparse = await fs.root.lookup(b"sparse")
        assert await sparse.read(10, 100_000 * PAGE) == b"end" and await sparse.read(PAGE, 5 * PAGE) == bytes(PAGE)
        with pytest.raises(SyscallError):
            await fs.root.create(b"x", S_IFREG, ROOT)


async def test_as_the_upper_layer_of_an_overlay(folder: Path) -> None:
    async with mounted(folder) as fs:
        overlay = OverlayFs(anonymous_device(), fs.scheduler, [RamFs()], fs)
        file = await make(overlay.root, b"file", b"content")
        await file.setattr(mode=0o600, size=4)
        upper = await fs.root.lookup(b"file")
        assert (file.mode & 0o7777, file.size) == (upper.mode & 0o7777, upper.size) == (0o600, 4)


async def test_names_change(folder: Path) -> None:
    async with mounted(folder) as fs:
        one, two = await make(fs.root, b"one", b"1"), await make(fs.root, b"two", b"2")
        await fs.root.rename(b"one", one, fs.root, b"two", two, exchange=True)
        assert await fs.root.lookup(b"one") is two
        await fs.root.rename(b"one", two, fs.root, b"two", one)
        assert [entry.name for entry in await fs.root.readdir(0)] == [b"two"] and one.nlink == 0
        with pytest.raises(SyscallError) as caught:
            await fs.root.create(b"two", S_IFREG, ROOT)
        assert caught.value.errno == errno.EEXIST
        await fs.sync()
        del one
        await fs.sync()
        assert len(list(folder.iterdir())) == 3  # the superblock, the root and the file
        await fs.root.unlink(b"two", two)
        assert await two.read(1, 0) == b"2"
    async with mounted(folder) as fs:
        assert await fs.root.readdir(0) == []


async def test_more_files_than_descriptors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("occlum_async.fs.sefs.filesystem.OPEN_TREES", 4)
    async with mounted(folder) as fs:
        for number in range(20):
            await make(fs.root, b"%d" % number, b"%d" % number * 1000)
        await fs.sync()
        fs.cache.shrink(0)
        for number in range(20):
            assert await (await fs.root.lookup(b"%d" % number)).read(2, 0) == (b"%d" % number * 1000)[:2]
        assert len(fs._open) <= 5


async def test_random_changes(folder: Path) -> None:
    choice = random.Random(1)
    right = bytearray()
    for _ in range(4):
        async with mounted(folder) as fs:
            names = [entry.name for entry in await fs.root.readdir(0)]
            file = await fs.root.lookup(b"file") if names else await make(fs.root, b"file")
            assert await file.read(len(right) + 1, 0) == right
            for _ in range(30):
                offset, length = choice.randrange(300 * PAGE), choice.randrange(1, 20 * PAGE)
                what = choice.randrange(6)
                if what == 0:
                    await file.setattr(size=offset)
                    right[offset:] = b""
                    right.extend(bytes(offset - len(right)))
                elif what == 1:
                    await file.fallocate(3, offset, length)
                    right[offset : offset + length] = bytes(len(right[offset : offset + length]))
                elif what == 2:
                    await file.sync(False)
                    fs.cache.shrink(0)
                else:
                    data = choice.randbytes(length)
                    await file.write(data, offset)
                    right.extend(bytes(max(0, offset - len(right))))
                    right[offset : offset + length] = data
                assert await file.read(len(right) + 1, 0) == right


async def test_holes_are_found(folder: Path) -> None:
    far = 1 << 28  # pages: a TiB
    async with mounted(folder) as fs:
        file = await make(fs.root, b"file", os.urandom(3 * PAGE))
        for page in (5, 95, 96, 3000, far):
            await file.write(b"x", page * PAGE)
        await file.fallocate(3, PAGE, PAGE)
        for _ in range(2):  # what is in memory only, and what was read again
            found, offset = [], 0
            while offset < file.size:
                hole = await file.seek_data(offset, True)
                found.append((offset // PAGE, -(-hole // PAGE)))
                try:
                    offset = await file.seek_data(hole, False)
                except SyscallError as error:
                    assert error.errno == errno.ENXIO
                    break
            assert found == [(0, 1), (2, 3), (5, 6), (95, 97), (3000, 3001), (far, far + 1)]
            assert await file.seek_data(7, False) == 7 and await file.seek_data(PAGE + 7, True) == PAGE + 7
            await fs.sync()
            assert isinstance(file, SefsInode)
            await file.tree.close()
            del fs._open[file.ino]
        await file.setattr(size=4 * PAGE)
        assert await file.seek_data(3 * PAGE, True) == 3 * PAGE
        with pytest.raises(SyscallError):
            await file.seek_data(3 * PAGE, False)


async def test_files_share_the_memory_for_nodes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("occlum_async.fs.sefs.tree.KEPT_NODES", 16)
    content = [random.Random(number).randbytes(96 * 6 * PAGE) for number in range(4)]
    async with mounted(folder) as fs:
        for number, data in enumerate(content):
            await make(fs.root, b"%d" % number, data)
        await fs.sync()
        for _ in range(2):
            for number, data in enumerate(content):
                fs.cache.shrink(0)
                assert await (await fs.root.lookup(b"%d" % number)).read(len(data), 0) == data
                assert sum(len(tree._nodes) for tree in fs._open.values()) <= 16
                await (await fs.root.lookup(b"%d" % number)).write(data[:PAGE], 500 * PAGE)
                content[number] = data[: 500 * PAGE] + data[:PAGE] + data[501 * PAGE :]


@pytest.mark.parametrize("damage", ("flip", "swap", "truncate", "other"))
async def test_what_the_host_changes_is_found_out(folder: Path, damage: str) -> None:
    content = os.urandom(120 * PAGE)
    async with mounted(folder) as fs:
        file = await make(fs.root, b"file", content)
        number = file.ino
        twin = (await make(fs.root, b"twin", content)).ino
    path = folder / f"{number:08x}"
    data = bytearray(path.read_bytes())
    for block in range(len(data) // PAGE):
        changed = bytearray(data)
        if damage == "flip":
            changed[block * PAGE + 77] ^= 4
        elif damage == "swap":
            other = (block + 1) * PAGE % len(data)
            changed[block * PAGE :][:PAGE], changed[other:][:PAGE] = b"", b""
            changed[block * PAGE : (block + 1) * PAGE] = data[other : other + PAGE]
        elif damage == "truncate":
            del changed[block * PAGE :]
        else:
            changed[:] = (folder / f"{twin:08x}").read_bytes()
        if block % 17 and block > 4:
            continue
        path.write_bytes(changed)
        async with mounted(folder, crash=True) as fs:
            with pytest.raises(SyscallError) as caught:
                assert await (await fs.root.lookup(b"file")).read(len(content), 0) != content, "nobody noticed"
            assert caught.value.errno == errno.EIO
        path.write_bytes(data)
        if damage == "other":
            break
    async with mounted(folder, crash=True) as fs:
        assert await (await fs.root.lookup(b"file")).read(len(content), 0) == content


async def test_half_a_change_is_undone(folder: Path, tmp_path: Path) -> None:
    before = os.urandom(150 * PAGE)
    async with mounted(folder) as fs:
        await make(fs.root, b"file", before)
    copies = []
    async with mounted(folder) as fs:
        file = await fs.root.lookup(b"file")
        for page in (3, 100, 149):
            await file.write(bytes(PAGE), page * PAGE)
        await file.write(b"longer", 200 * PAGE)
        assert file.data is not None  # type: ignore[attr-defined]
        await file.data.sync()  # type: ignore[attr-defined]
        copies.append(shutil.copytree(folder, tmp_path / "unsynced"))
        after = await file.read(300 * PAGE, 0)
        await file.sync(False)
        copies.append(shutil.copytree(folder, tmp_path / "synced"))
    for copy, right in zip(copies, (before, after), strict=True):
        async with mounted(copy) as fs:
            assert await (await fs.root.lookup(b"file")).read(300 * PAGE, 0) == right
        assert not list(copy.glob("*.journal"))


async def test_refusals(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        async with mounted(tmp_path / "nothing"):
            pass
    async with mounted(folder) as fs:
        await make(fs.root, b"secret-name", b"secret content" * 1000)
        with pytest.raises(DiskError):
            async with mounted(folder):
                pass
    with pytest.raises(DiskError, match="the root can't be read") as caught:
        async with mounted(folder, key=bytes(32)):
            pass
    assert "the key is wrong" in str(caught.value)
    for path in folder.iterdir():
        assert b"secret" not in path.read_bytes()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("mine")
    with pytest.raises(DiskError):
        async with mounted(tmp_path / "other"):
            pass


async def test_a_mount_that_fails_leaves_nothing_open(folder: Path) -> None:
    """The root can be opened, but not read: its content is no list of names."""
    async with mounted(folder) as fs:
        fs.root.size = PAGE
        await fs.root.tree.write([(0, b"\xff" * PAGE)])
        fs.root.tree.record = fs.root._record()
        await fs.root.tree.sync()
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(DiskError, match="the root can't be read"):
            async with mounted(folder):
                pass
    assert sorted(os.listdir("/proc/self/fd")) == before


async def test_many_files_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("occlum_async.fs.sefs.filesystem.OPEN_TREES", 3)
    async with mounted(folder) as fs:

        async def churn(worker: int) -> None:
            for number in range(8):
                name = b"%d" % (worker * 100 + number)
                file = await make(fs.root, name, name * 3000)
                await file.sync(False)
                assert await file.read(3, 0) == (name * 3)[:3]
                if number % 2:
                    await fs.root.unlink(name, file)

        await asyncio.gather(*(churn(worker) for worker in range(8)), fs.sync())
    async with mounted(folder) as fs:
        assert len(await fs.root.readdir(0)) == 32
    assert len(list(folder.iterdir())) == 34


async def test_blocks_are_counted(folder: Path) -> None:
    async def blocks(inode: Inode) -> int:
        return (await inode.getattr()).blocks

    async with mounted(folder) as fs:
        file = await make(fs.root, b"file", bytes(100 * PAGE))
        await file.write(b"far", 5000 * PAGE)
        await file.sync(False)
        assert await blocks(file) == 101 * 8
        await file.write(b"again", 50 * PAGE)
        await file.fallocate(3, 10 * PAGE, 20 * PAGE + 5)
        await file.sync(False)
        assert await blocks(file) == 81 * 8
    async with mounted(folder) as fs:
        file = await fs.root.lookup(b"file")
        assert await blocks(file) == 81 * 8
        await file.setattr(size=5 * PAGE)
        assert await blocks(file) == 5 * 8
