"""What is over already, where something is to be awaited: ``async with`` a lock that is free costs no coroutine."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, cast

_NOTHING: Iterator[Any] = iter(())


class Done:
    """An awaitable that never waits; its result is None."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        return cast("Generator[Any, Any, None]", _NOTHING)  # spent, so it ends at once, each time anew


DONE = Done()
