"""Damaged disks and failing devices: errors, never an exception of ours, never a hang, nothing lost that was synced."""

from __future__ import annotations

import asyncio
import errno
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.block.device import BLOCK
from occlum_async.fs.ext2 import Ext2, mkfs
from occlum_async.fs.ext2.layout import ERRORS_READ_ONLY
from occlum_async.fs.ext2.superblock import BadSuperblock
from occlum_async.sched.strand import Scheduler

from ..overlay.tree import forget_names
from .conftest import ROOT, Disk, Mounted, fsck, mke2fs, mount, run

REGULAR = 0o100644
SECONDS = 20  # that a workload on a damaged disk may take at most


async def populate(mounted: Mounted) -> None:
    """Something of everything."""
    do, root = mounted.do, mounted.root
    await do("mkdir", "/d")
    await do("mkdir", "/d/sub")
    for number in range(40):
        await do("write", f"/d/f{number}", b"x" * number * 300)
    await do("write", "/big", b"y" * 700_000)
    big = await root.lookup(b"big")
    await big.write(b"far", 80 << 20)
    await big.setxattr(b"user.in", b"1", 0)
    await big.setxattr(b"user.block", bytes(600), 0)
    await do("symlink", "z" * 100, "/slow")
    await do("symlink", "fast", "/fast")
    await do("link", "/d/f3", "/hard")
    await root.create(b"dev", 0o020600, ROOT, 0x105)


WORK: tuple[tuple[Any, ...], ...] = (
    ("listdir", "/"), ("listdir", "/d"), ("read", "/big"), ("read", "/d/f7"), ("stat", "/dev"), ("readlink", "/slow"),
    ("readlink", "/fast"), ("getxattr", "/big", "user.block"), ("getxattr", "/big", "user.in"),
    ("write", "/d/new", b"n" * 100_000), ("append", "/big", b"+" * 5000), ("truncate", "/big", 100),
    ("setxattr", "/big", "user.more", b"m" * 300), ("unlink", "/d/f9"), ("unlink", "/big"),
    ("rename", "/d/f1", "/moved"),
    ("mkdir", "/d/made"), ("rmdir", "/d/sub"), ("link", "/hard", "/harder"), ("unlink", "/slow"), ("listdir", "/d"),
    ("exchange", "/d/f2", "/hard"), ("rename", "/d", "/e"),
)  # fmt: skip


async def work_on(disk: Disk, sync_each: bool = False) -> None:
    """Mount and do everything; what fails must fail as a system call does."""
    scheduler = Scheduler(asyncio.get_running_loop())
    try:
        fs = await Ext2.mount(disk, scheduler=scheduler, commit_interval=None)
    except (BadSuperblock, SyscallError):
        return
    mounted = Mounted(fs, scheduler)
    for step in WORK:
        try:
            await mounted.tree.do(*step)
        except AssertionError:
            assert step[0] == "listdir"  # a damaged directory may name something twice
        # An orphan may have been given up meanwhile.
        await asyncio.sleep(0)
        if sync_each:
            with suppress(SyscallError):
                await fs.sync()
    for last in (fs.statfs, fs.sync, fs.unmount):
        try:
            await last()
        except SyscallError as error:
            assert error.errno in (errno.EIO, errno.ENOSPC, errno.EROFS), error


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[bytes, list[int]]]:
    """A disk of each kind, and the blocks of it that hold something, metadata several times."""
    found = {}
    for block_size in (1024, 4096):
        disk = mke2fs(tmp_path_factory.mktemp("disk") / "image", 4 << 20, "-b", str(block_size))

        async def fill(disk: Disk = disk) -> None:
            mounted = await mount(disk)
            await populate(mounted)
            await mounted.fs.unmount()

        asyncio.run(fill())
        found[block_size] = (disk.content(), metadata_of(disk))
    return found


def metadata_of(disk: Disk) -> list[int]:
    """The blocks of the device that are not mere file data."""
    content = disk.content()
    data = {b"x" * BLOCK, b"y" * BLOCK, bytes(BLOCK)}
    return [block for block in range(disk.blocks) if content[block * BLOCK : (block + 1) * BLOCK] not in data]


