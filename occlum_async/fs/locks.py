"""Record locks (POSIX and open file description locks) and flock(2)'s.

A lock belongs to an *owner*: a descriptor table (POSIX locks, which a process holds) or an open file (OFD
locks). The locks of an inode hang on the inode; nothing is global but the graph of who waits for whom,
which finds the circles of POSIX locks (EDEADLK).
"""

from __future__ import annotations

import errno
import fcntl
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from ..abi.errors import SyscallError
from ..sched.strand import Scheduler
from ..sched.waitqueue import WaitQueue

if TYPE_CHECKING:
    from ..io.file import File
    from .inode import Inode

OFFSET_MAX = (1 << 63) - 1
MAX_LOCKS = 65536  # of one inode
MAX_CIRCLE = 64  # how far a circle of waiters is followed

READ, WRITE, UNLOCK = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK


class RecordLock(msgspec.Struct, frozen=True):
    """A lock of the bytes ``start`` to ``end`` (inclusive). ``pid`` is -1 for OFD locks."""

    type: int
    start: int
    end: int
    owner: Any
    pid: int

    def overlaps(self, other: RecordLock) -> bool:
        return self.start <= other.end and other.start <= self.end

    def conflicts(self, other: RecordLock) -> bool:
        """Whether both can't be held at once."""
        return self.owner is not other.owner and WRITE in (self.type, other.type) and self.overlaps(other)


class RecordLocks:
    """The record locks of one inode, and who waits for one of them."""

    __slots__ = ("held", "waiters")

    def __init__(self) -> None:
        self.held: list[RecordLock] = []
        self.waiters = WaitQueue()

    def conflict(self, lock: RecordLock) -> RecordLock | None:
        """The first lock that stands in the way."""
        return next((other for other in self.held if other.conflicts(lock)), None)

    def set(self, lock: RecordLock) -> None:
        """Put ``lock`` in place of what its owner holds there: split, merged, or taken away (UNLOCK)."""
        kept: list[RecordLock] = []
        start, end = lock.start, lock.end
        changed = False
        for other in self.held:
            if other.owner is not lock.owner or other.end < lock.start - 1 or other.start > lock.end + 1:
                kept.append(other)
                continue
            if other.type == lock.type:
                start, end = min(start, other.start), max(end, other.end)
                continue
            changed = True
            if other.start < lock.start:
                kept.append(replace(other, end=min(other.end, lock.start - 1)))
            if other.end > lock.end:
                kept.append(replace(other, start=max(other.start, lock.end + 1)))
        if lock.type != UNLOCK:
            kept.append(replace(lock, start=start, end=end))
        if len(kept) > MAX_LOCKS:
            raise SyscallError(errno.ENOLCK)
        kept.sort(key=lambda item: item.start)
        self.held = kept
        if changed:
            self.waiters.wake()

    def release(self, owner: object) -> None:
        """Give up everything that ``owner`` holds."""
        if any(lock.owner is owner for lock in self.held):
            self.set(RecordLock(UNLOCK, 0, OFFSET_MAX, owner, 0))


# Which lock an owner waits for.
_waiting: dict[int, RecordLock] = {}


def record_locks(inode: Inode) -> RecordLocks:
    """The record locks of ``inode``."""
    locks: RecordLocks | None = inode.attached.get("locks")
    if locks is None:
        locks = inode.attached["locks"] = RecordLocks()
    return locks


def release_owner(inode: Inode | None, owner: object) -> None:
    """Give up everything that ``owner`` has locked in ``inode``."""
    locks: RecordLocks | None = inode.attached.get("locks") if inode is not None else None
    if locks is not None:
        locks.release(owner)


async def set_lock(inode: Inode, lock: RecordLock, wait: bool, scheduler: Scheduler) -> None:
    """Take, change or give up a lock. EAGAIN, or with ``wait``: EDEADLK in a circle, Interrupted."""
    locks = record_locks(inode)
    if lock.type == UNLOCK:
        locks.set(lock)
        return
    while (blocker := locks.conflict(lock)) is not None:
        if not wait:
            raise SyscallError(errno.EAGAIN)
        if lock.pid >= 0 and _circle(lock.owner, blocker):
            raise SyscallError(errno.EDEADLK)
        _waiting[id(lock.owner)] = blocker
        try:
            await locks.waiters.wait(scheduler)
        finally:
            _waiting.pop(id(lock.owner), None)
    locks.set(lock)


def _circle(owner: object, blocker: RecordLock) -> bool:
    """Whether waiting for ``blocker`` would, through its owner's own wait, end at ``owner``."""
    for _ in range(MAX_CIRCLE):
        following = _waiting.get(id(blocker.owner))
        if following is None:
            return False
        if following.owner is owner:
            return True
        blocker = following
    return False


class FlockState:
    """flock(2)'s state of one inode: who holds it, shared or alone."""

    __slots__ = ("exclusive", "holders", "waiters")

    def __init__(self) -> None:
        self.holders: set[File] = set()
        self.exclusive = False
        self.waiters = WaitQueue()

    def release(self, file: File) -> None:
        """Give up the lock of ``file``, if it has one."""
        if file in self.holders:
            self.holders.remove(file)
            self.exclusive = False
            self.waiters.wake()

    def try_lock(self, file: File, exclusive: bool) -> bool:
        others = self.holders - {file}
        if others and (exclusive or self.exclusive):
            return False
        self.holders.add(file)
        if self.exclusive and not exclusive:
            self.waiters.wake()
        self.exclusive = exclusive
        return True


async def flock(file: File, operation: int, scheduler: Scheduler) -> None:
    """flock(2) on an open file. Changing a lock that must wait gives the old one up first, as on Linux."""
    wait = not operation & fcntl.LOCK_NB
    operation &= ~fcntl.LOCK_NB
    if operation not in (fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN):
        raise SyscallError(errno.EINVAL)
    # Files without a path (pipes, sockets) have a lock of their own.
    attached: dict[str, Any] = file.location.inode.attached if file.location is not None else file.__dict__
    state: FlockState = attached.setdefault("flock", FlockState())
    if operation == fcntl.LOCK_UN:
        state.release(file)
        return
    if state.release not in file.on_close:
        file.on_close.append(state.release)
    while not state.try_lock(file, operation == fcntl.LOCK_EX):
        state.release(file)
        if not wait:
            raise SyscallError(errno.EAGAIN)
        await state.waiters.wait(scheduler)
