"""What the tests of many rooms begin with: a scheduler, and the way to the host in both its kinds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from occlum_async.errors import HostUnsupported
from occlum_async.io.boundary import Boundary, open_boundary
from occlum_async.sched.strand import Scheduler


@pytest.fixture
async def scheduler() -> Scheduler:
    return Scheduler(asyncio.get_running_loop())


def opened(kind: str, **options: Any) -> Boundary:
    """A boundary of that kind, or a skipped test where the host has none; ``options`` are ``open_boundary``'s."""
    try:
        return open_boundary(kind, Scheduler(asyncio.get_running_loop()), **options)
    except HostUnsupported as error:
        pytest.skip(str(error))


@pytest.fixture(params=["uring", "ocall"])
async def boundary(request: pytest.FixtureRequest) -> AsyncIterator[Boundary]:
    made = opened(request.param)
    yield made
    await made.shutdown()


async def settle() -> None:
    """Let every strand and task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)
