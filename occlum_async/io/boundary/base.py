"""The interface that every boundary has."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod

from ...sched.strand import Scheduler
from .calls import RESOLVE_CONFINED, HostCalls
from .counters import Counters
from .network import HostNetwork

# The most bytes that one operation moves: a longer request is answered in part, as a pipe would.
MAX_TRANSFER = 1 << 20

# Offset for files without one (pipes, terminals, sockets) and for "at the host's own position".
STREAM = -1


class Boundary(HostCalls, ABC):
    """The way to the host. Belongs to one event loop; descriptors are the host's.

    A read or write at ``STREAM`` may block for as long as its other side likes, so a signal interrupts it
    (``Interrupted``, and then no byte is lost); one at an offset waits for a disk at most, is not
    interruptible, and moves as much as the file allows. At most ``MAX_TRANSFER`` bytes move at once.
    """

    name = "none"

    def __init__(self, scheduler: Scheduler, counters: Counters | None = None) -> None:
        super().__init__(Counters() if counters is None else counters)
        self.scheduler = scheduler
        self.loop: asyncio.AbstractEventLoop = scheduler.loop

    @abstractmethod
    async def read(self, fd: int, size: int, offset: int = STREAM) -> bytes:
        """At most ``size`` bytes; b"" at the end of the file."""

    @abstractmethod
    async def write(self, fd: int, data: bytes | bytearray | memoryview, offset: int = STREAM) -> int:
        """Write ``data``; the number of bytes taken. ``data`` must not change before the call returns."""

    @abstractmethod
    async def poll(self, fd: int, events: int) -> int:
        """Wait until one of ``events`` (poll(2)'s bits, or an error or hang-up) holds; those that do."""

    @abstractmethod
    async def sync(self, fd: int, data_only: bool = False) -> None:
        """fsync(2), fdatasync(2)."""

    def begin_writeback(self, fd: int, offset: int, length: int) -> None:
        """A hint: what was written there will be synced, and the disk may begin with it (sync_file_range(2)).

        Nothing follows from it, and nobody is told what became of it. Here it is ignored.
        """

    def will_need(self, fd: int, offset: int, length: int) -> None:
        """A hint: this part of a file will be read soon, all of it (posix_fadvise(2))."""
        self.call("will_need", os.posix_fadvise, fd, offset, length, os.POSIX_FADV_WILLNEED)

    @abstractmethod
    async def open(
        self, directory: int, name: bytes, flags: int, mode: int = 0, resolve: int = RESOLVE_CONFINED
    ) -> int:
        """openat2(2); the new descriptor, always close-on-exec."""

    @abstractmethod
    async def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        """fallocate(2)."""

    @property
    @abstractmethod
    def network(self) -> HostNetwork:
        """The host's sockets."""

    def turn(self) -> bool:
        """Hand over what is queued and take what is complete; True if anything was.

        The event loop does it by itself; a scheduler that polls instead of returning to it calls this.
        """
        return False

    def prepare(self) -> None:
        """Do some of what ``turn`` would do: the caller waits for a guest, which is about to call again."""

    def brief(self) -> bool:
        """Whether somebody waits for what takes no longer than to sleep and to wake up: a read from the host's disk."""
        return False

    async def shutdown(self) -> None:
        """Give everything back. No operation may be under way or follow."""
