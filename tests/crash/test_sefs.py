"""sefs after a crash: each file as it was at its last sync, whatever the host had stored by then."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.stat import S_IFREG
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.pagecache import MIN_LIMIT, PAGE, PageCache
from occlum_async.fs.sefs import Sefs
from occlum_async.fs.sefs.inode import SefsInode
from occlum_async.io.boundary.ocall import OcallBoundary
from occlum_async.sched.strand import Scheduler
from tests.crash.folder import FolderHistory, RecordingBoundary

KEY = bytes(range(32))
ROOT = Credentials()
LONG = 250  # pages of a file: more than two nodes


@pytest.fixture(autouse=True)
def nothing_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync comes when it is asked for only."""
    monkeypatch.setattr("occlum_async.fs.sefs.filesystem.INTERVAL", 3600.0)


@asynccontextmanager
async def mounted(folder: Path, boundary: OcallBoundary | None = None) -> AsyncIterator[Sefs]:
    """Left without an unmount."""
    boundary = boundary or OcallBoundary(Scheduler(asyncio.get_running_loop()))
    cache = PageCache(boundary.scheduler, MIN_LIMIT)
    fs = await Sefs.mount(boundary, str(folder), KEY, cache)
    try:
        yield fs
    finally:
        fs.writable = False
        await fs.unmount()
        await boundary.shutdown()


class Workload:
    """Random changes of some files. ``syncs`` of a name: where one began and ended in the log, and what it stored."""

    def __init__(self, boundary: RecordingBoundary, fs: Sefs, seed: int) -> None:
        self.log = boundary.log
        self.fs = fs
        self.chance = random.Random(seed)
        self.files: dict[bytes, tuple[SefsInode, bytearray]] = {}
        self.syncs: dict[bytes, list[tuple[int, int, bytes]]] = {}

    async def run(self, steps: int) -> None:
        for number in range(3):
            await self._make(b"%d" % number)
        for step in range(steps):
            name = self.chance.choice(list(self.files))
            what = self.chance.random()
            if what < 0.1:
                await self._make(b"new%d" % step)
            elif what < 0.7:
                await self._change(name)
            elif what < 0.8:
                await self.files[name][0].cached().sync()  # the page cache writes when it likes to
            elif what < 0.96:
                await self._sync([name], self.files[name][0].sync(False))
            else:
                await self._sync(list(self.files), self.fs.sync())

    async def _make(self, name: bytes) -> None:
        inode = await self.fs.root.create(name, S_IFREG | 0o644, ROOT)
        assert isinstance(inode, SefsInode)
        self.files[name] = inode, bytearray()

    async def _change(self, name: bytes) -> None:
        inode, right = self.files[name]
        offset, length = self.chance.randrange(LONG * PAGE), self.chance.randrange(1, 6 * PAGE)
        what = self.chance.random()
        if what < 0.15:
            await inode.setattr(size=offset)
            right[offset:] = b""
            right.extend(bytes(offset - len(right)))
        elif what < 0.25:
            await inode.fallocate(3, offset, length)
            right[offset : offset + length] = bytes(len(right[offset : offset + length]))
        else:
            data = self.chance.randbytes(length)
            await inode.write(data, offset)
            right.extend(bytes(max(0, offset - len(right))))
            right[offset : offset + length] = data

    async def _sync(self, names: list[bytes], sync: object) -> None:
        begin = len(self.log)
        await sync  # type: ignore[misc]
        for name in names:
            self.syncs.setdefault(name, []).append((begin, len(self.log), bytes(self.files[name][1])))

    def allowed(self, name: bytes, position: int) -> list[bytes | None]:
        """What may be found under ``name`` when the machine stops after ``position`` changes; None for nothing."""
        found: list[bytes | None] = [None]
        for begin, end, content in self.syncs.get(name, []):
            if end <= position:
                found = [content]
            elif begin < position:
                found.append(content)
        return found


async def content_of(fs: Sefs, name: bytes) -> bytes | None:
    """None for a file that was never stored, with a name or without one."""
    try:
        inode = await fs.root.lookup(name)
    except SyscallError:
        return None
    return await inode.read(LONG * 2 * PAGE, 0)


async def look_at(folder: Path, work: Workload, position: int, thorough: bool) -> None:
    """Mount what a crash left, compare, and go on with it."""
    async with mounted(folder) as fs:
        for name in work.files:
            assert await content_of(fs, name) in work.allowed(name, position), (name, position)
        if thorough:
            inode = await fs.root.create(b"afterwards", S_IFREG | 0o644, ROOT)
            await inode.write(b"x" * 50_000, 0)
            await fs.sync()
    if thorough:
        async with mounted(folder) as fs:
            assert await content_of(fs, b"afterwards") == b"x" * 50_000
            for name in work.files:
                assert await content_of(fs, name) in work.allowed(name, position), (name, position)


