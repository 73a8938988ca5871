"""signalfd(2): pending signals as something to read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Protocol

from ..abi.errors import SyscallError
from ..sched.strand import Scheduler
from ..sched.waitqueue import Waiter, WaitQueue
from .anonymous import AnonymousFile
from .file import POLLIN

INFO_SIZE = 128  # struct signalfd_siginfo
UNBLOCKABLE = 1 << 8 | 1 << 18  # SIGKILL, SIGSTOP: silently left out of every mask


class SignalInfo(Protocol):
    """What the queue of a thread holds, see ``process.siginfo``."""

    def pack_signalfd(self) -> bytes:
        """``struct signalfd_siginfo``."""
        ...


class SignalProcess(Protocol):
    """The process of a thread that reads."""

    @property
    def signal_waiters(self) -> WaitQueue:
        """Woken whenever a signal becomes pending for the process or one of its threads."""
        ...


class SignalReader(Protocol):
    """A thread, as far as its pending signals go. Masks have bit ``signo - 1``."""

    @property
    def process(self) -> SignalProcess: ...

    @property
    def pending_mask(self) -> int:
        """Every signal that waits for this thread, blocked or not."""
        ...

    def take_pending(self, mask: int) -> SignalInfo | None:
        """Dequeue a pending signal of ``mask``."""
        ...


class SignalFd(AnonymousFile):
    """Whoever reads gets his own signals, whoever made it: ``current`` tells who that is."""

    kind = "[signalfd]"

    def __init__(
        self, scheduler: Scheduler, mask: int, current: Callable[[], SignalReader | None], flags: int = 0
    ) -> None:
        super().__init__(scheduler, os.O_RDWR | flags)
        self.mask = mask & ~UNBLOCKABLE
        self.current = current
        # The processes whose signals ``waiters`` has to hear of: all that ever looked at this file.
        self._sources: dict[int, tuple[WaitQueue, Waiter]] = {}

    def set_mask(self, mask: int) -> None:
        """signalfd(2) on an existing descriptor: another set of signals."""
        self.mask = mask & ~UNBLOCKABLE
        self.waiters.wake(POLLIN)

    def close(self) -> None:
        for queue, waiter in self._sources.values():
            queue.remove(waiter)
        self._sources.clear()

    def _reader(self) -> SignalReader | None:
        """The thread that looks; from now on ``waiters`` hears of its signals."""
        reader = self.current()
        if reader is not None:
            queue = reader.process.signal_waiters
            if id(queue) not in self._sources:
                self._sources[id(queue)] = queue, queue.add(lambda _: self.waiters.wake(POLLIN))
        return reader

    async def read(self, size: int) -> bytes:
        room = size // INFO_SIZE
        reader = self._reader()
        if not room or reader is None:
            raise SyscallError(errno.EINVAL)
        found: list[bytes] = []
        while not found:
            while len(found) < room and (info := reader.take_pending(self.mask)) is not None:
                found.append(info.pack_signalfd())
            if not found:
                await self.wait_for(POLLIN)
        return b"".join(found)

    def poll(self) -> int:
        reader = self._reader()
        return POLLIN if reader is not None and reader.pending_mask & self.mask else 0

    def fdinfo(self) -> str:
        return f"sigmask:\t{self.mask:016x}\n"
