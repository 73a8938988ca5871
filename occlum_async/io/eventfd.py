"""eventfd(2): a 64-bit counter that can be waited for."""

from __future__ import annotations

import errno
import os

from ..abi.errors import SyscallError
from ..sched.strand import Scheduler
from .anonymous import AnonymousFile
from .file import POLLERR, POLLIN, POLLOUT

MAXIMUM = 0xFFFFFFFFFFFFFFFF


class EventFd(AnonymousFile):
    """The counter never exceeds ``MAXIMUM`` - 1; in ``semaphore`` mode a read takes one from it, else all."""

    kind = "[eventfd]"

    def __init__(self, scheduler: Scheduler, value: int, semaphore: bool, flags: int = 0) -> None:
        super().__init__(scheduler, os.O_RDWR | flags)
        self.value = value
        self.semaphore = semaphore

    async def read(self, size: int) -> bytes:
        if size < 8:
            raise SyscallError(errno.EINVAL)
        while not self.value:
            await self.wait_for(POLLIN)
        taken = 1 if self.semaphore else self.value
        self.value -= taken
        self.waiters.wake(POLLOUT)
        return taken.to_bytes(8, "little")

    async def write(self, data: bytes | memoryview) -> int:
        added = int.from_bytes(data[:8], "little")
        if len(data) < 8 or added == MAXIMUM:
            raise SyscallError(errno.EINVAL)
        while self.value + added >= MAXIMUM:
            await self.wait_for(POLLOUT)
        self.value += added
        self.waiters.wake(POLLIN)
        return 8

    def signal(self) -> None:
        """Count one event on behalf of the kernel, which never waits."""
        self.value = min(self.value + 1, MAXIMUM)
        self.waiters.wake(POLLIN)

    def poll(self) -> int:
        events = POLLIN if self.value else 0
        if self.value == MAXIMUM:
            events |= POLLERR
        if self.value < MAXIMUM - 1:
            events |= POLLOUT
        return events

    def fdinfo(self) -> str:
        return f"eventfd-count: {self.value:16x}\n"
