"""The boundary of plain calls: one exit for one operation.

For hosts that forbid io_uring, and the baseline that the io_uring is measured against. A stream is asked
whether it is ready before it is read or written, so that no call blocks the event loop; a disk is waited
for, as the host's kernel does not offer another way by plain calls.
"""

from __future__ import annotations

import os
import select
import stat
from typing import Any

from ...sched.strand import Scheduler, Strand
from .base import MAX_TRANSFER, STREAM, Boundary
from .calls import RESOLVE_CONFINED
from .counters import Counters
from .ocall_network import OcallNetwork

# What a stream that polls as writable takes without blocking: a pipe PIPE_BUF bytes, a terminal less.
PIPE_STEP = 4096
TERMINAL_STEP = 512

READING = select.POLLIN | select.POLLPRI | select.POLLRDHUP


class OcallBoundary(Boundary):
    """Plain system calls."""

    name = "ocall"

    def __init__(self, scheduler: Scheduler, counters: Counters | None = None) -> None:
        super().__init__(scheduler, counters)
        # Who waits for a descriptor to become readable (False) or writable (True).
        self._waiting: dict[tuple[int, bool], dict[Strand, int]] = {}
        self._network = OcallNetwork(self, self.loop)

    @property
    def network(self) -> OcallNetwork:
        return self._network

    def turn(self) -> bool:
        return self._network.run_deferred()

    def prepare(self) -> None:
        self._network.run_ripe()

    async def read(self, fd: int, size: int, offset: int = STREAM) -> bytes:
        size = min(size, MAX_TRANSFER)
        if offset == STREAM:
            await self.poll(fd, select.POLLIN)
            data = self.call("read", os.read, fd, size)
        else:
            data = self.call("read", os.pread, fd, size, offset)
        self.counters.bytes_in += self.check_count("read", len(data), size)
        return data

    async def write(self, fd: int, data: bytes | bytearray | memoryview, offset: int = STREAM) -> int:
        view = memoryview(data)[:MAX_TRANSFER]
        if offset == STREAM:
            await self.poll(fd, select.POLLOUT)
            view = view[: self._step(fd)]
            count = self.call("write", os.write, fd, view)
        else:
            count = self.call("write", os.pwrite, fd, view, offset)
        return self.check_written(count, len(view))

    def _step(self, fd: int) -> int:
        mode = self.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return MAX_TRANSFER
        return TERMINAL_STEP if stat.S_ISCHR(mode) else PIPE_STEP

    async def poll(self, fd: int, events: int) -> int:
        while True:
            ready = self.call("poll", _poll_now, fd, events)
            if ready:
                return self.check_events(ready, events)
            await self._wait(fd, not events & READING)

    async def _wait(self, fd: int, writing: bool) -> None:
        """Park until the event loop says that ``fd`` may be ready."""
        strand = self.scheduler.current()
        waiting = self._waiting.get((fd, writing))
        if waiting is None:
            add: Any = self.loop.add_writer if writing else self.loop.add_reader
            try:
                add(fd, self._ready, fd, writing)
            except OSError as error:  # what can't be watched, as a regular file, is always ready
                raise self.refuse("poll", error) from None
            waiting = self._waiting[fd, writing] = {}
        waiting[strand] = strand.ticket
        try:
            await strand.park()
        finally:
            waiting.pop(strand, None)
            if not waiting and self._waiting.get((fd, writing)) is waiting:
                self._forget(fd, writing)

    def _ready(self, fd: int, writing: bool) -> None:
        for strand, ticket in self._forget(fd, writing).items():
            strand.resume(ticket)

    def _forget(self, fd: int, writing: bool) -> dict[Strand, int]:
        remove: Any = self.loop.remove_writer if writing else self.loop.remove_reader
        remove(fd)
        return self._waiting.pop((fd, writing), {})

    async def sync(self, fd: int, data_only: bool = False) -> None:
        self.call("sync", os.fdatasync if data_only else os.fsync, fd)

    async def open(
        self, directory: int, name: bytes, flags: int, mode: int = 0, resolve: int = RESOLVE_CONFINED
    ) -> int:
        return self.open_now(directory, name, flags, mode, resolve)

    async def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        self.allocate(fd, mode, offset, length)

    async def shutdown(self) -> None:
        self._network.cancel_all()
        for fd, writing in list(self._waiting):
            self._forget(fd, writing)


def _poll_now(fd: int, events: int) -> int:
    poll = select.poll()
    poll.register(fd, events)
    answers = poll.poll(0)
    return answers[0][1] if answers else 0
