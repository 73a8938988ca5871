"""Pipes: a ring of page-sized slots between those who read and those who write.

Capacity, atomicity and polling follow from the slots, as in Linux: a slot holds at most one page, a write
of at most a page takes one slot (or the room that is left in the last one) or waits, a pipe is writable
while a slot is free. A slot is an immutable piece of bytes, so nothing is copied on the way in.
"""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from signal import SIGPIPE

from ..abi.errors import Interrupted, SyscallError
from ..abi.stat import S_IFIFO, Stat
from ..abi.user import UserPointer
from ..sched.strand import Scheduler
from ..sched.waitqueue import Waiter, WaitQueue
from .anonymous import PIPE_DEVICE, put_int
from .file import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, File
from .tally import Tally

PAGE = 4096
DEFAULT_SLOTS = 16
SOFT_SLOTS = 2  # what a user beyond the soft limit gets
MAX_SIZE = 1 << 20  # /proc/sys/fs/pipe-max-size
HARD_SIZE = 1 << 26  # what CAP_SYS_RESOURCE can raise a pipe to
USER_PAGES_SOFT = 16384  # /proc/sys/fs/pipe-user-pages-soft
FIONREAD = 0x541B

READABLE = POLLIN | POLLRDNORM
WRITABLE = POLLOUT | POLLWRNORM

_numbers = itertools.count(1)


def _within(users: Tally, uid: int, more: int, privileged: bool) -> bool:
    """Whether a pipe may take ``more`` pages: what all pipes hold together binds the privileged, too."""
    return (privileged or users[uid] + more <= USER_PAGES_SOFT) and users.total + more <= users.limit


class Packet(bytes):
    """One write to an O_DIRECT pipe: read as a whole, and what the reader has no room for is lost."""


