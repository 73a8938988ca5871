"""Host descriptors behind inodes: few at a time, the least recently used one is closed first."""

from __future__ import annotations

import asyncio
import resource
from collections import OrderedDict

from ...io.boundary import Boundary

# What a handle may be used for; 0 is an O_PATH descriptor.
READ, WRITE = 1, 2

# Seconds after which a handle for writing is closed when it was not used: a host program can't execute a
# file that somebody holds open for writing (ETXTBSY).
WRITE_IDLE = 0.5


class Handle:
    """A host descriptor of one inode; ``fd`` is -1 once it has been closed. Owned by a ``Handles``."""

    __slots__ = ("fd", "idle", "pinned", "rights")

    def __init__(self, fd: int, rights: int) -> None:
        self.fd = fd
        self.rights = rights
        self.pinned = False
        self.idle = False


def default_limit() -> int:
    """A quarter of what this process may open, so that the rest is left for guests and their files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(4096, soft // 4))


class Handles:
    """At most ``limit`` handles; those *pinned* (the name is gone, they can't be opened again) come on top."""

    def __init__(self, boundary: Boundary, limit: int = 0) -> None:
        self.boundary = boundary
        self.limit = limit or default_limit()
        self._used: OrderedDict[Handle, None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._used)

    def add(self, fd: int, rights: int) -> Handle:
        """A handle for ``fd``, which now belongs to it, at the price of the one used longest ago."""
        handle = Handle(fd, rights)
        self._used[handle] = None
        while len(self._used) > self.limit:
            self.drop(next(iter(self._used)))
        if rights & WRITE:
            self._sweep_later()
        return handle

    def touch(self, handle: Handle) -> None:
        """``handle`` is being used."""
        if not handle.pinned:
            self._used.move_to_end(handle)
        handle.idle = False

    def pin(self, handle: Handle) -> None:
        """Keep ``handle`` until ``drop``, whatever the limit says."""
        handle.pinned = True
        self._used.pop(handle, None)

    def drop(self, handle: Handle) -> None:
        """Close ``handle``; no error when it is closed already."""
        self._used.pop(handle, None)
        if handle.fd >= 0:
            fd, handle.fd = handle.fd, -1
            self.boundary.close(fd)

    def close(self) -> None:
        """Close all that are not pinned."""
        for handle in list(self._used):
            self.drop(handle)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep_later(self) -> None:
        if self._timer is None:
            self._timer = self.boundary.loop.call_later(WRITE_IDLE, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        left = False
        for handle in [handle for handle in self._used if handle.rights & WRITE]:
            if handle.idle:
                self.drop(handle)
            else:
                handle.idle = left = True
        if left:
            self._sweep_later()
