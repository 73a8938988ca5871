"""A lock between strands, for the few operations that wait in their middle."""

from __future__ import annotations

from collections.abc import Awaitable

from .done import DONE
from .strand import Scheduler
from .waitqueue import WaitQueue


class Mutex:
    """``async with mutex.hold(scheduler): ...``; waiting for it is not interruptible. Not recursive."""

    __slots__ = ("locked", "queue")

    def __init__(self) -> None:
        self.locked = False
        self.queue: WaitQueue | None = None

    def hold(self, scheduler: Scheduler) -> Hold:
        """The context manager that takes the lock and gives it back."""
        return Hold(self, scheduler)


class Hold:
    """One holding of a ``Mutex``."""

    __slots__ = ("mutex", "scheduler")

    def __init__(self, mutex: Mutex, scheduler: Scheduler) -> None:
        self.mutex = mutex
        self.scheduler = scheduler

    def __aenter__(self) -> Awaitable[None]:
        mutex = self.mutex
        if mutex.locked:
            return self._wait()
        mutex.locked = True
        return DONE

    async def _wait(self) -> None:
        mutex = self.mutex
        while mutex.locked:
            if mutex.queue is None:
                mutex.queue = WaitQueue()
            await mutex.queue.wait(self.scheduler, exclusive=True, interruptible=False)
        mutex.locked = True

    def __aexit__(self, *_: object) -> Awaitable[None]:
        mutex = self.mutex
        mutex.locked = False
        if mutex.queue is not None:
            mutex.queue.wake()
        return DONE
