"""A host's pipe, file, terminal or socket as an open file: the standard streams of ``run`` without ``-t``."""

from __future__ import annotations

import errno
import logging
import os
import select
import stat as modes
from typing import Any

from ..abi.errors import Interrupted, SyscallError
from ..abi.signals import SIGPIPE
from ..abi.stat import Stat
from ..abi.termios import INT, TIOCINQ
from ..abi.user import UserPointer
from ..sched.strand import Strand
from .boundary.base import STREAM, Boundary
from .file import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDNORM, POLLWRNORM, File

log = logging.getLogger(__name__)
NORMS = ((POLLIN, POLLRDNORM), (POLLOUT, POLLWRNORM))
FINAL = POLLERR | POLLHUP | POLLNVAL


class HostStream(File):
    """An open file over the host's ``fd``, which it closes at the end if it ``owns`` it.

    The host's description may be shared with others (the user's shell), so its flags stay as they are:
    O_NONBLOCK of this file is the LibOS's own affair, answered by looking before reading.
    """

    def __init__(self, boundary: Boundary, fd: int, flags: int, owns: bool = False) -> None:
        super().__init__(boundary.scheduler, flags)
        self.boundary = boundary
        self.fd = fd
        self.owns = owns
        self.format = modes.S_IFMT(boundary.fstat(fd).st_mode)
        # A host's terminal is a pipe in here: it takes no terminal requests, and its number means nothing.
        if self.format == modes.S_IFCHR and os.isatty(fd):
            self.format = modes.S_IFIFO
        self._watcher: Strand | None = None

    @property
    def seekable(self) -> bool:
        """A regular file's position is the host's, shared with whoever else has it."""
        return self.format == modes.S_IFREG

    @property
    def pollable(self) -> bool:
        return self.format != modes.S_IFREG

    def describe(self) -> str:
        kind = {modes.S_IFIFO: "pipe", modes.S_IFSOCK: "socket"}.get(self.format, "host")
        return f"{kind}:[{self.fd}]"

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.interrupt()
        if self.owns:
            self.boundary.close(self.fd)

    async def stat(self) -> Stat:
        """What there is to know without telling anything of the host: the kind, and a file's size."""
        host = self.boundary.fstat(self.fd)
        size = host.st_size if self.seekable else 0
        return Stat(
            self.format | 0o600, self.fd + 1, rdev=host.st_rdev if self.format == modes.S_IFCHR else 0, size=size,
            blocks=(size + 511) // 512, atime=host.st_atime_ns, mtime=host.st_mtime_ns, ctime=host.st_ctime_ns,
        )  # fmt: skip

    # -- data ----------------------------------------------------------------

    async def read(self, size: int) -> bytes:
        if size == 0:
            return b""
        if self.nonblocking and not self._look(POLLIN):
            raise SyscallError(errno.EAGAIN)
        return await self.boundary.read(self.fd, size, STREAM)

    async def write(self, data: bytes | memoryview) -> int:
        """Write all of ``data``, unless a signal comes or the file is non-blocking."""
        done = 0
        view = memoryview(data)
        while done < len(view):
            # A pipe that polls writable takes PIPE_BUF bytes without blocking, and no more for certain.
            end = len(view)
            if self.nonblocking and not self.seekable:
                if not self._look(POLLOUT):
                    if done:
                        break
                    raise SyscallError(errno.EAGAIN)
                end = min(end, done + select.PIPE_BUF)
            try:
                count = await self.boundary.write(self.fd, view[done:end], STREAM)
            except Interrupted:
                if done:
                    break
                raise
            except SyscallError as error:
                if done:
                    break
                raise SyscallError(error.errno, signal=SIGPIPE if error.errno == errno.EPIPE else 0) from None
            done += count
        return done

    async def pread(self, size: int, offset: int) -> bytes:
        self._must_seek()
        return await self.boundary.read(self.fd, size, offset)

    async def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        self._must_seek()
        return await self.boundary.write(self.fd, data, offset)

    async def seek(self, offset: int, whence: int) -> int:
        self._must_seek()
        return self.boundary.seek(self.fd, offset, whence)

    def _must_seek(self) -> None:
        if not self.seekable:
            raise SyscallError(errno.ESPIPE)

    async def truncate(self, size: int) -> None:
        self._must_seek()
        self.boundary.truncate(self.fd, size)

    async def sync(self, data_only: bool = False) -> None:
        if not self.seekable:
            raise SyscallError(errno.EINVAL)
        await self.boundary.sync(self.fd, data_only)

    async def ioctl(self, thread: Any, command: int, argument: UserPointer) -> int:
        """FIONREAD says whether there is something to read; nothing else is answered."""
        if command == TIOCINQ and self.format in (modes.S_IFIFO, modes.S_IFSOCK):
            argument.pack(INT, 1 if self._look(POLLIN) & POLLIN else 0)
            return 0
        raise SyscallError(errno.ENOTTY)

    # -- readiness -------------------------------------------------------------

    def _look(self, events: int) -> int:
        """Which of ``events`` hold on the host now."""
        return self.boundary.call("poll", _poll_now, self.fd, events) & (events | FINAL)

    def poll(self) -> int:
        """What holds now; for what does not, a strand begins to watch the host and wakes ``waiters``."""
        if not self.pollable:
            return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
        wanted = (POLLIN if self.readable else 0) | (POLLOUT if self.writable else 0)
        found = self._look(wanted)
        missing = wanted & ~found
        if missing and not found & FINAL and self._watcher is None:
            self._watcher = self.scheduler.spawn(self._watch(missing))
        return _with_norms(found)

    async def _watch(self, events: int) -> None:
        """Wait for ``events`` on the host, once."""
        try:
            found = await self.boundary.poll(self.fd, events)
        except Interrupted:
            return
        except SyscallError as error:
            log.info("host stream %d: %s", self.fd, error)
            found = POLLERR
        finally:
            self._watcher = None
        self.waiters.wake(_with_norms(found))


def _poll_now(fd: int, events: int) -> int:
    poller = select.poll()
    poller.register(fd, events)
    found = poller.poll(0)
    return found[0][1] if found else 0


def _with_norms(events: int) -> int:
    for event, norm in NORMS:
        if events & event:
            events |= norm
    return events
