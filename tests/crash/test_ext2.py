"""ext2 on a sealed disk after a crash: nothing to repair, everything there that was synced, and good for more."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from occlum_async.fs.credentials import Credentials
from occlum_async.fs.ext2 import Ext2, mkfs
from occlum_async.fs.mlsdisk import MlsDisk
from occlum_async.sched.strand import Scheduler
from tests.crash.simulated import Blocks, History, SimulatedDisk
from tests.unit.ext2.conftest import Disk, Mounted, fsck

KEY = bytes(range(32))
BLOCKS = 1500
ROOT = Credentials()


class Promise:
    """From the position ``since`` of the disk's log on, ``path`` must have this content."""

    def __init__(self, since: int, path: str, content: bytes) -> None:
        self.since = since
        self.path = path
        self.content = content


async def mounted_on(device: MlsDisk, scheduler: Scheduler) -> Mounted:
    return Mounted(await Ext2.mount(device, scheduler=scheduler, commit_interval=None), scheduler)


async def new_disk(block_size: int) -> Blocks:
    """A disk with an empty file system."""
    disk = SimulatedDisk(BLOCKS)
    mls = await MlsDisk.create(disk, KEY)
    await mkfs(mls, block_size=block_size)
    await mls.close()
    return disk.content


async def work(before: Blocks, seed: int, steps: int) -> tuple[SimulatedDisk, list[Promise]]:
    """Several at once make, write, rename and remove files, and sync some; what is promised to be there."""
    scheduler = Scheduler(asyncio.get_running_loop())
    disk = SimulatedDisk(BLOCKS, before)
    disk.scheduler, disk.chance = scheduler, random.Random(seed)
    mounted = await mounted_on(await MlsDisk.open(disk, KEY, scheduler=scheduler), scheduler)
    promises: list[Promise] = []

    async def worker(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        await mounted.do("mkdir", f"/{number}")
        for step in range(steps):
            path = f"/{number}/kept{step}"
            content = chance.randbytes(chance.randrange(1, 30_000))
            await mounted.do("write", f"/{number}/new", content)
            await mounted.do("write", f"/{number}/scratch{step % 3}", bytes(chance.randrange(150_000)))
            await (await mounted.tree._inode(f"/{number}/new".encode())).sync(True)
            await mounted.do("rename", f"/{number}/new", path)
            if chance.random() < 0.7:
                await (await mounted.tree._inode(f"/{number}".encode())).sync(False)
                promises.append(Promise(len(disk.log), path, content))
            if chance.random() < 0.4:
                await mounted.tree.do("unlink", f"/{number}/scratch{chance.randrange(3)}")

    await asyncio.gather(*(worker(number) for number in range(3)))
    await mounted.fs.unmount()
    return disk, promises


async def look_at(crashed: SimulatedDisk, promises: list[Promise], image: Path) -> None:
    """Open what a crash left: clean as it is, complete, and usable."""
    scheduler = Scheduler(asyncio.get_running_loop())
    mls = await MlsDisk.open(crashed, KEY, scheduler=scheduler)
    plain = Disk(mls.blocks)
    await plain.write(0, await mls.read(0, mls.blocks))
    if (await plain.read(0, 1))[1024 + 232 : 1024 + 236] == bytes(4):  # else e2fsck would name the orphans
        fsck(plain, image)
    mounted = await mounted_on(mls, scheduler)
    for promise in promises:
        assert await mounted.do("read", promise.path) == promise.content, promise.path
    await mounted.do("write", "/afterwards", b"x" * 50_000)
    await mounted.fs.sync()
    after = Disk(mls.blocks)
    await after.write(0, await mls.read(0, mls.blocks))
    fsck(after, image)
    await mounted.fs.unmount()


async def crash(image: Path, seed: int, block_size: int, steps: int, samples: int) -> None:
    before = await new_disk(block_size)
    disk, promises = await work(before, seed, steps)
    history = History(disk, before)
    chance = random.Random(seed)
    for position in sorted(chance.sample(range(len(disk.log) + 1), samples)):
        history.advance(position)
        due = [promise for promise in promises if promise.since <= position]
        crashed = chance.choice([history.whole(), history.nothing(), history.crashed(chance)])
        await look_at(crashed, due, image)


@pytest.mark.parametrize("block_size", [1024, 4096])
async def test_crash_somewhere(tmp_path: Path, block_size: int) -> None:
    await crash(tmp_path / "image", 1, block_size, 4, 12)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10))
async def test_crash_nearly_everywhere(tmp_path: Path, seed: int) -> None:
    await crash(tmp_path / "image", seed, (1024, 2048, 4096)[seed % 3], 5, 120)
