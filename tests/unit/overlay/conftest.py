"""Layers to build overlays of: one or two host folders under a file system in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from occlum_async.fs.hostfs import HostFs
from occlum_async.fs.mount import anonymous_device
from occlum_async.fs.namespace import MountNamespace
from occlum_async.fs.overlay import OverlayFs
from occlum_async.fs.ramfs import RamFs
from occlum_async.io.boundary import open_boundary
from occlum_async.sched.strand import Scheduler

from .tree import InsideTree


def populate(lower: Path) -> None:
    """The lower layer that all tests start from."""
    (lower / "dir" / "sub").mkdir(parents=True)
    (lower / "empty").mkdir()
    (lower / "file").write_bytes(b"lower file")
    (lower / "dir" / "a").write_bytes(b"A")
    (lower / "dir" / "b").write_bytes(b"B" * 5000)
    (lower / "dir" / "sub" / "deep").write_bytes(b"deep")
    (lower / "link").symlink_to("file")
    (lower / "one").write_bytes(b"two names")
    os.link(lower / "one", lower / "two")


@asynccontextmanager
async def overlay(*lowers: Path, size: int | None = None) -> AsyncIterator[InsideTree]:
    """A tree whose root is an overlay of those folders under a ``RamFs`` of ``size`` bytes."""
    scheduler = Scheduler(asyncio.get_running_loop())
    boundary = open_boundary("auto", scheduler)
    layers = [HostFs(anonymous_device(), boundary, str(lower)) for lower in lowers]
    fs = OverlayFs(anonymous_device(), scheduler, layers, RamFs(size=size))
    yield InsideTree(MountNamespace(fs), scheduler)
    await fs.unmount()
    await boundary.shutdown()


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    folder = tmp_path / "lower"
    folder.mkdir()
    populate(folder)
    return folder


@pytest.fixture
async def make_overlay() -> AsyncIterator[Callable[..., Awaitable[InsideTree]]]:
    async with AsyncExitStack() as stack:

        async def make(*lowers: Path, size: int | None = None) -> InsideTree:
            return await stack.enter_async_context(overlay(*lowers, size=size))

        yield make


@pytest.fixture
async def tree(lower: Path, make_overlay: Callable[..., Awaitable[InsideTree]]) -> InsideTree:
    return await make_overlay(lower)