def damage(content: bytes, blocks: list[int], chance: random.Random) -> bytes:
    """Change some bits, bytes or words of some blocks."""
    image = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5, 30])):
        block = chance.choice(blocks)
        base = block * BLOCK
        used = [at for at in range(0, BLOCK, 4) if image[base + at : base + at + 4] != bytes(4)] or [0]
        at = base + chance.choice(used) + chance.randrange(4)
        kind = chance.randrange(5)
        if kind == 0:
            image[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            image[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif kind == 2:
            image[at & ~3 : (at & ~3) + 4] = chance.choice([0, 1, 0xFFFFFFFF, 0x80000000, block]).to_bytes(4, "little")
        elif kind == 3:
            other = chance.choice(blocks) * BLOCK
            image[base : base + BLOCK] = image[other : other + BLOCK]
        else:
            image[base : base + BLOCK] = chance.choice([bytes(BLOCK), b"\xff" * BLOCK, chance.randbytes(BLOCK)])
    return bytes(image)


def fuzz(populated: dict[int, tuple[bytes, list[int]]], seeds: range) -> None:
    for seed in seeds:
        chance = random.Random(seed)
        content, blocks = populated[chance.choice([1024, 4096])]
        disk = Disk(len(content) // BLOCK, damage(content, blocks, chance))
        try:
            asyncio.run(asyncio.wait_for(work_on(disk), SECONDS))
        except BaseException as error:
            raise AssertionError(f"seed {seed}") from error


def test_damaged_disks(populated: dict[int, tuple[bytes, list[int]]]) -> None:
    fuzz(populated, range(60))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_damaged_disks(populated: dict[int, tuple[bytes, list[int]]]) -> None:
    fuzz(populated, range(1000, 4000))


class Failing(Disk):
    """Fails one of its calls, or every one from then on, with ``error``."""

    def __init__(self, blocks: int, content: bytes, at: int, error: int, forever: bool) -> None:
        super().__init__(blocks, content)
        self.calls = 0
        self.at, self.error, self.forever = at, error, forever
        self.synced = content

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.at or (self.forever and self.calls > self.at):
            raise SyscallError(self.error)

    async def read(self, block: int, count: int) -> bytes:
        if self.error == errno.EIO:
            self._count()
        return await super().read(block, count)

    async def write(self, block: int, data: Any) -> None:
        self._count()
        await super().write(block, data)

    async def sync(self) -> None:
        self._count()
        self.synced = self.content()


def fail(content: bytes, image: Path, error: int, forever: bool, sync_each: bool, tries: int) -> None:
    """Let ``tries`` of the device's calls fail; what it held at its last sync must be whole."""
    whole = Failing(len(content) // BLOCK, content, 0, error, False)
    asyncio.run(work_on(whole, sync_each))
    for at in range(1, whole.calls + 1, max(1, whole.calls // tries)):
        disk = Failing(whole.blocks, content, at, error, forever)
        disk.atomic_sync = True
        asyncio.run(asyncio.wait_for(work_on(disk, sync_each), SECONDS))
        done = Disk(disk.blocks, disk.synced)
        orphans_freed(done)
        damaged = b"with errors" in run("dumpe2fs", "-h", str(done.save(image))).encode()
        assert not damaged or error == errno.EIO
        if not damaged:  # a bitmap or pointers that could not be read are for e2fsck(8), and marked so
            fsck(done, image)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("forever", [False, True])
def test_a_failing_device(
    populated: dict[int, tuple[bytes, list[int]]], tmp_path: Path, error: int, forever: bool
) -> None:
    """One that fails once, and one that fails from then on."""
    fail(populated[4096][0], tmp_path / "image", error, forever, False, 25)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("block_size", [1024, 4096])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("forever", [False, True])
def test_a_device_that_fails_at_every_call(
    populated: dict[int, tuple[bytes, list[int]]], tmp_path: Path, block_size: int, error: int, forever: bool
) -> None:
    """With a sync after every step."""
    fail(populated[block_size][0], tmp_path / "image", error, forever, True, 10**6)


async def test_a_bad_block_is_a_bad_page(tmp_path: Path) -> None:
    """What lies around a block that can't be read is read, of a file and of the table of inodes."""

    class Bad(Disk):
        bad = -1

        async def read(self, block: int, count: int) -> bytes:
            if block <= self.bad < block + count:
                raise SyscallError(errno.EIO)
            return await super().read(block, count)

    disk = Bad(4096)
    await mkfs(disk)
    mounted = await mount(disk)
    content = bytes(range(256)) * 2000
    await mounted.do("write", "/f", content)
    for number in range(40):
        await mounted.do("write", f"/{number}", b"x")
    await mounted.fs.sync()
    file = await mounted.root.lookup(b"f")
    disk.bad, _ = await mounted.fs.map.find(file, 20, 1)
    table = mounted.fs.groups.inode_table[0]
    del file
    await mounted.fs.unmount()
    mounted = await mount(disk)
    file = await mounted.root.lookup(b"f")
    for page in range(125):
        try:
            assert await file.read(4096, page * 4096) == content[page * 4096 : (page + 1) * 4096]
            assert page != 20
        except SyscallError as error:
            assert (page, error.errno) == (20, errno.EIO)
    del file
    await mounted.fs.unmount()
    disk.bad = table + 2
    mounted = await mount(disk)
    found = [(await mounted.tree.do("stat", f"/{number}"))[0] for number in range(40)]
    assert found.count("ok") == 40 - 16
    await mounted.fs.unmount()


async def test_data_that_wait_when_a_damaged_disk_becomes_read_only() -> None:
    """They are lost, and the disk is closed all the same."""

    class Closing(Disk):
        closed = False

        async def close(self) -> None:
            self.closed = True

    disk = Closing(4096)
    await mkfs(disk)
    mounted = await mount(disk)
    mounted.fs.superblock.errors = ERRORS_READ_ONLY
    await mounted.do("write", "/f", bytes(3 << 20))
    await mounted.fs.commit()
    forget_names()  # now nobody but the page cache has the inode
    mounted.fs.fault("a test")
    await mounted.fs.unmount()
    assert disk.closed


def orphans_freed(disk: Disk) -> None:
    """Mount and unmount, as one does after a crash."""

    async def again() -> None:
        mounted = await mount(disk)
        await mounted.fs.unmount()

    asyncio.run(again())


def test_every_commit_is_a_whole_one(tmp_path: Path) -> None:
    """On a device with an atomic sync, what it held at any sync needs no repair and is what was synced before."""

    class Recording(Disk):
        atomic_sync = True

        def __init__(self, blocks: int) -> None:
            super().__init__(blocks)
            self.states: list[bytes] = []

        async def sync(self) -> None:
            self.states.append(self.content())

    async def run_workload() -> list[bytes]:
        disk = Recording(1024)
        await mkfs(disk, block_size=1024)
        scheduler = Scheduler(asyncio.get_running_loop())
        fs = await Ext2.mount(disk, scheduler=scheduler, commit_interval=None)
        chance = random.Random(3)
        finished = 0

        async def worker(number: int) -> None:
            nonlocal finished
            mounted = Mounted(fs, scheduler)
            await mounted.do("mkdir", f"/{number}")
            for step in range(25):
                name = f"/{number}/f{step % 5}"
                await mounted.do("write", name, chance.randbytes(chance.randrange(60_000)))
                await asyncio.sleep(0)
                if step % 3 == 0:
                    await mounted.do("rename", name, f"/{number}/g{step}")
                if step % 4 == 0:
                    await (await mounted.tree._inode(f"/{number}".encode())).sync(False)
                if step % 5 == 4:
                    await mounted.tree.do("unlink", f"/{number}/g{step - step % 3 - 3}")
            finished += 1

        async def committer() -> None:
            while finished < 4:
                await fs.commit()
                await asyncio.sleep(0)

        await asyncio.gather(*(worker(number) for number in range(4)), committer())
        await fs.unmount()
        return disk.states

    states = asyncio.run(run_workload())
    assert len(states) > 20
    for state in states[:: max(1, len(states) // 40)]:
        disk = Disk(1024, state)
        if state[1024 + 232 : 1024 + 236] != bytes(4):
            orphans_freed(disk)
        fsck(disk, tmp_path / "image")
