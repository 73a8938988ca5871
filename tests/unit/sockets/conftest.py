"""The world that all tests of the network outside begin with, over each boundary."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ..conftest import opened
from .outside import World


@pytest.fixture(params=["uring", "ocall"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = World(opened(request.param))
    yield made
    await made.stack.outside.drain()
    made.stack.outside.close()
    await made.boundary.shutdown()
