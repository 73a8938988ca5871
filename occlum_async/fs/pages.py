"""The bytes of an in-memory file, and the account that they are charged to.

A file begins as one ``bytearray`` without holes. When it grows, is mapped, or gets a hole, it becomes a
memfd: from then on the host's page cache is the file, and what guests map is what read(2) reads.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource

from ..abi.errors import SyscallError

PAGE = 4096
SMALL = 1 << 20
MAX_FILE_SIZE = (1 << 63) - 1
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = _libc.fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def pages_of(size: int) -> int:
    """How many pages ``size`` bytes need."""
    return (size + PAGE - 1) // PAGE


def max_descriptors() -> int:
    """How many memfds one LibOS may have: a quarter of what the kernel may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(64, soft // 4)


class Quota:
    """What file systems may hold in memory: ``pages`` and ``inodes``; None is without limit.

    Several file systems may share one account. What is charged here is charged to ``parent`` as well.
    """

    def __init__(self, size: int | None = None, inodes: int | None = None, parent: Quota | None = None) -> None:
        self.parent = parent
        self.root: Quota = self if parent is None else parent.root
        self.mapped: set[Pages] = set()  # of the root: files that guests may have mapped, whatever became of the names
        self.descriptors = 0  # of the root: how many files are memfds
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


class Pages:
    """The data of one file. Invariant: ``charged`` pages of ``quota`` are ours until we are gone."""

    __slots__ = ("charged", "fd", "quota", "size", "small")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.small: bytearray | None = bytearray()
        self.fd = -1
        self.size = 0
        self.charged = 0

    def __del__(self) -> None:
        self.quota.settle(-self.charged)
        if self.fd >= 0:
            self.quota.root.descriptors -= 1
            os.close(self.fd)

    def _charge(self, pages: int) -> None:
        self.quota.charge(pages - self.charged)
        self.charged = pages

    def measure(self) -> None:
        """Bring the account up to what the host says the memfd holds (mappings fill holes unseen)."""
        if self.fd >= 0:
            pages = os.fstat(self.fd).st_blocks * 512 // PAGE
            self.quota.settle(pages - self.charged)
            self.charged = pages

    def promote(self) -> int:
        """Become a memfd, if not one yet; the host's fd (ours, readable and writable)."""
        if self.small is not None:
            root = self.quota.root
            if root.descriptors >= max_descriptors():
                raise SyscallError(errno.ENFILE)
            try:
                fd = os.memfd_create("ramfs", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            except OSError as error:
                raise SyscallError(errno.ENFILE if error.errno == errno.EMFILE else errno.ENOMEM) from None
            if self.small:
                os.pwrite(fd, self.small, 0)
            self.fd, self.small = fd, None
            root.descriptors += 1
        return self.fd

    def read(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes at ``offset``."""
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        if self.small is not None:
            return bytes(memoryview(self.small)[offset : offset + size])
        return os.pread(self.fd, size, offset)

    def write(self, data: bytes | memoryview, offset: int) -> int:
        """Write, growing the file. Takes fewer bytes when the account allows no more; ENOSPC for none."""
        length = len(data)
        if not length:
            return 0
        end = offset + length
        if end > MAX_FILE_SIZE:
            raise SyscallError(errno.EFBIG)
        small = self.small
        if small is not None and (end > SMALL or pages_of(self.size) < offset // PAGE):
            self.promote()
            small = None
        if pages_of(end) - offset // PAGE > self.quota.left():
            length = self._fitting(length, offset)
            data = memoryview(data)[:length]
            end = offset + length
        if small is None:
            try:
                length = os.pwrite(self.fd, data, offset)
            except OSError as error:
                raise SyscallError(error.errno or errno.EIO) from None
            self.size = max(self.size, offset + length)
            self.measure()
            return length
        if offset > len(small):
            small.extend(bytes(offset - len(small)))
        small[offset:end] = data
        if end > self.size:
            self.size = end
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
        small = self.small
        if small is not None and size <= len(small):
            del small[size:]
            self.size = size
            self._charge(pages_of(size))
            return
        if small is not None and pages_of(size) == pages_of(self.size):
            small.extend(bytes(size - len(small)))
            self.size = size
            return
        if size > MAX_FILE_SIZE:
            raise SyscallError(errno.EFBIG)
        try:
            os.ftruncate(self.promote(), size)
        except OSError as error:
            raise SyscallError(error.errno or errno.EIO) from None
        self.size = size
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
        if _fallocate(fd, mode, offset, length) != 0:
            raise SyscallError(ctypes.get_errno())
        if mode == 0:
            self.size = max(self.size, end)
        self.measure()

    def seek(self, offset: int, hole: bool) -> int:
        """SEEK_DATA and SEEK_HOLE; ENXIO past the end."""
        if offset >= self.size:
            raise SyscallError(errno.ENXIO)
        if self.small is not None:
            return self.size if hole else offset
        try:
            return os.lseek(self.fd, offset, os.SEEK_HOLE if hole else os.SEEK_DATA)
        except OSError as error:
            raise SyscallError(error.errno or errno.EIO) from None

    def mapping(self, shared: bool, writable: bool) -> tuple[int, bool]:
        """See ``File.mapping``."""
        fd = self.promote()
        self.quota.root.mapped.add(self)
        if shared and writable:
            return fd, False
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC), True
