"""epoll(7): an interest list, and a ready list that the watched files' wait queues fill.

A registration costs one entry in the file's wait queue, once; waiting costs as much as is ready. The ready
list is a queue, and level-triggered items go to its end when they were reported: no descriptor starves.
An item is on the ready list when it *may* be ready; ``poll`` decides when it is collected.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from ..abi.errors import SyscallError
from ..sched.strand import Scheduler
from ..sched.waitqueue import WaitQueue
from .anonymous import AnonymousFile
from .file import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDBAND, POLLRDNORM, POLLWRBAND, POLLWRNORM, File
from .tally import Tally

EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD = 1, 2, 3
EPOLLEXCLUSIVE, EPOLLWAKEUP, EPOLLONESHOT, EPOLLET = 1 << 28, 1 << 29, 1 << 30, 1 << 31
PRIVATE = EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET
EXCLUSIVE_ALLOWED = (
    POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND | POLLERR | POLLHUP
    | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE
)  # fmt: skip
READABLE = POLLIN | POLLRDNORM

EVENT = struct.Struct("<IQ")  # struct epoll_event is packed on x86-64
MAX_EVENTS = 0x7FFFFFFF // EVENT.size
MAX_NESTS = 4  # edges between epolls that watch each other
MAX_USER_WATCHES = 1 << 18  # /proc/sys/fs/epoll/max_user_watches
BILLION = 10**9


class Item:
    """One registration: ``events`` of ``file``, known to the user as ``fd`` and reported with ``data``.

    Invariant: the waiter's mask is what of ``events`` can be reported, nothing after a one-shot item was.
    """

    __slots__ = ("data", "epoll", "events", "fd", "file", "waiter")

    def __init__(self, epoll: Epoll, fd: int, file: File, events: int, data: int) -> None:
        self.epoll = epoll
        self.fd = fd
        self.file = file
        self.events = events
        self.data = data
        self.waiter = file.waiters.add(self.notice, events & ~PRIVATE, bool(events & EPOLLEXCLUSIVE))

    def notice(self, events: int) -> bool:
        """The file's wait queue was woken; False when nobody waits here (for exclusive wake-ups)."""
        return self.epoll.enqueue(self)

    def ready(self) -> int:
        """The events to report now."""
        return self.file.poll() & self.waiter.mask

    def forget(self) -> None:
        """The description is closed."""
        self.epoll.drop(self)


def _chain(start: Epoll, neighbours: Callable[[Epoll], Iterable[Epoll]], forbidden: Epoll | None) -> int:
    """Length of the longest chain of epolls from ``start``, looked at as far as it matters.

    Layer by layer, so that the work is bounded however the epolls are entangled. Meeting ``forbidden`` counts
    as a chain that is too long.
    """
    layer = {start}
    for length in range(MAX_NESTS + 1):
        if forbidden in layer:
            return MAX_NESTS + 1
        layer = {found for epoll in layer for found in neighbours(epoll)}
        if not layer:
            return length
    return MAX_NESTS + 1


