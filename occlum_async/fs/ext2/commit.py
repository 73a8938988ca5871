"""Changes and commits: when the metadata is whole, and how it gets to the device at once.

Invariant: metadata are written only while no change is half done, all of them at once, and the device is not synced
meanwhile. Until it is settled what belongs to a sync nothing changes: a block that is freed and used again then would
be found with its new content where the old metadata refer to it. On a device whose ``sync`` is atomic every state that
is ever found after a crash is therefore a consistent one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from ...sched.apart import apart
from ...sched.done import DONE
from ...sched.strand import Scheduler
from ...sched.waitqueue import WaitQueue


class Gate:
    """``async with gate`` is one change: many may be under way, none while the gate is shut."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.inside = 0
        self.is_shut = False
        self._queue = WaitQueue()

    def __aenter__(self) -> Awaitable[None]:
        return self.enter()

    def __aexit__(self, *_: object) -> Awaitable[None]:
        self.leave()
        return DONE

    def enter(self) -> Awaitable[None]:
        """Begin a change, when the gate is open."""
        if self.is_shut:
            return self._wait()
        self.inside += 1
        return DONE

    async def _wait(self) -> None:
        while self.is_shut:
            await self._queue.wait(self.scheduler, interruptible=False)
        self.inside += 1

    def leave(self) -> None:
        """The change is done."""
        self.inside -= 1
        if self.is_shut and not self.inside:  # while the gate is open nobody waits
            self._queue.wake()

    def closed(self) -> Closed:
        """``async with gate.closed()``: nobody is inside meanwhile."""
        return Closed(self)

    async def shut(self) -> None:
        """Let nobody in any more and wait until nobody is inside."""
        while self.is_shut:
            await self._queue.wait(self.scheduler, interruptible=False)
        self.is_shut = True
        while self.inside:
            await self._queue.wait(self.scheduler, interruptible=False)

    def open(self) -> None:
        """Let everybody in again."""
        self.is_shut = False
        self._queue.wake()


class Closed(AbstractAsyncContextManager["Closed"]):
    """The time that a gate is shut; ``open`` ends it before the end of its block."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._shut = False

    async def __aenter__(self) -> Closed:
        await self._gate.shut()
        self._shut = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open()

    def open(self) -> None:
        """Let everybody in again, if nobody has been let in yet."""
        if self._shut:
            self._shut = False
            self._gate.open()


class Commits:
    """Commits, one at a time. Whoever asks while one is under way shares the next with all who do so."""

    def __init__(self, scheduler: Scheduler, commit: Callable[[], Awaitable[None]]) -> None:
        self.scheduler = scheduler
        self._commit = commit
        self._started = 0
        self._done = 0
        self._failed: tuple[int, Exception] | None = None
        self._busy = False
        self._queue = WaitQueue()

    async def request(self) -> None:
        """Return when a commit that began after this call is durable; its error if it failed."""
        wanted = self._started + 1
        while self._done < wanted:
            if self._failed is not None and self._failed[0] >= wanted:
                raise self._failed[1]
            if self._busy:
                await self._queue.wait(self.scheduler, interruptible=False)
                continue
            await apart(self.scheduler, self._run())

    async def _run(self) -> None:
        self._busy = True
        self._started += 1
        number = self._started
        try:
            await self._commit()
            self._done = number
        except Exception as error:
            self._failed = (number, error)
        finally:
            self._busy = False
            self._queue.wake()
