"""/proc/PID/mem: a process' memory as a file whose offsets are addresses."""

from __future__ import annotations

import errno
import os

from ...abi.errors import SyscallError
from ...sched.strand import Scheduler
from ..synthetic import PositionedFile
from .views import ProcessView

MAX_TRANSFER = 1 << 20  # bytes of one read or write; more is a short one
PAGE = 4096


class MemoryFile(PositionedFile):
    """An open /proc/PID/mem. What is not mapped is EIO; it ends with the process."""

    def __init__(self, scheduler: Scheduler, flags: int, process: ProcessView) -> None:
        super().__init__(scheduler, flags)
        self.process = process

    async def pread(self, size: int, offset: int) -> bytes:
        memory = self.process.memory
        if memory is None or self.process.zombie:
            return b""
        size = min(size, MAX_TRANSFER)
        try:
            data: bytes = memory.read(offset, size)
        except SyscallError:
            # Up to the end of the page there may still be something.
            left = PAGE - offset % PAGE
            if size <= left:
                raise SyscallError(errno.EIO) from None
            return await self.pread(left, offset)
        return data

    async def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        memory = self.process.memory
        if memory is None or self.process.zombie:
            return 0
        chunk = bytes(data[:MAX_TRANSFER])
        try:
            memory.write(offset, chunk)
        except SyscallError:
            raise SyscallError(errno.EIO) from None
        return len(chunk)

    async def seek(self, offset: int, whence: int) -> int:
        """Addresses may lie anywhere; there is no end to seek from."""
        if whence == os.SEEK_CUR:
            offset += self.position
        elif whence != os.SEEK_SET:
            raise SyscallError(errno.EINVAL)
        self.position = offset
        return offset
