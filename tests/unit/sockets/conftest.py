"""The world that all tests of the network outside begin with, over each boundary."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .outside import World, open_for_test


@pytest.fixture(params=["uring", "ocall"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = World(open_for_test(request.param))
    yield made
    await made.stack.outside.drain()
    made.stack.outside.close()
    await made.boundary.shutdown()
