"""The scheduler: it steps coroutines by hand, and asyncio only where something really blocks.

Three principles:

1. A *strand* is one line of execution of the LibOS: a guest thread's life, a Python program, a call
   from the embedder. It runs until it parks, and it is resumed exactly once for each time it parked.
2. A strand reaches the scheduler by one trap only, ``park``. Whoever can end the wait (a wait queue, a
   timer, a completion of the boundary) keeps the strand's *ticket* and presents it to ``resume``; a
   ticket of an earlier wait is void, so late wake-ups are harmless.
3. Stepping a coroutine costs one ``send``. No Task, no Future, no callback object per system call.
"""

from __future__ import annotations

import asyncio
import logging
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from ..abi.errors import Interrupted

log = logging.getLogger(__name__)


class Timeout:
    """The type of ``TIMED_OUT``, which ``park`` returns when its deadline passed first."""

    def __repr__(self) -> str:
        return "TIMED_OUT"


TIMED_OUT = Timeout()


@types.coroutine
def _suspend() -> Generator[None, Any, Any]:
    """Give control back to the scheduler; returns what the strand is resumed with."""
    return (yield)


class Strand:
    """One line of execution. Subclasses say how it is suspended and how it is continued."""

    __slots__ = ("_timer", "brief", "interrupted", "interruptible", "owner", "parked", "scheduler", "ticket")

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.owner: Any = None  # the process.Thread whose life this is; None for an embedder's call
        self.ticket = 0
        self.parked = False
        self.interruptible = False
        # Whether what it waits for takes no longer than to sleep and to wake up.
        self.brief = False
        # Set while something (a signal, death) wants this strand's attention: the next interruptible
        # park fails at once. The owner clears it when it has looked.
        self.interrupted = False
        self._timer: asyncio.TimerHandle | None = None

    @types.coroutine
    def park(self, timeout: float | None = None, interruptible: bool = True) -> Generator[Any, Any, Any]:
        """Wait until ``resume`` is called with the present ticket.

        ``timeout`` is in seconds; ``TIMED_OUT`` is returned when it passes. Raises ``Interrupted`` when
        a signal arrives first and ``interruptible`` is true. A generator, so that a wake-up passes through
        one frame less.
        """
        if interruptible and self.interrupted:
            self.ticket += 1
            raise Interrupted
        if timeout is not None:
            if timeout <= 0:
                self.ticket += 1
                return TIMED_OUT
            self._timer = self.scheduler.loop.call_later(timeout, self.resume, self.ticket, TIMED_OUT)
        self.parked = True
        self.interruptible = interruptible
        try:
            return (yield from self.suspend())
        finally:
            self.parked = False
            self.ticket += 1
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def resume(self, ticket: int, value: Any = None) -> bool:
        """End the wait that ``ticket`` belongs to; False when that wait is over already."""
        if not self.parked or ticket != self.ticket:
            return False
        self.parked = False
        self._continue(value, None)
        return True

    def interrupt(self) -> None:
        """Make the present or the next interruptible wait raise ``Interrupted``."""
        self.interrupted = True
        if self.parked and self.interruptible:
            self.parked = False
            self._continue(None, Interrupted())

    def abort(self, error: BaseException) -> None:
        """End whatever wait there is with ``error``: what the strand serves is gone. No-op if it runs now."""
        if self.parked:
            self.parked = False
            self._continue(None, error)

    def suspend(self) -> Any:
        """Give up control without a ticket: the one who knows that this strand waits here continues it.

        The result is to be awaited, or for ``yield from`` in a generator that is itself awaited.
        """
        raise NotImplementedError

    def step(self, value: Any = None, error: BaseException | None = None) -> None:
        """Continue a strand that is in ``suspend``, before this returns if it can be."""
        self._continue(value, error)

    def fail(self, error: BaseException) -> None:
        """Have ``suspend`` raise ``error``."""
        self._continue(None, error)

    def _continue(self, value: Any, error: BaseException | None) -> None:
        raise NotImplementedError


