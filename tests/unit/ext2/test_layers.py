"""ext2 where it is used: under an overlay, on a sealed disk, in guests that are killed."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.ext2 import Ext2, mkfs
from occlum_async.fs.mlsdisk import MlsDisk
from occlum_async.fs.mount import anonymous_device
from occlum_async.fs.namespace import MountNamespace
from occlum_async.fs.overlay import OverlayFs
from occlum_async.fs.ramfs import RamFs
from occlum_async.sched.strand import CoroutineStrand, Scheduler

from .conftest import ROOT, Disk, Mounted, Tree, fsck, mount

REGULAR = 0o100644


async def test_upper_layer_of_an_overlay(disks: Callable[..., Any]) -> None:
    """Copies up, whiteouts, opaque directories and files without a name, and all of it again after a remount."""
    mounted: Mounted = await disks(8)
    lower = RamFs()
    below = Tree(MountNamespace(lower), mounted.scheduler)
    for step in (
        ("mkdir", "/d"), ("write", "/d/a", b"A" * 9000), ("write", "/d/b", b"B"), ("symlink", "a", "/d/l"),
        ("mkdir", "/e"), ("write", "/e/x", b"X"), ("setxattr", "/d/a", "user.k", b"v"),
    ):  # fmt: skip
        assert (await below.do(*step))[0] == "ok", step
    overlay = OverlayFs(anonymous_device(), mounted.scheduler, [lower], mounted.fs)
    tree = Tree(MountNamespace(overlay), mounted.scheduler)
    for step in (
        ("append", "/d/a", b"!"), ("unlink", "/d/b"), ("unlink", "/e/x"), ("rmdir", "/e"), ("mkdir", "/e"),
        ("write", "/e/y", b"Y"), ("rename", "/d/l", "/e/l"), ("link", "/e/y", "/e/z"),
    ):  # fmt: skip
        assert (await tree.do(*step))[0] == "ok", step

    async def check(tree: Tree) -> None:
        assert await tree.do("read", "/d/a") == ("ok", b"A" * 9000 + b"!")
        assert await tree.do("getxattr", "/d/a", "user.k") == ("ok", b"v")
        assert await tree.do("listdir", "/d") == ("ok", [b"a"])
        assert await tree.do("listdir", "/e") == ("ok", [b"l", b"y", b"z"])
        assert await tree.do("readlink", "/e/l") == ("ok", b"a")

    await check(tree)
    await mounted.fs.sync()
    again = await mount(mounted.fs.block_device.copy())
    await check(
        Tree(MountNamespace(OverlayFs(anonymous_device(), again.scheduler, [lower], again.fs)), again.scheduler)
    )
    await again.fs.unmount()


async def test_on_a_sealed_disk(tmp_path: Path) -> None:
    """What a sealed disk holds after its last sync is a clean file system, whatever was written afterwards."""
    scheduler = Scheduler(asyncio.get_running_loop())
    image, key = Disk(4096), os.urandom(32)
    disk = await MlsDisk.create(image, key, scheduler=scheduler)
    await mkfs(disk)
    mounted = Mounted(await Ext2.mount(disk, scheduler=scheduler, commit_interval=None), scheduler)
    for number in range(30):
        await mounted.do("write", f"/f{number}", os.urandom(20_000))
    await mounted.fs.sync()
    await mounted.do("write", "/late", b"x" * 100_000)
    await mounted.do("unlink", "/f3")
    crashed = image.copy()
    reopened = await MlsDisk.open(crashed, key, scheduler=scheduler)
    plain = Disk(reopened.blocks)
    await plain.write(0, await reopened.read(0, reopened.blocks))
    fsck(plain, tmp_path / "image")
    again = Mounted(await Ext2.mount(reopened, scheduler=scheduler, commit_interval=None), scheduler)
    assert len(await again.do("listdir", "/")) == 31
    await again.fs.unmount()
    await mounted.fs.unmount()


async def test_a_short_device_asks_for_a_commit(disks: Callable[..., Any]) -> None:
    mounted: Mounted = await disks(8)
    syncs = 0
    device = mounted.fs.block_device

    async def sync() -> None:
        nonlocal syncs
        syncs += 1

    device.sync = sync  # type: ignore[method-assign]
    await mounted.root.mkdir(b"d", 0o755, ROOT)
    assert device.pressure is not None
    device.pressure()
    while syncs < 2:  # before metadata are written, and after
        await asyncio.sleep(0)


class Slow(Disk):
    """Every call waits for a turn of the event loop, as on a real device."""

    scheduler: Scheduler

    async def _wait(self) -> None:
        strand = self.scheduler.current()
        self.scheduler.loop.call_soon(strand.resume, strand.ticket)
        await strand.park(interruptible=False)

    async def read(self, block: int, count: int) -> bytes:
        await self._wait()
        return await super().read(block, count)

    async def write(self, block: int, data: Any) -> None:
        await self._wait()
        await super().write(block, data)


class Gone(Exception):
    """The guest is no more."""


async def test_guests_that_are_killed_while_they_wait(tmp_path: Path) -> None:
    """Whatever they were doing is done, or was never begun: the disk is whole, and nobody waits for them."""
    disk = Slow(2048)
    disk.scheduler = scheduler = Scheduler(asyncio.get_running_loop())
    await mkfs(disk)
    fs = await Ext2.mount(disk, scheduler=scheduler, commit_interval=None)
    fs.buffers.limit = 4  # so that there is something to wait for
    mounted = Mounted(fs, scheduler)

    async def guest(number: int) -> None:
        try:
            for step in range(6):
                name = f"/{number}.{step}"
                await mounted.tree.do("mkdir", name)
                await mounted.tree.do("write", name + "/f", b"x" * 5000 * step)
                await mounted.tree.do("rename", name + "/f", f"/{number}")
                await mounted.tree.do("truncate", f"/{number}", 100)
                await (await mounted.tree._inode(b"/")).sync(False)
        except (Gone, SyscallError) as error:
            assert isinstance(error, Gone) or error.errno == errno.ENOENT

    for number in range(40):
        strand = CoroutineStrand(scheduler, guest(number))
        strand.start()
        for _ in range(number * 3):
            await asyncio.sleep(0)
        strand.abort(Gone())
    await mounted.do("mkdir", "/end")
    await fs.unmount()
    fsck(disk, tmp_path / "image")
