"""The embedder's side of a program's terminal: typed bytes in, shown bytes out."""

from __future__ import annotations

import os

from ..io.file import File
from ..io.pipe import make_pipe
from ..io.tty.console import Console
from ..sched.strand import Scheduler


class QueueDriver:
    """A console driver whose output is read from ``reader``, a pipe: who does not read stops the programs."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.reader, writer = make_pipe(scheduler)
        self._writer = writer.acquire()

    async def write(self, data: bytes) -> None:
        """Show ``data``."""
        view = memoryview(data)
        while view:
            view = view[await self._writer.write(bytes(view)) :]

    def close(self) -> None:
        """The reader sees the end."""
        self._writer.release()


class TerminalInput(File):
    """What is typed: writing to it is typing, closing it is hanging up."""

    def __init__(self, scheduler: Scheduler, console: Console) -> None:
        super().__init__(scheduler, os.O_WRONLY)
        self._console = console

    async def write(self, data: bytes | memoryview) -> int:
        await self._console.input(bytes(data))
        return len(data)

    def close(self) -> None:
        self._console.disconnect()