class Pipe:
    """The ring. Never blocks: who wants to read waits on ``readable``, who wants to write on ``writable``.

    ``users`` counts the pages that each user's pipes may hold (pipe(7), pipe-user-pages-soft).
    """

    def __init__(self, uid: int = 0, gid: int = 0, users: Tally | None = None, privileged: bool = True) -> None:
        self.uid = uid
        self.gid = gid
        self.ino = next(_numbers)
        self.time = time.time_ns()
        self.users = users
        enough = users is None or _within(users, uid, DEFAULT_SLOTS, privileged)
        self.capacity = DEFAULT_SLOTS if enough else SOFT_SLOTS
        self.slots: deque[bytes | memoryview] = deque()
        self.room = 0  # what still fits into the page of the last slot
        self.readers = self.writers = 0
        # How often each side was opened: what an opener of a FIFO waits for, and what tells a reader
        # that never saw a writer from one whose writers are gone.
        self.reads_opened = self.writes_opened = 0
        self.readable = WaitQueue()
        self.writable = WaitQueue()
        self.partners = WaitQueue()
        self.on_unused: Callable[[], None] | None = None
        if users is not None:
            users.add(uid, self.capacity)

    @property
    def full(self) -> bool:
        """No slot is free."""
        return len(self.slots) >= self.capacity

    @property
    def size(self) -> int:
        """Bytes that wait to be read."""
        return sum(map(len, self.slots))

    # -- data ----------------------------------------------------------------

    def put(self, data: bytes, packet: bool = False) -> bool:
        """Store at most a page, all of it; False when there is no room for it."""
        size = len(data)
        if size <= self.room:  # even a packet's: the page decides, as in Linux
            self.slots[-1] = b"".join((self.slots[-1], data))
            self.room -= size
            return True
        if len(self.slots) >= self.capacity:
            return False
        self.slots.append(Packet(data) if packet else data)
        self.room = 0 if packet else PAGE - size
        return True

    def put_pages(self, data: memoryview, packet: bool = False) -> int:
        """Store as much of an immutable ``data`` as fits; how much that was."""
        done = 0
        head = len(data) % PAGE
        if head and head <= self.room:
            self.put(bytes(data[:head]))
            done = head
        while done < len(data) and len(self.slots) < self.capacity:
            piece = data[done : done + PAGE]
            self.slots.append(Packet(piece) if packet else piece)
            self.room = 0 if packet else PAGE - len(piece)
            done += len(piece)
        return done

    def push(self, data: bytes) -> None:
        """Store all of ``data``, past the capacity if need be: what a splice has already taken elsewhere."""
        view = memoryview(data)
        self.slots.extend(view[start : start + PAGE] for start in range(0, len(data), PAGE))
        self.room = 0

    def unread(self, data: bytes) -> None:
        """Put back at the front what a splice took and could not pass on."""
        if not self.slots:
            self.room = 0
        self.slots.appendleft(data)

    def take(self, size: int) -> bytes:
        """Remove and return at most ``size`` > 0 bytes of a pipe that is not empty."""
        slots = self.slots
        first = slots[0]
        if len(slots) == 1 and len(first) <= size:
            slots.clear()
            self.room = 0
            return first if type(first) is bytes else bytes(first)
        pieces: list[bytes | memoryview] = []
        while slots and size:
            first = slots[0]
            if type(first) is Packet:
                slots.popleft()
                pieces.append(first[:size])
                break
            if len(first) > size:
                view = memoryview(first)
                pieces.append(view[:size])
                slots[0] = view[size:]
                break
            pieces.append(slots.popleft())
            size -= len(first)
        if not slots:
            self.room = 0
        return b"".join(pieces)

    def remove(self, size: int, count: int) -> list[bytes | memoryview]:
        """Remove at most ``count`` slots of at most ``size`` bytes in all, as they are (splice(2))."""
        moved: list[bytes | memoryview] = []
        while self.slots and size and len(moved) < count:
            slot = self.slots.popleft()
            if len(slot) > size:
                view = memoryview(slot)
                self.slots.appendleft(view[size:])
                slot = view[:size]
            moved.append(slot)
            size -= len(slot)
        if not self.slots:
            self.room = 0
        return moved

    def peek(self, size: int) -> list[bytes]:
        """The first slots, up to ``size`` bytes of them, which stay (tee(2))."""
        found: list[bytes] = []
        for slot in self.slots:
            if size <= 0:
                break
            piece = slot[:size]
            found.append(Packet(piece) if type(slot) is Packet else bytes(piece))
            size -= len(piece)
        return found

    # -- capacity ------------------------------------------------------------

    def resize(self, size: int, privileged: bool) -> int:
        """F_SETPIPE_SZ: at least ``size`` bytes; the capacity that was set.

        EINVAL for nonsense, EPERM beyond what the user may have, EBUSY when the content needs more.
        """
        if not 0 <= size <= 1 << 31:
            raise SyscallError(errno.EINVAL)
        slots = 1 << max((size + PAGE - 1) // PAGE - 1, 0).bit_length()
        grows = slots > self.capacity
        if grows and slots * PAGE > (HARD_SIZE if privileged else MAX_SIZE):
            raise SyscallError(errno.EPERM)
        if grows and self.users is not None and not _within(self.users, self.uid, slots - self.capacity, privileged):
            raise SyscallError(errno.EPERM)
        if slots < len(self.slots):
            raise SyscallError(errno.EBUSY)
        if self.users is not None:
            self.users.add(self.uid, slots - self.capacity)
        self.capacity = slots
        if grows:
            self.writable.wake(WRITABLE)
        return slots * PAGE

    def unused(self) -> None:
        """The last end is closed: drop the content, give the pages back."""
        self.slots.clear()
        self.room = 0
        if self.users is not None:
            self.users.add(self.uid, -self.capacity)
            self.users = None
        if self.on_unused is not None:
            self.on_unused()


class PipeFile(File):
    """One end of a pipe or FIFO, or both (a FIFO opened O_RDWR).

    All readers share one wait queue and all writers another, so that nobody hears of what his own side does.
    """

    def __init__(self, scheduler: Scheduler, flags: int, pipe: Pipe) -> None:
        super().__init__(scheduler, flags)
        self.pipe = pipe
        self._forwarders: list[tuple[WaitQueue, Waiter]] = []
        if flags & os.O_ACCMODE == os.O_RDWR:
            self._forwarders = [(queue, queue.add(self.waiters.wake)) for queue in (pipe.readable, pipe.writable)]
        else:
            self.waiters = pipe.readable if self.readable else pipe.writable
        self.get_stat: Callable[[], Awaitable[Stat]] | None = None
        self.get_path: Callable[[], str] | None = None
        # A reader that found no writer sees no POLLHUP until one has come: pipe.writes_opened then.
        self.seen_writers = -1
        if self.readable:
            pipe.readers += 1
            pipe.reads_opened += 1
        if self.writable:
            pipe.writers += 1
            pipe.writes_opened += 1

    @property
    def held(self) -> int:
        return self.pipe.capacity * PAGE if self.readable else 0

    def close(self) -> None:
        pipe = self.pipe
        for queue, waiter in self._forwarders:
            queue.remove(waiter)
        pipe.readers -= self.readable
        pipe.writers -= self.writable
        if not pipe.readers and not pipe.writers:
            pipe.unused()
        elif not pipe.readers or not pipe.writers:
            pipe.readable.wake(READABLE | POLLERR | POLLHUP)
            pipe.writable.wake(WRITABLE | POLLERR | POLLHUP)

    def reopen(self, flags: int) -> PipeFile:
        """open(2) of /proc/self/fd/N: another description of the same pipe. Never waits."""
        file = PipeFile(self.scheduler, flags, self.pipe)
        file.get_stat, file.get_path = self.get_stat, self.get_path
        return file

    def describe(self) -> str:
        return self.get_path() if self.get_path is not None else f"pipe:[{self.pipe.ino}]"

    async def stat(self) -> Stat:
        if self.get_stat is not None:
            return await self.get_stat()
        pipe = self.pipe
        return Stat(
            S_IFIFO | 0o600, pipe.ino, PIPE_DEVICE, uid=pipe.uid, gid=pipe.gid,
            atime=pipe.time, mtime=pipe.time, ctime=pipe.time, btime=pipe.time,
        )  # fmt: skip

    @property
    def pipe_size(self) -> int:
        """F_GETPIPE_SZ, in bytes."""
        return self.pipe.capacity * PAGE

    def set_pipe_size(self, size: int, privileged: bool) -> int:
        """F_SETPIPE_SZ, see ``Pipe.resize``. ``privileged``: CAP_SYS_RESOURCE."""
        return self.pipe.resize(size, privileged)

    # -- data ----------------------------------------------------------------

    async def read(self, size: int) -> bytes:
        if not self.readable:
            raise SyscallError(errno.EBADF)
        if size <= 0:
            return b""
        pipe = self.pipe
        while not pipe.slots:
            if not pipe.writers:
                return b""
            await self.wait_for(READABLE)
        return self.taken(size)

    async def wait_filled(self) -> bool:
        """Wait until there is something to take; False at the end: empty, and nobody will write."""
        pipe = self.pipe
        while not pipe.slots:
            if not pipe.writers:
                return False
            await self.wait_for(READABLE)
        return True

    def taken(self, size: int) -> bytes:
        """``Pipe.take``, and tell the writers when that made room."""
        pipe = self.pipe
        was_full = len(pipe.slots) >= pipe.capacity
        data = pipe.take(size)
        if was_full and len(pipe.slots) < pipe.capacity:
            pipe.writable.wake(WRITABLE)
        return data

    async def write(self, data: bytes | memoryview) -> int:
        if not self.writable:
            raise SyscallError(errno.EBADF)
        size = len(data)
        if size > PAGE:
            return await self._write_pages(data)
        if not size:
            return 0
        if type(data) is not bytes:
            data = bytes(data)
        pipe = self.pipe
        while True:
            if not pipe.readers:
                raise SyscallError(errno.EPIPE, signal=SIGPIPE)
            if pipe.put(data, bool(self.flags & os.O_DIRECT)):
                pipe.readable.wake(READABLE)
                return size
            await self.wait_for(WRITABLE)

    async def _write_pages(self, data: bytes | memoryview) -> int:
        """A write larger than PIPE_BUF: not atomic, in as many steps as the readers make it take."""
        pipe, packet = self.pipe, bool(self.flags & os.O_DIRECT)
        view, done = memoryview(data), 0
        while done < len(view):
            try:
                if not pipe.readers:
                    raise SyscallError(errno.EPIPE, signal=SIGPIPE)
                free = pipe.capacity - len(pipe.slots)
                # Slots refer to what they were given: they must not keep alive what found no room.
                lasting = type(data) is bytes and len(view) <= free * PAGE
                piece = view[done : done + max(free, 0) * PAGE + (len(view) - done) % PAGE]
                taken = pipe.put_pages(piece if lasting else memoryview(bytes(piece)), packet)
                if taken:
                    done += taken
                    pipe.readable.wake(READABLE)
                else:
                    await self.wait_for(WRITABLE)
            except (SyscallError, Interrupted):
                if done:
                    return done
                raise
        return done

    def poll(self) -> int:
        pipe, events = self.pipe, 0
        if self.readable:
            if pipe.slots:
                events = READABLE
            if not pipe.writers and self.seen_writers != pipe.writes_opened:
                events |= POLLHUP
        if self.writable:
            if len(pipe.slots) < pipe.capacity:
                events |= WRITABLE
            if not pipe.readers:
                events |= POLLERR
        return events

    async def ioctl(self, thread: object, command: int, argument: UserPointer) -> int:
        if command == FIONREAD:
            return put_int(argument, self.pipe.size)
        return await super().ioctl(thread, command, argument)


def make_pipe(
    scheduler: Scheduler, flags: int = 0, uid: int = 0, gid: int = 0,
    users: Tally | None = None, privileged: bool = True,
) -> tuple[PipeFile, PipeFile]:  # fmt: skip
    """pipe2(2): the reading and the writing end. ``flags``: O_NONBLOCK, O_DIRECT."""
    pipe = Pipe(uid, gid, users, privileged)
    status = flags & (os.O_NONBLOCK | os.O_DIRECT)
    return PipeFile(scheduler, os.O_RDONLY | status, pipe), PipeFile(scheduler, os.O_WRONLY | status, pipe)
