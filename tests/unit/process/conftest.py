"""A kernel with a clock that stands still, and processes without programs in them."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

import pytest

from occlum_async.fs.context import FsContext
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.fdtable import FdTable
from occlum_async.process.clock import ManualClock
from occlum_async.process.kernel import Config, Kernel
from occlum_async.process.program import System
from occlum_async.process.thread import Thread
from occlum_async.sched.strand import Scheduler, TaskStrand
from occlum_async.syscalls.table import TABLE

for module in (
    "credentials", "identity", "kill", "limits", "prctl", "sched", "signals", "system", "time", "timers", "wait",
):  # fmt: skip
    importlib.import_module(f"occlum_async.syscalls.{module}")


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def kernel(clock: ManualClock) -> Kernel:
    kernel = Kernel(Scheduler(asyncio.get_running_loop()), Config(pids=50, cpus=2), clock)
    kernel.syscall_table = dict(TABLE)
    kernel.create_init(FdTable(), FsContext(None))  # type: ignore[arg-type]
    return kernel


@pytest.fixture
async def thread(kernel: Kernel) -> Thread:
    """The only thread of a program that the embedder spawned."""
    return spawn(kernel)


def spawn(kernel: Kernel, uid: int = 0) -> Thread:
    """A process of its own."""
    credentials = Credentials.of(uid, uid)
    thread = kernel.create_process(b"test", credentials, FdTable(), FsContext(None))  # type: ignore[arg-type]
    thread.strand = TaskStrand(kernel.scheduler)
    return thread


def play(thread: Thread) -> None:
    """The calling task lives the life of ``thread``."""
    thread.strand = thread.scheduler.current()


async def call(thread: Thread, name: str, *arguments: Any) -> int:
    """Make a system call as ``thread``, which the calling task plays from now on; OSError when it fails."""
    play(thread)
    return await System(thread).call(name, *arguments)
