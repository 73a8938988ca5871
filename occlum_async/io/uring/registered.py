"""What a guest registers with a ring: files that need no descriptor, and buffers in numbered groups to choose from."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ...abi.errors import SyscallError
from ...abi.uring import BUFFER, FILE_INDEX_ALLOC
from ..file import File
from .account import Account
from .memory import SharedPages


class Memory(Protocol):
    """Where a ring of buffers lies: a guest's memory (see ``process.guest.HostProcess``), or pages shared with it."""

    def read(self, address: int, size: int) -> bytes: ...


class FileTable:
    """Registered files: numbered slots, some of them empty. Each file in it is held open."""

    def __init__(self, gone: Callable[[int], object]) -> None:
        """``gone`` is told the tag (not 0) of each file that leaves its slot."""
        self._gone = gone
        self.slots: list[File | None] = []
        self.tags: list[int] = []
        self.range = (0, 0)  # where slots are allocated from

    def resize(self, count: int) -> None:
        """As many empty slots. The table must be empty."""
        self.slots = [None] * count
        self.tags = [0] * count
        self.range = (0, count)

    def get(self, index: int) -> File:
        """The file in a slot; EBADF."""
        file = self.slots[index] if 0 <= index < len(self.slots) else None
        if file is None:
            raise SyscallError(errno.EBADF)
        return file

    def install(self, file: File, slot: int) -> int:
        """Put ``file`` into ``slot`` in place of what was there, or into any free one; the index.

        ENXIO without a table, ENFILE when it is full, EINVAL for a slot beyond its end.
        """
        if not self.slots:
            raise SyscallError(errno.ENXIO)
        if slot == FILE_INDEX_ALLOC:
            start, end = self.range
            slot = next((index for index in range(start, end) if self.slots[index] is None), -1)
            if slot < 0:
                raise SyscallError(errno.ENFILE)
        if not 0 <= slot < len(self.slots):
            raise SyscallError(errno.EINVAL)
        file.acquire()
        self.empty(slot)
        self.slots[slot] = file
        return slot

    def remove(self, index: int) -> None:
        """Empty a slot. EINVAL, EBADF when it is empty."""
        if not 0 <= index < len(self.slots):
            raise SyscallError(errno.EINVAL)
        self.get(index)
        self.empty(index)

    def empty(self, index: int) -> None:
        """Empty a slot of the table, if it is not."""
        file, tag = self.slots[index], self.tags[index]
        self.slots[index], self.tags[index] = None, 0
        if file is not None:
            file.release()
        if tag:
            self._gone(tag)

    def clear(self) -> None:
        """Empty every slot; there is no table then."""
        for index in range(len(self.slots)):
            self.empty(index)
        self.resize(0)


class FixedBuffer(NamedTuple):
    """A registered buffer: ``size`` bytes at ``address``. A size of 0 is an empty slot."""

    address: int = 0
    size: int = 0
    tag: int = 0


class Selected(NamedTuple):
    """A buffer taken from a group for one operation, which may use ``size`` bytes of it.

    ``whole`` is for the group, which may get it back: the buffer's full size, or its place in a ring.
    """

    group: BufferGroup | BufferRing
    id: int
    address: int
    size: int
    whole: int


class BufferGroup:
    """Buffers that were handed in by PROVIDE_BUFFERS; the latest is taken first, as Linux does."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.buffers: deque[tuple[int, int, int]] = deque()  # address, size, id

    def provide(self, address: int, size: int, count: int, first: int) -> None:
        """Add ``count`` buffers of ``size`` bytes, side by side, with ids from ``first``. ENOMEM for too many."""
        if not self._account.room(count):
            raise SyscallError(errno.ENOMEM)
        self._account.charge(count)
        for number in range(count):
            self.buffers.append((address + number * size, size, (first + number) & 0xFFFF))

    def remove(self, count: int) -> int:
        """Take back at most ``count``; how many."""
        count = min(count, len(self.buffers))
        for _ in range(count):
            self.buffers.popleft()
        self._account.charge(-count)
        return count

    def take(self, limit: int) -> Selected:
        """The next buffer, cut to ``limit`` bytes (0: whole); ENOBUFS."""
        if not self.buffers:
            raise SyscallError(errno.ENOBUFS)
        address, size, number = self.buffers.popleft()
        self._account.charge(-1)
        return Selected(self, number, address, min(size, limit) if limit else size, size)

    def give_back(self, buffer: Selected) -> bool:
        """It was not used after all: the next to ask gets it."""
        self._account.charge(1)
        self.buffers.appendleft((buffer.address, buffer.whole, buffer.id))
        return True


class BufferRing:
    """A ring of buffers in the guest's own memory, which it fills as it likes. Each field is read once.

    ``pages`` are the memory if this ring has made it, for the guest to map.
    """

    def __init__(self, memory: Memory, address: int, entries: int, pages: SharedPages | None = None) -> None:
        self.pages = pages
        self._memory = memory
        self._address = address
        self._entries = entries
        self.head = 0

    def take(self, limit: int) -> Selected:
        """The next buffer, cut to ``limit`` bytes (0: whole); ENOBUFS."""
        tail = int.from_bytes(self._memory.read(self._address + 14, 2), "little")
        if tail == self.head & 0xFFFF:
            raise SyscallError(errno.ENOBUFS)
        where = self._address + (self.head & (self._entries - 1)) * BUFFER.size
        address, size, number, _ = BUFFER.unpack(self._memory.read(where, BUFFER.size))
        place, self.head = self.head, (self.head + 1) & 0xFFFF
        return Selected(self, number, address, min(size, limit) if limit else size, place)

    def give_back(self, buffer: Selected) -> bool:
        """It was not used after all. False when another has been taken since: then it can't be."""
        if (buffer.whole + 1) & 0xFFFF != self.head:
            return False
        self.head = buffer.whole
        return True
