"""inotify: what the VFS tells those who watch.

The VFS calls ``notify`` (an inode itself) and ``notify_at`` (an inode and the directory that holds it).
While nobody watches anything, both cost one look at ``watched``.
"""

from __future__ import annotations

import errno
import os
import struct
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from ..abi.errors import SyscallError
from ..abi.stat import Stat
from ..abi.user import UserPointer
from ..io.file import POLLIN, POLLRDNORM, File

if TYPE_CHECKING:
    from ..sched.strand import Scheduler
    from .dentry import Location
    from .inode import Inode

IN_ACCESS, IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_OPEN = 1, 2, 4, 8, 0x10, 0x20
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
IN_ALL_EVENTS = 0xFFF
IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x2000, 0x4000, 0x8000
IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK = 0x1000000, 0x2000000, 0x4000000
IN_MASK_CREATE, IN_MASK_ADD, IN_ISDIR, IN_ONESHOT = 0x10000000, 0x20000000, 0x40000000, 0x80000000

EVENT = struct.Struct("<iIII")
FIONREAD = 0x541B
MAX_QUEUED = 16384
MAX_WATCHES = 65536  # of all instances together
MAX_INSTANCES = 1024


class Watched:
    """How much is watched in all: instances, and watches."""

    def __init__(self) -> None:
        self.instances = 0
        self.count = 0
        self.cookie = 0

    def next_cookie(self) -> int:
        """What ties IN_MOVED_FROM to IN_MOVED_TO."""
        self.cookie = self.cookie % 0xFFFFFFFF + 1
        return self.cookie


watched = Watched()


class Watch(msgspec.Struct, eq=False):
    """One watch of one instance."""

    instance: Inotify
    descriptor: int
    inode: Inode
    mask: int


class Inotify(File):
    """An inotify instance: a queue of events that is read as a file."""

    def __init__(self, scheduler: Scheduler, flags: int) -> None:
        if watched.instances >= MAX_INSTANCES:
            raise SyscallError(errno.EMFILE)
        super().__init__(scheduler, os.O_RDONLY | flags & os.O_NONBLOCK)
        watched.instances += 1
        self.by_descriptor: dict[int, Watch] = {}
        self.queue: deque[tuple[int, int, int, bytes]] = deque()
        self._last = 0

    def describe(self) -> str:
        return "anon_inode:inotify"

    async def stat(self) -> Stat:
        return Stat(0o600, 0, 0)

    def close(self) -> None:
        for watch in list(self.by_descriptor.values()):
            self._forget(watch)
        watched.instances -= 1

    def poll(self) -> int:
        return POLLIN | POLLRDNORM if self.queue else 0

    def add(self, inode: Inode, mask: int) -> int:
        """inotify_add_watch(2) for an inode; the watch descriptor."""
        known: Watch | None = next((w for w in self.by_descriptor.values() if w.inode is inode), None)
        if known is not None:
            if mask & IN_MASK_CREATE:
                raise SyscallError(errno.EEXIST)
            known.mask = known.mask | mask if mask & IN_MASK_ADD else mask
            return known.descriptor
        if watched.count >= MAX_WATCHES:
            raise SyscallError(errno.ENOSPC)
        self._last += 1
        watch = Watch(self, self._last, inode, mask)
        self.by_descriptor[watch.descriptor] = watch
        inode.attached.setdefault("watches", []).append(watch)
        watched.count += 1
        return watch.descriptor

    def remove(self, descriptor: int) -> None:
        """inotify_rm_watch(2)."""
        watch = self.by_descriptor.get(descriptor)
        if watch is None:
            raise SyscallError(errno.EINVAL)
        self.drop(watch)

    def drop(self, watch: Watch) -> None:
        """End a watch, and say so."""
        self._forget(watch)
        self.push(watch.descriptor, IN_IGNORED, 0, b"")

    def _forget(self, watch: Watch) -> None:
        del self.by_descriptor[watch.descriptor]
        watches = watch.inode.attached["watches"]
        watches.remove(watch)
        if not watches:
            del watch.inode.attached["watches"]
        watched.count -= 1

    def push(self, descriptor: int, mask: int, cookie: int, name: bytes) -> None:
        """Queue an event; the same event twice in a row is one, too many become IN_Q_OVERFLOW."""
        event = (descriptor, mask, cookie, name)
        if self.queue and self.queue[-1] == event:
            return
        if len(self.queue) >= MAX_QUEUED:
            event = (-1, IN_Q_OVERFLOW, 0, b"")
            if self.queue[-1] == event:
                return
        self.queue.append(event)
        self.waiters.wake(POLLIN | POLLRDNORM)

    async def read(self, size: int) -> bytes:
        while not self.queue:
            await self.wait_for(POLLIN)
        packed: list[bytes] = []
        room = size
        while self.queue:
            descriptor, mask, cookie, name = self.queue[0]
            padded = (len(name) // 16 + 1) * 16 if name else 0
            if EVENT.size + padded > room:
                break
            self.queue.popleft()
            room -= EVENT.size + padded
            packed.append(EVENT.pack(descriptor, mask, cookie, padded) + name.ljust(padded, b"\0"))
        if not packed:
            raise SyscallError(errno.EINVAL)
        return b"".join(packed)

    async def ioctl(self, thread: object, command: int, argument: UserPointer) -> int:
        if command != FIONREAD:
            raise SyscallError(errno.ENOTTY)
        size = sum(EVENT.size + ((len(name) // 16 + 1) * 16 if name else 0) for *_, name in self.queue)
        argument.write(struct.pack("<i", size))
        return 0


def notify(inode: Inode, mask: int, name: bytes = b"", cookie: int = 0) -> None:
    """Tell who watches ``inode`` that ``mask`` happened, to ``name`` in it if it is a directory."""
    if not watched.count:
        return
    for watch in tuple(inode.attached.get("watches", ())):
        if watch.mask & mask & IN_ALL_EVENTS:
            watch.instance.push(watch.descriptor, mask, cookie, name)
            if watch.mask & IN_ONESHOT:
                watch.instance.drop(watch)


def notify_at(location: Location, mask: int) -> None:
    """Tell who watches the inode at ``location``, and who watches the directory that it is in."""
    if not watched.count:
        return
    dentry = location.dentry
    inode = dentry.inode
    if inode is None:
        return
    if inode.is_dir:
        mask |= IN_ISDIR
    parent = dentry.parent
    if parent is not None and parent.inode is not None and not dentry.deleted:
        notify(parent.inode, mask, dentry.name)
    notify(inode, mask)


def notify_removed(inode: Inode) -> None:
    """The last name of ``inode`` is gone: IN_DELETE_SELF, and the end of all watches."""
    if not watched.count:
        return
    notify(inode, IN_DELETE_SELF)
    for watch in tuple(inode.attached.get("watches", ())):
        watch.instance.drop(watch)
