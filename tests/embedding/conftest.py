"""A LibOS within the test's own process, on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

TIME_LIMIT = 60.0
Run = Callable[[Coroutine[Any, Any, Any]], Any]


def _loop_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    return pytest.importorskip("uvloop").new_event_loop if kind == "uvloop" else asyncio.new_event_loop


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """``run(coroutine)`` on a fresh event loop, in no more than a minute; a forgotten task may not fail."""

    def on_loop(main: Coroutine[Any, Any, Any]) -> Any:
        complaints: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=_loop_factory(request.param)) as runner:
            runner.get_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
            result = runner.run(asyncio.wait_for(main, TIME_LIMIT))
        assert not complaints
        return result

    return on_loop


def descriptors() -> set[str]:
    """What this process has open now, but for what only garbage holds."""
    gc.collect()
    return {f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}" for fd in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{fd}")}  # fmt: skip


def children() -> set[int]:
    """The host processes that this one has started and not yet reaped."""
    found = set()
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            found |= {int(pid) for pid in file.read().split()}
    return found
