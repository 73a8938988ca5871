"""A kernel with a clock that stands still, and processes without programs in them."""

from __future__ import annotations

import asyncio

import pytest

from occlum_async.fs.context import FsContext
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.fdtable import FdTable
from occlum_async.process.clock import ManualClock
from occlum_async.process.kernel import Config, Kernel
from occlum_async.process.thread import Thread
from occlum_async.sched.strand import Scheduler, TaskStrand


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def kernel(clock: ManualClock) -> Kernel:
    kernel = Kernel(Scheduler(asyncio.get_running_loop()), Config(pids=50, cpus=2), clock)
    kernel.create_init(FdTable(), FsContext(None))  # type: ignore[arg-type]
    return kernel


@pytest.fixture
async def thread(kernel: Kernel) -> Thread:
    """The only thread of a program that the embedder spawned; it is played by the test itself."""
    thread = spawn(kernel)
    thread.strand = kernel.scheduler.current()
    return thread


def spawn(kernel: Kernel, uid: int = 0) -> Thread:
    """A process of its own."""
    credentials = Credentials.of(uid, uid)
    thread = kernel.create_process(b"test", credentials, FdTable(), FsContext(None))  # type: ignore[arg-type]
    thread.strand = TaskStrand(kernel.scheduler)
    return thread
