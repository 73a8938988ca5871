"""The bytes of an in-memory file, and the account that they are charged to.

A file begins as one ``bytearray`` without holes. When it grows, is mapped, or gets a hole, it becomes a
memfd: from then on the host's page cache is the file, and what guests map is what read(2) reads.
"""

from __future__ import annotations

import errno
import os
from typing import Protocol

from ..abi.errors import SyscallError
from .memory import FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, PAGE, SMALL, Memfds, Memory, allocate, pages_of

__all__ = ["MAX_FILE_SIZE", "PAGE", "SMALL", "Mapped", "Pages", "Quota", "pages_of"]

MAX_FILE_SIZE = (1 << 63) - 1


class Mapped(Protocol):
    """What guests may have mapped: a memfd of ours, ``charged`` pages of which are on an account of memory."""

    fd: int
    charged: int

    def measure(self) -> None:
        """Bring ``charged`` up to what the host says (mappings fill holes unseen)."""

    def unmapped(self) -> None:
        """No guest holds it any more."""


class Quota:
    """What file systems may hold in memory: ``pages`` and ``inodes``; None is without limit.

    Several file systems may share one account. What is charged here is charged to ``parent`` as well.
    """

    def __init__(self, size: int | None = None, inodes: int | None = None, parent: Quota | None = None) -> None:
        self.parent = parent
        self.root: Quota = self if parent is None else parent.root
        self.mapped: set[Mapped] = set()  # of the root: files that guests may have mapped, whatever became of the names
        self.memfds: Memfds = Memfds() if parent is None else parent.memfds
        self.pages = None if size is None else pages_of(size)
        self.inodes = inodes
        self.pages_used = 0
        self.inodes_used = 0

    def left(self) -> int:
        """How many pages may still be charged."""
        own = 1 << 50 if self.pages is None else max(0, self.pages - self.pages_used)
        return own if self.parent is None else min(own, self.parent.left())

    def charge(self, pages: int) -> None:
        """Charge ``pages`` (negative: give back); ENOSPC."""
        if pages > 0 and pages > self.left():
            raise SyscallError(errno.ENOSPC)
        self.settle(pages)

    def settle(self, pages: int) -> None:
        """Account for ``pages`` that are in use, or no longer in use, already."""
        self.pages_used += pages
        if self.parent is not None:
            self.parent.settle(pages)

    def charge_inode(self) -> None:
        """Charge one inode; ENOSPC."""
        if self.inodes is not None and self.inodes_used >= self.inodes:
            raise SyscallError(errno.ENOSPC)
        self.charge_kernel(1)  # about what one needs
        self.inodes_used += 1

    def release_inode(self) -> None:
        """An inode is gone."""
        self.inodes_used -= 1
        self.charge_kernel(-1)

    def charge_kernel(self, pages: int) -> None:
        """Charge what the kernel itself holds for a file to the memory of the whole LibOS; ENOSPC."""
        if self.parent is not None:
            self.root.charge(pages)


class Pages(Memory):
    """The data of one file. Invariant: ``charged`` pages of ``quota`` are ours until we are gone."""

    __slots__ = ("charged", "quota")

    def __init__(self, quota: Quota) -> None:
        super().__init__(quota.memfds)
        self.quota = quota
        self.charged = 0

    def __del__(self) -> None:
        self.quota.settle(-self.charged)
        super().__del__()

    def _charge(self, pages: int) -> None:
        self.quota.charge(pages - self.charged)
        self.charged = pages

    def measure(self) -> None:
        """Bring the account up to what the host says the memfd holds (mappings fill holes unseen)."""
        if self.fd >= 0:
            pages = os.fstat(self.fd).st_blocks * 512 // PAGE
            self.quota.settle(pages - self.charged)
            self.charged = pages

    def unmapped(self) -> None:
        """No guest holds it any more: nothing is left to do."""

    def write(self, data: bytes | memoryview, offset: int) -> int:
        """Write, growing the file. Takes fewer bytes when the account allows no more; ENOSPC for none."""
        length = len(data)
        if not length:
            return 0
        end = offset + length
        if end > MAX_FILE_SIZE:
            raise SyscallError(errno.EFBIG)
        if self.small is not None and (end > SMALL or pages_of(self.size) < offset // PAGE):
            self.promote()
        if pages_of(end) - offset // PAGE > self.quota.left():
            length = self._fitting(length, offset)
            data = memoryview(data)[:length]
            end = offset + length
        if self.small is None:
            length = self.put(data, offset)
            self.measure()
            return length
        size = self.size
        self.put(data, offset)
        if end > size:
            self._charge(pages_of(end))
        return length

    def _fitting(self, length: int, offset: int) -> int:
        """How many of the bytes find room, page by page."""
        left = self.quota.left()
        end = offset + length
        position = offset
        while position < end:
            page = position // PAGE
            if not self._allocated(page):
                if left == 0:
                    break
                left -= 1
            position = (page + 1) * PAGE
        fitting = min(position, end) - offset
        if fitting <= 0:
            raise SyscallError(errno.ENOSPC)
        return fitting

    def _allocated(self, page: int) -> bool:
        if self.small is not None:
            return page < self.charged
        try:
            return os.lseek(self.fd, page * PAGE, os.SEEK_DATA) == page * PAGE
        except OSError:
            return False

    def truncate(self, size: int) -> None:
        """Set the size; what is added is a hole."""
        if self.small is not None and (size <= self.size or pages_of(size) == pages_of(self.size)):
            self.resize(size)
            self._charge(pages_of(size))
            return
        if size > MAX_FILE_SIZE:
            raise SyscallError(errno.EFBIG)
        self.promote()
        self.resize(size)
        self.measure()

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """The modes that tmpfs has: allocate, KEEP_SIZE, PUNCH_HOLE."""
        if mode not in (0, FALLOC_KEEP_SIZE, FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE):
            raise SyscallError(errno.EOPNOTSUPP)
        end = offset + length
        if end > MAX_FILE_SIZE:
            raise SyscallError(errno.EFBIG)
        fd = self.promote()
        if not mode & FALLOC_PUNCH_HOLE:
            self.measure()
            needed = pages_of(end) - offset // PAGE
            if needed > self.quota.left() + self.charged:
                raise SyscallError(errno.ENOSPC)
        allocate(fd, mode, offset, length)
        if mode == 0:
            self.size = max(self.size, end)
        self.measure()

    def mapping(self, shared: bool, writable: bool) -> tuple[int, bool]:
        """See ``File.mapping``."""
        answer = self.share(shared and writable)
        self.quota.root.mapped.add(self)
        return answer