async def crash_everywhere(tmp_path: Path, seed: int, steps: int, tries: int, every: int = 1) -> int:
    """Crash after each change of a workload, in ``tries`` ways; how many folders were looked at."""
    (tmp_path / "host").mkdir()
    boundary = RecordingBoundary(Scheduler(asyncio.get_running_loop()))
    async with mounted(tmp_path / "host", boundary) as fs:
        made = len(boundary.log)
        work = Workload(boundary, fs, seed)
        await work.run(steps)
        log = list(boundary.log)
    history = FolderHistory(log)
    looked = 0
    for position in range(made, len(log) + 1, every):
        history.advance(position)
        chance = random.Random(f"{seed} {position}")
        for kept in (None, 0.0, *(chance.random() for _ in range(tries))):
            if history.pending or kept is None:
                history.leave(tmp_path / "crashed", chance if kept is not None else None, kept or 0.0)
                await look_at(tmp_path / "crashed", work, position, chance.random() < 0.1)
                shutil.rmtree(tmp_path / "crashed")
                looked += 1
    return looked


@pytest.mark.parametrize("seed", range(2))
async def test_a_crash_anywhere_leaves_what_was_synced(tmp_path: Path, seed: int) -> None:
    assert await crash_everywhere(tmp_path, seed, 40, 1, every=3) > 50


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 106))
async def test_thousands_of_crashes(tmp_path: Path, seed: int) -> None:
    assert await crash_everywhere(tmp_path, seed, 80, 4) > 1000


async def test_a_crash_while_a_change_is_undone(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    boundary = RecordingBoundary(Scheduler(asyncio.get_running_loop()))
    before = random.Random(1).randbytes(LONG * PAGE)
    async with mounted(tmp_path / "host", boundary) as fs:
        file = await fs.root.create(b"file", S_IFREG | 0o644, ROOT)
        assert isinstance(file, SefsInode)
        await file.write(before, 0)
        await file.sync(False)
        await file.write(bytes(3 * LONG * PAGE // 2), LONG * PAGE // 2)
        await file.cached().sync()
    first = len(boundary.log)
    again = RecordingBoundary(Scheduler(asyncio.get_running_loop()), boundary)
    async with mounted(tmp_path / "host", again) as fs:
        assert await content_of(fs, b"file") == before
    history = FolderHistory(list(again.log))
    for position in range(first, len(history.log) + 1, 2):
        history.advance(position)
        for kept in (0.0, 0.5):
            history.leave(tmp_path / "crashed", random.Random(f"{position} {kept}"), kept)
            async with mounted(tmp_path / "crashed") as fs:
                assert await content_of(fs, b"file") == before
            shutil.rmtree(tmp_path / "crashed")


@pytest.mark.parametrize("code", (5, 28))
async def test_the_host_fails_once_anywhere(tmp_path: Path, code: int) -> None:
    """After an error a later sync stores all that is left, and a crash still leaves what was synced."""
    for failing in range(0, 300, 9):
        folder = tmp_path / str(failing)
        folder.mkdir()
        boundary = RecordingBoundary(Scheduler(asyncio.get_running_loop()))
        async with mounted(folder, boundary) as fs:
            left = failing

            def fault() -> None:
                nonlocal left
                left -= 1
                if left == -1:
                    raise SyscallError(code)

            work = Workload(boundary, fs, 3)
            boundary.fault = fault
            try:
                await work.run(40)
            except SyscallError as error:
                assert error.errno in (code, 5)
            boundary.fault = lambda: None
            happened = left < 0
            for _ in range(2):  # an error in the background is reported once
                try:
                    await fs.sync()
                    break
                except SyscallError as error:
                    assert error.errno in (code, 5)
            fs.cache.shrink(0)  # a page that could not be written back counts as written, and is lost
            copy = shutil.copytree(folder, tmp_path / "copy")
            right = {name: await inode.read(2 * LONG * PAGE, 0) for name, (inode, _) in work.files.items()}
        async with mounted(copy) as fs:
            for name, content in right.items():
                assert await content_of(fs, name) == content, (name, failing)
        shutil.rmtree(copy)
        if not happened:
            return
    pytest.fail("the workload is longer than it was meant to be")
