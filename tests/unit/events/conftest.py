"""What the tests of pipes, events and IPC share: a scheduler, a kernel with one process, blocked calls."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.context import FsContext
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.fdtable import FdTable
from occlum_async.io.ipc import IpcNamespace
from occlum_async.process.kernel import Kernel
from occlum_async.process.thread import Thread
from occlum_async.sched.strand import Scheduler

from ..conftest import settle


@pytest.fixture
def blocked() -> Callable[[Coroutine[Any, Any, Any]], Awaitable[asyncio.Task[Any]]]:
    """Start a call that must block."""

    async def start(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(coroutine)
        await settle()
        assert not task.done(), "the call did not block"
        return task

    return start


@pytest.fixture
def fails() -> Callable[..., Awaitable[SyscallError]]:
    """Check that an awaitable or a function call fails with an errno."""

    async def check(number: int, call: Any, *args: Any) -> SyscallError:
        with pytest.raises(SyscallError) as caught:
            result = call(*args) if callable(call) else call
            if asyncio.iscoroutine(result):
                await result
        assert errno.errorcode[caught.value.errno] == errno.errorcode[number]
        return caught.value

    return check


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a call that must not block."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a non-blocking call has blocked")


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """The result of a call, ours or Linux', or the name of its error."""
    try:
        return call(*args)
    except (OSError, SyscallError) as error:
        return errno.errorcode[error.errno or 0]


@pytest.fixture
def thread(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> Thread:
    """A thread of root's in a LibOS with IPC objects; whatever task a test runs is taken for its."""
    thread = make_thread(scheduler)
    monkeypatch.setattr(thread.kernel, "current_thread", lambda: thread)
    return thread


def make_thread(scheduler: Scheduler) -> Thread:
    nowhere: Any = None
    kernel = Kernel(scheduler)
    kernel.ipc = IpcNamespace()
    kernel.create_init(FdTable(), FsContext(nowhere))
    return kernel.create_process(b"test", Credentials(), FdTable(), FsContext(nowhere))
