"""A lock between strands, for the few operations that wait in their middle."""

from __future__ import annotations

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

    async def __aenter__(self) -> None:
        mutex = self.mutex
        while mutex.locked:
            if mutex.queue is None:
                mutex.queue = WaitQueue()
            await mutex.queue.wait(self.scheduler, exclusive=True, interruptible=False)
        mutex.locked = True

    async def __aexit__(self, *_: object) -> None:
        self.mutex.locked = False
        if self.mutex.queue:
            self.mutex.queue.wake()
