"""Changes beside a commit that waits for the device."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from occlum_async.fs.block.memory import MemoryDevice
from occlum_async.fs.ext2 import Ext2, mkfs
from occlum_async.fs.mlsdisk import MlsDisk
from occlum_async.sched.strand import Scheduler
from occlum_async.sched.waitqueue import WaitQueue

from .conftest import ROOT, Mounted

REGULAR = 0o100644
KEY = bytes(range(32))
BLOCKS = 2000


class SlowDevice(MemoryDevice):
    """A device whose syncs wait while it is ``held``."""

    held = False
    waiting = 0

    def __init__(self, blocks: int, scheduler: Scheduler) -> None:
        super().__init__(blocks)
        self._scheduler = scheduler
        self._queue = WaitQueue()

    async def sync(self) -> None:
        self.waiting += 1
        while self.held:
            await self._queue.wait(self._scheduler, interruptible=False)
        self.waiting -= 1

    def release(self) -> None:
        """Let those go on who wait."""
        self.held = False
        self._queue.wake()


class Place:
    """A file system on a sealed disk on a slow device."""

    def __init__(self, mounted: Mounted, device: SlowDevice) -> None:
        self.mounted = mounted
        self.device = device

    async def file(self, name: bytes, data: bytes) -> Any:
        """A new file, whose data have gone to the disk and are not committed."""
        file = await self.mounted.root.create(name, REGULAR, ROOT)
        await file.write(data, 0)
        await file.cached().sync()
        return file

    async def held_sync(self) -> asyncio.Task[None]:
        """A sync that waits for the device."""
        self.device.held = True
        task = asyncio.ensure_future(self.mounted.fs.sync())
        async with asyncio.timeout(20):
            while not self.device.waiting:
                await asyncio.sleep(0)
        return task


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    scheduler = Scheduler(asyncio.get_running_loop())
    device = SlowDevice(3 * BLOCKS, scheduler)
    disk = await MlsDisk.create(device, KEY, blocks=BLOCKS, scheduler=scheduler)
    await mkfs(disk)
    mounted = Mounted(await Ext2.mount(disk, scheduler=scheduler, commit_interval=None), scheduler)
    yield Place(mounted, device)
    device.release()
    await mounted.fs.unmount()


async def test_changes_need_not_wait_for_the_device(place: Place) -> None:
    await place.file(b"before", b"1" * 10_000)
    syncing = await place.held_sync()
    async with asyncio.timeout(20):
        beside = await place.file(b"beside", b"2" * 10_000)
        await place.mounted.do("mkdir", "/directory")
        await place.mounted.do("unlink", "/before")
    assert not syncing.done(), "the device has not said that it is durable"
    place.device.release()
    await syncing
    assert await beside.read(10_000, 0) == b"2" * 10_000


async def test_a_block_that_is_used_again_is_not_discarded(place: Place) -> None:
    """What was deleted before a sync is discarded after it, but for what others have taken meanwhile."""
    size = (BLOCKS * 3 // 5) * 4096
    await place.file(b"old", os.urandom(size))
    await place.mounted.fs.sync()
    await place.mounted.do("unlink", "/old")
    syncing = await place.held_sync()
    data = os.urandom(size)
    async with asyncio.timeout(20):
        new = await place.file(b"new", data)
    place.device.release()
    await syncing
    await new.cached().advise(os.POSIX_FADV_DONTNEED, 0, 0)
    assert await new.read(size, 0) == data
