"""Named pipes: a pipe that is found by its inode, and whose two sides wait for each other, see fifo(7)."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from typing import Any

from ..abi.errors import SyscallError
from ..abi.stat import Stat
from ..sched.strand import Scheduler
from .pipe import Pipe, PipeFile


async def open_fifo(
    attached: dict[str, Any],
    scheduler: Scheduler,
    flags: int,
    stat: Callable[[], Awaitable[Stat]] | None = None,
    path: Callable[[], str] | None = None,
) -> PipeFile:
    """Open a FIFO; waits until the other side is open, too. ENXIO: O_NONBLOCK writer without a reader.

    ``attached`` are the inode's attachments: the pipe lives there as long as anyone has it open. ``stat`` and
    ``path`` answer fstat(2) and readlink(2) of /proc/self/fd/N.
    """
    access = flags & os.O_ACCMODE
    pipe: Pipe | None = attached.get("fifo")
    if access == os.O_WRONLY and flags & os.O_NONBLOCK and (pipe is None or not pipe.readers):
        raise SyscallError(errno.ENXIO)
    if pipe is None:
        pipe = attached["fifo"] = Pipe()
        pipe.on_unused = lambda: attached.pop("fifo", None)
    file = PipeFile(scheduler, flags, pipe)
    file.get_stat, file.get_path = stat, path
    pipe.partners.wake()
    if access == os.O_RDONLY and not pipe.writers and flags & os.O_NONBLOCK:
        file.seen_writers = pipe.writes_opened
        return file
    try:
        await _wait_for_partner(pipe, scheduler, access)
    except BaseException:
        file.close()
        raise
    return file


async def _wait_for_partner(pipe: Pipe, scheduler: Scheduler, access: int) -> None:
    """Wait until the other side was opened, if only for a moment: hence a count and not a state."""
    if access == os.O_RDONLY and not pipe.writers:
        before = pipe.writes_opened
        while pipe.writes_opened == before:
            await pipe.partners.wait(scheduler)
    elif access == os.O_WRONLY and not pipe.readers:
        before = pipe.reads_opened
        while pipe.reads_opened == before:
            await pipe.partners.wait(scheduler)
