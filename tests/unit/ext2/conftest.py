"""Disks for ext2: made here or by mke2fs(8), and looked at by e2fsck(8) when a test is over."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.attributes import get_xattr, set_xattr
from occlum_async.fs.block.device import BLOCK
from occlum_async.fs.block.memory import MemoryDevice
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.ext2 import Ext2, mkfs
from occlum_async.fs.namei import resolve
from occlum_async.fs.namespace import MountNamespace
from occlum_async.sched.strand import Scheduler

from ..overlay.tree import InsideTree

ROOT = Credentials()
BLOCK_SIZES = (1024, 2048, 4096)
# Where the tools are, also for those who are not root.
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C"}


class Disk(MemoryDevice):
    """A device that outlives its mounts."""

    async def close(self) -> None:
        pass

    def save(self, path: Path) -> Path:
        """Write it to a file that is as sparse as the disk."""
        path.unlink(missing_ok=True)  # a loop device may have the old one still
        with path.open("wb") as image:
            image.truncate(self.blocks * BLOCK)
            for block, data in self._held.items():
                image.seek(block * BLOCK)
                image.write(data)
        return path

    def copy(self, blocks: int = 0) -> Disk:
        """Another disk with the same content, and more blocks if asked for."""
        other = Disk(max(blocks, self.blocks))
        other._held = dict(self._held)
        return other


def mke2fs(path: Path, size: int, *options: str, kind: str = "ext2") -> Disk:
    """What mke2fs(8) makes of a disk of ``size`` bytes."""
    with path.open("wb") as image:
        image.truncate(size)
    run("mke2fs", "-q", "-F", "-t", kind, *options, str(path))
    return Disk(size // BLOCK, path.read_bytes())


def run(*command: str) -> str:
    """A program's output; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def fsck(disk: Disk, path: Path) -> None:
    """Assert that e2fsck(8) finds nothing to repair."""
    run("e2fsck", "-fn", str(disk.save(path)))


@contextmanager
def loop_mount(image: Path, where: Path, options: str = "loop") -> Iterator[Path]:
    """The image as Linux sees it; the test is skipped where it can't be mounted."""
    where.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "ext2", "-o", options, str(image), str(where)], capture_output=True, env=ENVIRONMENT
    )
    if mounted.returncode:
        pytest.skip("mounting an image takes root and a loop device")
    try:
        yield where
    finally:
        # Another mount namespace may have a copy of the mount for a while: then only this writes everything.
        run("sync", "-f", str(where))
        run("umount", str(where))


class Tree(InsideTree):
    """Extended attributes by the VFS's rules."""

    async def setxattr(self, path: bytes, name: bytes, value: bytes) -> None:
        await set_xattr(self, await resolve(self, path, None, 0), name, value, 0)

    async def getxattr(self, path: bytes, name: bytes) -> bytes:
        return await get_xattr(self, await resolve(self, path, None, 0), name)


class Mounted:
    """A mounted disk and what a test does with it."""

    def __init__(self, fs: Ext2, scheduler: Scheduler) -> None:
        self.fs = fs
        self.scheduler = scheduler
        self.tree = Tree(MountNamespace(fs), scheduler)
        self.tree.cold = True

    @property
    def root(self) -> Any:
        return self.fs.root

    async def do(self, operation: str, *arguments: Any) -> Any:
        """An operation that must succeed; its result."""
        outcome, value = await self.tree.do(operation, *arguments)
        assert outcome == "ok", f"{operation}{arguments}: {value}"
        return value


async def mount(disk: Disk, **options: Any) -> Mounted:
    scheduler = Scheduler(asyncio.get_running_loop())
    options.setdefault("commit_interval", None)
    return Mounted(await Ext2.mount(disk, scheduler=scheduler, **options), scheduler)


@pytest.fixture(autouse=True)
def no_oops(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """An exception of ours in a strand that nobody waits for is only logged."""
    yield
    assert not [record for record in caplog.get_records("call") if "oops" in record.getMessage()]


@pytest.fixture
async def disks(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Makes and mounts disks of ``size`` MiB; they are unmounted and checked in the end."""
    made: list[tuple[Disk, Mounted]] = []

    async def make(size: float = 16, block_size: int = 4096, disk: Disk | None = None, **options: Any) -> Mounted:
        if disk is None:
            disk = Disk(int(size * 256))
            await mkfs(disk, block_size=block_size, **options)
            options = {}
        mounted = await mount(disk, **options)
        made.append((disk, mounted))
        return mounted

    yield make
    for disk, mounted in made:
        await mounted.fs.unmount()
        fsck(disk, tmp_path / "checked.img")


async def remounted(mounted: Mounted, path: Path) -> Mounted:
    """The same disk, unmounted, checked and mounted again."""
    disk = mounted.fs.block_device
    await mounted.fs.unmount()
    fsck(disk, path)
    return await mount(disk)


def failing(number: int) -> Any:
    """``pytest.raises`` for the errno ``number``."""

    class Context:
        def __enter__(self) -> None:
            pass

        def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
            assert isinstance(error, SyscallError), f"expected an error, got {error!r}"
            assert error.errno == number, error
            return True

    return Context()
