"""The open file description: what open(2) makes, what dup(2) and fork(2) share."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ..abi.errors import Interrupted, SyscallError
from ..abi.user import UserPointer
from ..sched.strand import Scheduler
from ..sched.waitqueue import WaitQueue

if TYPE_CHECKING:
    from ..abi.stat import Stat

POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLNVAL = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
POLLRDNORM, POLLRDBAND, POLLWRNORM, POLLWRBAND, POLLMSG, POLLRDHUP = 0x40, 0x80, 0x100, 0x200, 0x400, 0x2000


T = TypeVar("T")


class File:
    """An open file description.

    ``flags`` are open(2)'s: the access mode and the status flags, without O_CLOEXEC (which belongs to
    the descriptor). ``users`` counts the descriptors and in-flight messages that refer to it; the last
    ``release`` calls ``close``. Offsets, lengths and counts are bytes.
    """

    def __init__(self, scheduler: Scheduler, flags: int) -> None:
        self.scheduler = scheduler
        self.flags = flags
        # Opened for reading, for writing: never changes, and every read and write asks.
        self.readable = flags & os.O_ACCMODE in (os.O_RDONLY, os.O_RDWR)
        self.writable = flags & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR)
        self.position = 0
        self.users = 0
        self.waiters = WaitQueue()
        # fcntl(2)'s F_SETOWN and F_SETSIG: (kind, id) and the signal, 0 for SIGIO.
        self.owner: tuple[int, int] = (0, 0)
        self.owner_signal = 0
        # Called when the last reference goes, before ``close``: an epoll's registration of this description
        # (the key) forgets it. Holding no reference is what makes it weak.
        self.watches: dict[Any, Callable[[], None]] = {}
        # The ``fs.dentry.Location`` that it was opened at; None for what has no path.
        self.location: Any = None
        # Called after ``close``, with this file: whoever keeps state about a description forgets it here.
        self.on_close: list[Callable[[File], None]] = []

    # -- life ----------------------------------------------------------------

    def acquire(self) -> File:
        """Count one more descriptor that refers to this description."""
        self.users += 1
        return self

    def release(self) -> None:
        """Drop one reference; the last one closes the description."""
        assert self.users > 0, "an open file description was released more often than acquired"
        self.users -= 1
        if self.users == 0:
            for unwatch in tuple(self.watches.values()):
                unwatch()
            self.close()
            for forget in self.on_close:
                forget(self)
            self.on_close.clear()

    def close(self) -> None:
        """The last reference is gone. Must not block and must not fail."""

    # -- properties ----------------------------------------------------------

    @property
    def nonblocking(self) -> bool:
        """O_NONBLOCK is set."""
        return bool(self.flags & os.O_NONBLOCK)

    @property
    def seekable(self) -> bool:
        """False for pipes, sockets, terminals: their offset calls fail with ESPIPE."""
        return False

    @property
    def pollable(self) -> bool:
        """Whether epoll(7) accepts it: regular files, directories and plain devices do not (EPERM)."""
        return not self.seekable

    def fdinfo(self) -> str:
        """What /proc/self/fdinfo/N shows beyond pos, flags, mnt_id and ino: whole lines, or nothing."""
        return ""

    def describe(self) -> str:
        """What readlink(2) on /proc/self/fd/N shows, like ``pipe:[12]`` or a path."""
        return f"anon_inode:[{type(self).__name__.lower()}]"

    async def stat(self) -> Stat:
        """fstat(2)."""
        if self.location is None:
            raise SyscallError(errno.EBADF)
        stat: Stat = await self.location.getattr()
        return stat

    def reopen(self, flags: int) -> File:
        """What open(2) of /proc/self/fd/N gives for a file without a path (ENXIO where Linux has none)."""
        mode = flags & os.O_ACCMODE
        if (mode != os.O_WRONLY and not self.readable) or (mode != os.O_RDONLY and not self.writable):
            raise SyscallError(errno.EACCES)
        return self

    # -- data ----------------------------------------------------------------
    # ``read``/``write`` move ``position`` where there is one; ``pread``/``pwrite`` never do.

    async def read(self, size: int) -> bytes:
        """At most ``size`` bytes; b"" at the end of file. Blocks unless ``nonblocking`` (EAGAIN)."""
        raise SyscallError(errno.EINVAL)

    async def write(self, data: bytes | memoryview) -> int:
        """Write ``data``; the number of bytes taken."""
        raise SyscallError(errno.EINVAL)

    async def pread(self, size: int, offset: int) -> bytes:
        """Read at ``offset``."""
        raise SyscallError(errno.ESPIPE)

    async def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        """Write at ``offset``."""
        raise SyscallError(errno.ESPIPE)

    async def seek(self, offset: int, whence: int) -> int:
        """lseek(2), with SEEK_DATA and SEEK_HOLE; the new position."""
        raise SyscallError(errno.ESPIPE)

    async def ioctl(self, thread: Any, command: int, argument: UserPointer) -> int:
        """ioctl(2). ``thread`` is the calling ``process.Thread`` (terminals need its session)."""
        raise SyscallError(errno.ENOTTY)

    async def truncate(self, size: int) -> None:
        """ftruncate(2)."""
        raise SyscallError(errno.EINVAL)

    async def sync(self, data_only: bool = False) -> None:
        """fsync(2), fdatasync(2)."""
        raise SyscallError(errno.EINVAL)

    def before_mapping(self, offset: int, length: int, writable: bool) -> Awaitable[None] | None:
        """What must be waited for before this range is mapped (``writable``: and written to unseen); mostly nothing."""
        return None

    def mapping(self, shared: bool, writable: bool) -> tuple[int, bool]:
        """What mmap(2) maps: a host fd to send to the guest, and whether the caller must close it.

        The fd must carry no more rights than the mapping may have: read-only unless shared and writable.
        """
        raise SyscallError(errno.ENODEV)

    def mapping_at(self, offset: int, length: int, shared: bool, writable: bool) -> tuple[int, bool, int]:
        """``mapping``, and where in the host fd ``length`` bytes at ``offset`` of this file begin."""
        return *self.mapping(shared, writable), offset

    @property
    def held(self) -> int:
        """Bytes of the kernel's own memory that may be held here for as long as the file is open."""
        return 0

    def poll(self) -> int:
        """The events that hold now. A change of what this returns must ``waiters.wake`` those events."""
        return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM

    def wait_for(self, events: int, timeout: float | None = None) -> Awaitable[bool]:
        """Block until ``waiters`` is woken for ``events``; EAGAIN for a non-blocking file.

        Await it in a loop, after having looked.
        """
        if self.flags & os.O_NONBLOCK:
            raise SyscallError(errno.EAGAIN)
        return self.held_while(self.waiters.wait(self.scheduler, events | POLLERR | POLLHUP, timeout))

    async def wait_for_more(self, done: int, events: int, timeout: float | None = None) -> bool:
        """``wait_for`` within a call that has moved ``done`` bytes so far; False when it shall be content with these.

        That is so when ``timeout`` seconds passed, and when a wait fails or is interrupted after some bytes.
        """
        try:
            return await self.wait_for(events, timeout)
        except (SyscallError, Interrupted):
            if not done:
                raise
            return False

    async def held_while(self, wait: Awaitable[T]) -> T:
        """Wait as a call on this file does: the file stays open, even if its last descriptor is closed meanwhile.

        It stays so until the call is over or waits again, as the call will look at it when it has waited. A file
        that nobody has acquired is its maker's affair.
        """
        if not self.users:
            return await wait
        self.users += 1
        try:
            return await wait
        finally:
            if self.users > 1 or self.scheduler.loop.is_closed():
                self.users -= 1
            else:
                # Runs when the present strand has come to rest, before anybody else's call is served.
                self.scheduler.spawn(self._let_go())

    async def _let_go(self) -> None:
        self.release()


@contextmanager
def holding(files: Sequence[File]) -> Iterator[None]:
    """While a call waits for several files they stay open, even if their last descriptors are closed meanwhile."""
    for file in files:
        file.acquire()
    try:
        yield
    finally:
        for file in files:
            if file.users > 1 or file.scheduler.loop.is_closed():
                file.users -= 1
            else:
                file.release()
