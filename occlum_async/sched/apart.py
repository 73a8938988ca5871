"""Work in a strand of its own: whoever waits for it may be killed or cancelled, the work goes on to its end."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from .strand import CoroutineStrand, Scheduler
from .waitqueue import WaitQueue

T = TypeVar("T")


async def apart(scheduler: Scheduler, work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end in a strand of its own; its result or exception. Waiting is not interruptible.

    Work that never waits is over at once.
    """
    outcome: list[tuple[T | None, BaseException | None]] = []
    done = WaitQueue()

    async def run() -> None:
        try:
            outcome.append((await work, None))
        except Exception as error:
            outcome.append((None, error))
        finally:
            done.wake()

    CoroutineStrand(scheduler, run()).step()
    while not outcome:
        await done.wait(scheduler, interruptible=False)
    result, failure = outcome[0]
    if failure is not None:
        raise failure
    return result  # type: ignore[return-value]