class Epoll(AnonymousFile):
    """An epoll instance. Itself a file that is readable when an item is ready, so that epolls nest."""

    kind = "[eventpoll]"

    def __init__(self, scheduler: Scheduler, uid: int = 0, tally: Tally | None = None) -> None:
        """``tally`` counts the registrations of user ``uid`` in all his epolls."""
        super().__init__(scheduler, os.O_RDWR)
        self.uid = uid
        self.tally = Tally() if tally is None else tally
        self.items: dict[tuple[int, int], Item] = {}
        self.inner: dict[Item, Epoll] = {}  # those items that are epolls themselves
        self._ready: OrderedDict[Item, None] = OrderedDict()
        # Those in epoll_wait(2), of whom an event wakes one. ``waiters`` are those who poll this epoll.
        self._sleepers = WaitQueue()

    def close(self) -> None:
        for item in tuple(self.items.values()):
            self.drop(item)

    # -- the interest list ---------------------------------------------------

    def control(self, operation: int, fd: int, file: File, events: int = 0, data: int = 0) -> None:
        """epoll_ctl(2) for ``file``, which the caller knows as ``fd``."""
        if not file.pollable:
            raise SyscallError(errno.EPERM)
        if file is self:
            raise SyscallError(errno.EINVAL)
        exclusive = events & EPOLLEXCLUSIVE and operation in (EPOLL_CTL_ADD, EPOLL_CTL_MOD)
        if exclusive and (operation == EPOLL_CTL_MOD or isinstance(file, Epoll) or events & ~EXCLUSIVE_ALLOWED):
            raise SyscallError(errno.EINVAL)
        item = self.items.get((fd, id(file)))
        if operation == EPOLL_CTL_ADD:
            self._add(item, fd, file, events | POLLERR | POLLHUP, data)
        elif operation not in (EPOLL_CTL_DEL, EPOLL_CTL_MOD):
            raise SyscallError(errno.EINVAL)
        elif item is None:
            raise SyscallError(errno.ENOENT)
        elif operation == EPOLL_CTL_DEL:
            self.drop(item)
        else:
            self._modify(item, events | POLLERR | POLLHUP, data)

    def _add(self, item: Item | None, fd: int, file: File, events: int, data: int) -> None:
        if isinstance(file, Epoll):
            self._check_nesting(file)
        if item is not None:
            raise SyscallError(errno.EEXIST)
        if self.tally[self.uid] >= MAX_USER_WATCHES:
            raise SyscallError(errno.ENOSPC)
        self.tally.add(self.uid, 1)
        item = self.items[fd, id(file)] = Item(self, fd, file, events, data)
        if isinstance(file, Epoll):
            self.inner[item] = file
        file.watches[item] = item.forget
        if item.ready():
            self.enqueue(item)

    def _modify(self, item: Item, events: int, data: int) -> None:
        if item.events & EPOLLEXCLUSIVE:
            raise SyscallError(errno.EINVAL)
        item.events = events
        item.data = data
        item.waiter.mask = events & ~PRIVATE
        if item.ready():
            self.enqueue(item)

    def drop(self, item: Item) -> None:
        """Take ``item`` off the interest list."""
        del self.items[item.fd, id(item.file)]
        self.tally.add(self.uid, -1)
        self.inner.pop(item, None)
        item.file.waiters.remove(item.waiter)
        item.file.watches.pop(item, None)
        self._ready.pop(item, None)

    def _check_nesting(self, target: Epoll) -> None:
        """ELOOP when watching ``target`` would close a circle or make a chain of more than five epolls."""
        below = _chain(target, lambda epoll: epoll.inner.values(), self)
        above = _chain(self, lambda epoll: epoll.outer(), None)
        if below + 1 + above > MAX_NESTS:
            raise SyscallError(errno.ELOOP)

    def outer(self) -> list[Epoll]:
        """The epolls that watch this one."""
        return [item.epoll for item in self.watches if isinstance(item, Item)]

    # -- the ready list ------------------------------------------------------

    def enqueue(self, item: Item) -> bool:
        """``item`` may be ready: queue it, once; True if somebody waits here."""
        somebody = bool(self._sleepers.entries)
        self._ready.setdefault(item)
        if somebody:
            self._sleepers.wake(READABLE)
        if self.waiters.entries:
            self.waiters.wake(READABLE)
        return somebody

    def poll(self) -> int:
        ready = self._ready
        for item in tuple(ready):
            if item.ready():
                return READABLE
            ready.pop(item, None)
        return 0

    def collect(self, limit: int) -> list[tuple[int, int]]:
        """At most ``limit`` pairs of events and data; what is left keeps its place at the front."""
        found: list[tuple[int, int]] = []
        ready = self._ready
        for _ in range(len(ready)):
            if not ready or len(found) == limit:
                break
            item, _none = ready.popitem(last=False)
            events = item.ready()
            if not events:
                continue
            found.append((events, item.data))
            if item.events & EPOLLONESHOT:
                item.events &= PRIVATE
                item.waiter.mask = 0
            elif not item.events & EPOLLET:
                ready[item] = None
        return found

    async def wait(self, limit: int, timeout: int | None) -> list[tuple[int, int]]:
        """epoll_wait(2): ``timeout`` in nanoseconds, None for ever. Raises ``Interrupted``."""
        deadline = None if timeout is None else time.monotonic_ns() + timeout
        while True:
            found = self.collect(limit) if self._ready else []
            if found:
                self._pass_on()
                return found
            remaining = None if deadline is None else (deadline - time.monotonic_ns()) / BILLION
            if remaining is not None and remaining <= 0:
                return found
            try:
                await self._sleepers.wait(self.scheduler, READABLE, remaining, exclusive=True)
            except BaseException:
                self._pass_on()
                raise

    def _pass_on(self) -> None:
        """One wake-up wakes one waiter only: who leaves items behind wakes the next."""
        if self._ready and self._sleepers.entries:
            self._sleepers.wake(READABLE)

    def fdinfo(self) -> str:
        return "".join(
            f"tfd: {item.fd:8d} events: {item.events:8x} data: {item.data:16x}  pos:{item.file.position} ino:0 sdev:0\n"
            for item in self.items.values()
        )
