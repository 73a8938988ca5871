"""The bytes of a file in memory: a ``bytearray`` while they are few, a memfd when they grow or are mapped.

A memfd is the host's page cache of the file: what guests map is what read(2) reads. Nothing here counts pages; who
owns the bytes does.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource

from ..abi.errors import SyscallError

PAGE = 4096
SMALL = 1 << 20
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = _libc.fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def pages_of(size: int) -> int:
    """How many pages ``size`` bytes need."""
    return (size + PAGE - 1) // PAGE


def allocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2) of a memfd."""
    if _fallocate(fd, mode, offset, length) != 0:
        raise SyscallError(ctypes.get_errno())


class Memfds:
    """How many memfds one LibOS has; at most a quarter of the descriptors that the kernel may open."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0

    @property
    def limit(self) -> int:
        """The bound, which follows RLIMIT_NOFILE."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return max(64, soft // 4)


class Memory:
    """``size`` bytes, of which those that were never put are zeros.

    Invariant: while ``small`` is not None it holds what was put, and zeros follow up to ``size``; afterwards the
    memfd ``fd`` has exactly ``size`` bytes, so that a guest that maps more gets SIGBUS beyond them.
    """

    __slots__ = ("__weakref__", "fd", "memfds", "size", "small")

    def __init__(self, memfds: Memfds, size: int = 0) -> None:
        self.memfds = memfds
        self.small: bytearray | None = bytearray()
        self.fd = -1
        self.size = size

    def __del__(self) -> None:
        if self.fd >= 0:
            self.memfds.used -= 1
            os.close(self.fd)

    def promote(self) -> int:
        """Become a memfd, if not one yet; the host's fd (ours, readable and writable). ENFILE, ENOMEM."""
        if self.small is not None:
            if self.memfds.used >= self.memfds.limit:
                raise SyscallError(errno.ENFILE)
            try:
                fd = os.memfd_create("ramfs", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            except OSError as error:
                raise SyscallError(errno.ENFILE if error.errno == errno.EMFILE else errno.ENOMEM) from None
            if self.small:
                os.pwrite(fd, self.small, 0)
            if self.size != len(self.small):
                os.ftruncate(fd, self.size)
            self.fd, self.small = fd, None
            self.memfds.used += 1
        return self.fd

    def read(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes at ``offset``."""
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        small = self.small
        if small is None:
            return os.pread(self.fd, size, offset)
        data = bytes(memoryview(small)[offset : offset + size])
        return data if len(data) == size else data.ljust(size, b"\0")

    def put(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Store ``data``, growing the file; how many bytes were taken. ENOSPC, EFBIG of the host."""
        length = len(data)
        end = offset + length
        small = self.small
        if small is not None and end > SMALL:
            self.promote()
            small = None
        if small is None:
            try:
                length = os.pwrite(self.fd, data, offset)
            except OSError as error:
                raise SyscallError(error.errno or errno.EIO) from None
            end = offset + length
        else:
            if offset > len(small):
                small.extend(bytes(offset - len(small)))
            small[offset:end] = data
        if end > self.size:
            self.size = end
        return length

    def resize(self, size: int) -> None:
        """Set the size; what is added reads as zeros."""
        small = self.small
        if small is not None:
            del small[size:]
        else:
            try:
                os.ftruncate(self.fd, size)
            except OSError as error:
                raise SyscallError(error.errno or errno.EIO) from None
        self.size = size

    def punch(self, offset: int, length: int) -> None:
        """Let go of these bytes, which lie within the size: they read as zeros."""
        small = self.small
        if small is None:
            allocate(self.fd, FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE, offset, length)
        elif offset + length >= len(small):
            del small[offset:]
        else:
            small[offset : offset + length] = bytes(length)

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

    def share(self, writable: bool) -> tuple[int, bool]:
        """A descriptor of the memfd to map: with no more rights than that needs, and whether it is to be closed."""
        fd = self.promote()
        if writable:
            return fd, False
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC), True
