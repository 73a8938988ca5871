"""Wait queues: how an object tells whoever waits for it that its readiness has changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .strand import TIMED_OUT, Scheduler, Strand

ANY = 0xFFFFFFFF


class Waiter:
    """One entry of a wait queue: a callback for those events of ``mask``.

    ``exclusive`` entries are woken one at a time (accept(2), EPOLLEXCLUSIVE); a callback returns False
    when the wake-up was of no use to it, and the next exclusive one is tried.
    """

    __slots__ = ("callback", "exclusive", "mask")

    def __init__(self, callback: Callable[[int], Any], mask: int, exclusive: bool) -> None:
        self.callback = callback
        self.mask = mask
        self.exclusive = exclusive


class WaitQueue:
    """Those who wait for one object. Events are poll(2)'s bits (``POLLIN`` and so on).

    ``entries`` is there for who asks often whether anybody waits, which costs a call otherwise.
    """

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: list[Waiter] = []

    def __bool__(self) -> bool:
        return bool(self.entries)

    def add(self, callback: Callable[[int], Any], mask: int = ANY, exclusive: bool = False) -> Waiter:
        """Call ``callback(events)`` at each wake-up that touches ``mask``, until ``remove``."""
        waiter = Waiter(callback, mask, exclusive)
        self.entries.append(waiter)
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Take an entry back; no error when it is gone already."""
        try:  # noqa: SIM105 - suppress() costs more than the removal, and every wait ends here
            self.entries.remove(waiter)
        except ValueError:
            pass

    def wake(self, events: int = ANY) -> None:
        """Tell everyone who waits for any of ``events``, but one exclusive waiter at most."""
        taken = False
        for waiter in tuple(self.entries):
            if waiter.mask & events and not (waiter.exclusive and taken):
                used = waiter.callback(events)
                if waiter.exclusive and used is not False:
                    taken = True

    async def wait(
        self,
        scheduler: Scheduler,
        mask: int = ANY,
        timeout: float | None = None,
        exclusive: bool = False,
        interruptible: bool = True,
    ) -> bool:
        """Wait for one wake-up of ``mask``; False when ``timeout`` seconds passed. Raises ``Interrupted``.

        A wake-up is a hint: look at the object again, in a loop.
        """
        strand = scheduler.current()
        waiter = self.add(partial(strand.resume, strand.ticket), mask, exclusive)
        try:
            return await strand.park(timeout, interruptible) is not TIMED_OUT
        finally:
            self.remove(waiter)


async def wait_any(scheduler: Scheduler, queues: list[tuple[WaitQueue, int]], timeout: float | None = None) -> bool:
    """Wait for a wake-up of any of several queues (poll(2), select(2)); False on time-out."""
    strand: Strand = scheduler.current()
    callback = partial(strand.resume, strand.ticket)
    waiters = [(queue, queue.add(callback, mask)) for queue, mask in queues]
    try:
        return await strand.park(timeout) is not TIMED_OUT
    finally:
        for queue, waiter in waiters:
            queue.remove(waiter)
