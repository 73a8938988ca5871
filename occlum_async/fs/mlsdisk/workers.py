"""Threads that seal: native calls without Python's lock, away from the event loop.

Invariant: a job touches nothing but the memory that it was given; all decisions are made in the event loop.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ...sched.strand import Scheduler

THREADS = max(1, min(4, os.cpu_count() or 1))


async def let_others_go_on(scheduler: Scheduler) -> None:
    """Continue after everything that may run now has had its turn."""
    strand = scheduler.current()
    scheduler.loop.call_soon(strand.resume, strand.ticket)
    await strand.park(interruptible=False)


class Workers:
    """A few threads, started when there is something to do."""

    def __init__(self, scheduler: Scheduler, threads: int = THREADS) -> None:
        self._scheduler = scheduler
        self._limit = threads
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], list[Any], Callable[[], None]] | None]
        self._jobs = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    @property
    def parallel(self) -> int:
        """How many jobs run at the same time."""
        return self._limit

    async def run(self, jobs: Sequence[Callable[[], Any]]) -> None:
        """Do all jobs, and wait for them. Raises what one of them raised."""
        while len(self._threads) < min(self._limit, len(jobs)):
            thread = threading.Thread(target=self._work, name="mlsdisk", daemon=True)
            self._threads.append(thread)
            thread.start()
        loop = self._scheduler.loop
        strand = self._scheduler.current()
        ticket = strand.ticket
        left = len(jobs)
        errors: list[BaseException] = []

        def finished() -> None:
            nonlocal left
            left -= 1
            if not left:
                strand.resume(ticket)

        def done() -> None:
            loop.call_soon_threadsafe(finished)

        for job in jobs:
            self._jobs.put((job, errors, done))
        await strand.park(interruptible=False)
        if errors:
            raise errors[0]

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, errors, done = item
            try:
                job()
            except BaseException as error:
                errors.append(error)
            try:
                done()
            except RuntimeError:  # the event loop is closed: nobody waits any more
                return

    def close(self) -> None:
        """Let the threads end. No job may be under way."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
