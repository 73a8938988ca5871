"""POSIX message queues, see mq_overview(7): named queues of messages by priority, opened as files."""

from __future__ import annotations

import errno
import heapq
import itertools
import os
import time
from collections.abc import Callable, Hashable

from ..abi.errors import SyscallError
from ..abi.stat import S_IFREG, Stat
from ..sched.strand import Scheduler
from ..sched.waitqueue import WaitQueue
from .anonymous import MQUEUE_DEVICE
from .file import POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, File
from .sysv import Who
from .tally import Tally

QUEUES_MAX = 256
DEFAULT_MESSAGES, DEFAULT_SIZE = 10, 8192  # also the most that an unprivileged user may ask for
HARD_MESSAGES, HARD_SIZE = 65536, 16 << 20
PRIO_MAX = 32768
MESSAGE_COST = 48 + 48  # what Linux accounts per message beside its text
NAME_MAX = 255
READABLE, WRITABLE = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM

_numbers = itertools.count(2)


class Queue:
    """One queue; lives as long as it has a name or is open."""

    def __init__(self, who: Who, mode: int, messages: int, size: int) -> None:
        self.ino = next(_numbers)
        self.uid, self.gid, self.mode = who.uid, who.gid, mode
        self.time = time.time_ns()
        self.max_messages = messages
        self.max_size = size
        self.bytes = 0
        self.waiters = WaitQueue()
        self.receivers = 0  # calls that wait for a message
        self.opens = 0
        self.named = True
        # mq_notify(3): the process that is told once, when a message comes to the empty queue; and how.
        self.notified: Hashable | None = None
        self.notify: Callable[[], None] | None = None
        self.signal: tuple[int, int, int] = (0, 0, 0)  # kind of notification, signal and pid, for reading the file
        self._messages: list[tuple[int, int, bytes]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def cost(self) -> int:
        """What RLIMIT_MSGQUEUE counts, in bytes."""
        return self.max_messages * (MESSAGE_COST + self.max_size)

    @property
    def full(self) -> bool:
        return len(self._messages) >= self.max_messages

    def put(self, data: bytes, priority: int) -> None:
        """Add a message to a queue that is not full."""
        was_empty = not self._messages
        heapq.heappush(self._messages, (-priority, next(self._order), data))
        self.bytes += len(data)
        self.waiters.wake(READABLE)
        if was_empty and not self.receivers and self.notified is not None:
            notify = self.notify
            self.forget_notification()
            if notify is not None:
                notify()

    def take(self) -> tuple[bytes, int]:
        """Remove the oldest message of the highest priority; it and its priority."""
        priority, _, data = heapq.heappop(self._messages)
        self.bytes -= len(data)
        self.waiters.wake(WRITABLE)
        return data, -priority

    def forget_notification(self) -> None:
        """Nobody is told any more."""
        self.notified = self.notify = None
        self.signal = (0, 0, 0)

    def permits(self, who: Who, wanted: int) -> bool:
        """Whether ``who`` has ``wanted`` (4 read, 2 write) permission."""
        shift = 6 if who.uid == self.uid else 3 if self.gid == who.gid or self.gid in who.groups else 0
        return who.owner or not wanted & ~(self.mode >> shift)


class QueueFile(File):
    """A queue descriptor."""

    def __init__(self, scheduler: Scheduler, flags: int, queue: Queue, queues: QueueTable, name: bytes) -> None:
        super().__init__(scheduler, flags)
        self.queue = queue
        self.queues = queues
        self.name = name
        self.waiters = queue.waiters
        queue.opens += 1

    def close(self) -> None:
        self.queue.opens -= 1
        self.queues.drop_unused(self.queue)

    def describe(self) -> str:
        return "/" + os.fsdecode(self.name)

    async def stat(self) -> Stat:
        queue = self.queue
        return Stat(
            S_IFREG | queue.mode, queue.ino, MQUEUE_DEVICE, int(queue.named), queue.uid, queue.gid, size=80,
            atime=queue.time, mtime=queue.time, ctime=queue.time, btime=queue.time,
        )  # fmt: skip

    async def read(self, size: int) -> bytes:
        """The state as text, as reading a file of the mqueue file system gives it."""
        kind, signo, pid = self.queue.signal
        text = f"QSIZE:{self.queue.bytes:<10d} NOTIFY:{kind:<5d} SIGNO:{signo:<5d} NOTIFY_PID:{pid:<6d}\n"
        data = text.encode()[self.position : self.position + size]
        self.position += len(data)
        return data

    def poll(self) -> int:
        queue = self.queue
        return (READABLE if len(queue) else 0) | (0 if queue.full else WRITABLE)

    async def send(self, data: bytes, priority: int, deadline: int | None) -> None:
        """mq_timedsend(3); ``deadline``: nanoseconds of CLOCK_REALTIME. ETIMEDOUT, EAGAIN.

        The caller has checked that the file is writable and that the message is not too long.
        """
        assert self.writable and len(data) <= self.queue.max_size
        while self.queue.full:
            await self._wait(WRITABLE, deadline)
        self.queue.put(data, priority)

    async def receive(self, size: int, deadline: int | None) -> tuple[bytes, int]:
        """mq_timedreceive(3): a message and its priority; EMSGSIZE when ``size`` is less than one may have."""
        if not self.readable:
            raise SyscallError(errno.EBADF)
        if size < self.queue.max_size:
            raise SyscallError(errno.EMSGSIZE)
        queue = self.queue
        while not len(queue):
            queue.receivers += 1
            try:
                await self._wait(READABLE, deadline)
            finally:
                queue.receivers -= 1
        return queue.take()

    async def _wait(self, events: int, deadline: int | None) -> None:
        remaining = None
        if deadline is not None and not self.nonblocking:
            remaining = (deadline - time.time_ns()) / 10**9
            if remaining <= 0:
                raise SyscallError(errno.ETIMEDOUT)
        await self.wait_for(events, remaining)


class QueueTable:
    """All queues by name; names come without their leading slash."""

    def __init__(self) -> None:
        self.queues: dict[bytes, Queue] = {}
        self.bytes = Tally()

    def find(self, name: bytes) -> Queue | None:
        """The queue of that name. EACCES, ENAMETOOLONG, ENOENT for names that can't be."""
        if not name:
            raise SyscallError(errno.ENOENT)
        if b"/" in name or name in (b".", b".."):
            raise SyscallError(errno.EACCES)
        if len(name) > NAME_MAX:
            raise SyscallError(errno.ENAMETOOLONG)
        return self.queues.get(name)

    def create(self, name: bytes, queue: Queue, limit: int, privileged: bool) -> Queue:
        """Enter a new queue. ENOSPC: too many; EINVAL: too large; EMFILE: more than RLIMIT_MSGQUEUE ``limit``."""
        if len(self.queues) >= QUEUES_MAX:
            raise SyscallError(errno.ENOSPC)
        messages, size = (HARD_MESSAGES, HARD_SIZE) if privileged else (DEFAULT_MESSAGES, DEFAULT_SIZE)
        if not 0 < queue.max_messages <= messages or not 0 < queue.max_size <= size:
            raise SyscallError(errno.EINVAL)
        if self.bytes[queue.uid] + queue.cost > limit:
            raise SyscallError(errno.EMFILE)
        self.bytes.add(queue.uid, queue.cost)
        self.queues[name] = queue
        return queue

    def unlink(self, name: bytes, who: Who) -> None:
        """mq_unlink(3). The directory is sticky: only the owner may."""
        queue = self.find(name)
        if queue is None:
            raise SyscallError(errno.ENOENT)
        if who.uid != queue.uid and not who.owner:
            raise SyscallError(errno.EPERM)
        del self.queues[name]
        queue.named = False
        self.drop_unused(queue)

    def drop_unused(self, queue: Queue) -> None:
        """Give back what a queue cost that has no name and is not open."""
        if not queue.named and not queue.opens:
            self.bytes.add(queue.uid, -queue.cost)

    def owner_exits(self, owner: Hashable) -> None:
        """A process ends: it is not notified any more."""
        for queue in self.queues.values():
            if queue.notified is owner:
                queue.forget_notification()