class CoroutineStrand(Strand):
    """A strand whose coroutine the scheduler steps itself: a guest thread."""

    __slots__ = ("coroutine", "on_exit")

    def __init__(
        self,
        scheduler: Scheduler,
        coroutine: Coroutine[Any, Any, Any],
        on_exit: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        super().__init__(scheduler)
        self.coroutine = coroutine
        self.on_exit = on_exit

    def start(self) -> None:
        """Queue the first step."""
        self._continue(None, None)

    def suspend(self) -> Any:
        return _suspend()

    def step(self, value: Any = None, error: BaseException | None = None) -> None:
        """Run until it parks or ends. An exception that leaves it is an oops: logged, contained."""
        scheduler = self.scheduler
        scheduler.steps += 1
        before, scheduler.running = scheduler.running, self
        failure: BaseException | None = None
        try:
            if error is None:
                self.coroutine.send(value)
            else:
                self.coroutine.throw(error)
            return
        except StopIteration:
            pass
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as caught:
            failure = caught
            log.exception("oops: a strand died of an exception")
        finally:
            scheduler.running = before
        if self.on_exit is not None:
            self.on_exit(failure)

    def _continue(self, value: Any, error: BaseException | None) -> None:
        self.scheduler.enqueue(self, value, error)


class TaskStrand(Strand):
    """A strand that is an asyncio Task: a Python program, or an embedder's own call into the LibOS."""

    __slots__ = ("_future",)

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(scheduler)
        self._future: asyncio.Future[Any] | None = None

    @types.coroutine
    def suspend(self) -> Any:
        self._future = self.scheduler.loop.create_future()
        return (yield from self._future)

    def _continue(self, value: Any, error: BaseException | None) -> None:
        future = self._future
        if future is None or future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


class Scheduler:
    """The run queue, and the strand that is running now."""

    # A batch of this many steps is followed by a return to asyncio, so that no strand starves the loop.
    BATCH = 256

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.steps = 0
        self.running: Strand | None = None  # the strand that runs now, unless it is an asyncio Task
        self.ready: deque[tuple[CoroutineStrand, Any, BaseException | None]] = deque()  # those who may go on
        self._scheduled = False
        self._task_strands: dict[asyncio.Task[Any], TaskStrand] = {}

    def current(self) -> Strand:
        """The strand that runs now; a fresh ``TaskStrand`` for an asyncio Task that is none yet."""
        if self.running is not None:
            return self.running
        task = asyncio.current_task(self.loop)
        if task is None:
            raise RuntimeError("no strand is running: call this from a coroutine of the LibOS's event loop")
        strand = self._task_strands.get(task)
        if strand is None:
            strand = self.adopt(task, TaskStrand(self))
        return strand

    def adopt(self, task: asyncio.Task[Any], strand: TaskStrand) -> TaskStrand:
        """Let ``strand`` stand for ``task`` until the task ends."""
        self._task_strands[task] = strand
        task.add_done_callback(lambda done: self._task_strands.pop(done, None))
        return strand

    def spawn(
        self, coroutine: Coroutine[Any, Any, Any], on_exit: Callable[[BaseException | None], None] | None = None
    ) -> CoroutineStrand:
        """Start ``coroutine`` as a strand of its own; ``on_exit`` gets its exception, or None."""
        strand = CoroutineStrand(self, coroutine, on_exit)
        strand.start()
        return strand

    def enqueue(self, strand: CoroutineStrand, value: Any, error: BaseException | None) -> None:
        """Put a strand that may go on at the end of the run queue."""
        self.ready.append((strand, value, error))
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._run_from_loop)

    def _run_from_loop(self) -> None:
        self._scheduled = False
        self.run_ready()
        if self.ready and not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._run_from_loop)

    def run_ready(self) -> None:
        """Step every strand that may go on, at most ``BATCH`` of them."""
        ready = self.ready
        for _ in range(self.BATCH):
            if not ready:
                return
            strand, value, error = ready.popleft()
            strand.step(value, error)

    async def give_way(self) -> None:
        """Let everybody else have a turn: for what takes long in pieces of which none waits."""
        strand = self.current()
        self.loop.call_soon(strand.resume, strand.ticket)
        await strand.park(interruptible=False)

    async def bridge(self, awaitable: Any) -> Any:
        """Await something of asyncio's from any strand. Cancelled when the wait is interrupted."""
        strand = self.current()
        future = asyncio.ensure_future(awaitable, loop=self.loop)
        ticket = strand.ticket
        future.add_done_callback(lambda _: strand.resume(ticket))
        try:
            if not future.done():
                await strand.park()
        except BaseException:
            future.cancel()
            raise
        return future.result()
