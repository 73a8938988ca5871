"""A block device in a host file: everything through the boundary, every answer checked.

Invariant: what the host answers is a number of bytes that may be true, or an error; what the bytes say is for those
above to verify.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from stat import S_ISDIR

from ...abi.errors import SyscallError
from ...errors import DiskError, DiskInUse
from ...io.boundary import Boundary
from ...io.boundary.base import MAX_TRANSFER
from .device import BLOCK, BlockDevice

_PUNCH_HOLE, _KEEP_SIZE = 2, 1


class HostImage(BlockDevice):
    """The blocks of one host file, which nobody else may open as an image meanwhile."""

    def __init__(self, boundary: Boundary, fd: int, blocks: int, read_only: bool, path: str) -> None:
        self._boundary = boundary
        self._fd = fd
        self.blocks = blocks
        self.read_only = read_only
        self.path = path
        self._can_punch = True

    @classmethod
    def open(cls, path: str | os.PathLike[str], boundary: Boundary, read_only: bool = False) -> HostImage:
        """Open an image that is there. ``DiskError`` when it can't be opened, or is in use."""
        name = os.fspath(path)
        flags = os.O_RDONLY if read_only else os.O_RDWR
        try:
            fd = boundary.open_start(os.fsencode(name), flags)
        except SyscallError as error:
            raise DiskError(f"{name}: {os.strerror(error.errno)}") from None
        try:
            _lock(boundary, fd, name, read_only)
            status = boundary.fstat(fd)
            if S_ISDIR(status.st_mode):
                raise DiskError(f"{name}: {os.strerror(errno.EISDIR)}", "name the file that holds the disk")
            size = status.st_size
            if size < 0:
                raise boundary.refuse("fstat", size)
        except BaseException:
            boundary.close(fd)
            raise
        return cls(boundary, fd, size // BLOCK, read_only, name)

    @classmethod
    def create(cls, path: str | os.PathLike[str], blocks: int, boundary: Boundary) -> HostImage:
        """Make an image of ``blocks`` holes. ``DiskError`` when there is such a file already, or it can't be made."""
        try:
            return cls.make(path, blocks, boundary)
        except SyscallError as error:
            raise DiskError(f"{os.fspath(path)}: {os.strerror(error.errno)}") from None

    @classmethod
    def make(cls, path: str | os.PathLike[str], blocks: int, boundary: Boundary) -> HostImage:
        """``create`` for who is asked by a guest: the error is the host's. EEXIST, ENOSPC, ..."""
        name = os.fspath(path)
        fd = boundary.call("open", os.open, name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _lock(boundary, fd, name, False)
            boundary.truncate(fd, blocks * BLOCK)
        except BaseException:
            boundary.close(fd)
            os.unlink(name)
            raise
        return cls(boundary, fd, blocks, False, name)

    def _check(self, block: int, count: int) -> None:
        if not 0 <= block <= self.blocks - count or self._fd < 0:
            raise SyscallError(errno.EINVAL)

    async def read(self, block: int, count: int) -> bytes | bytearray | memoryview:
        self._check(block, count)
        size, offset = count * BLOCK, block * BLOCK
        data = await self._boundary.read(self._fd, size, offset)
        if len(data) == size:
            return data
        whole = bytearray(data)
        while len(whole) < size:
            data = await self._boundary.read(self._fd, size - len(whole), offset + len(whole))
            if not data:  # the file has become shorter
                raise SyscallError(errno.EIO)
            whole += data
        return whole

    async def write(self, block: int, data: bytes | bytearray | memoryview) -> None:
        self._check(block, len(data) // BLOCK)
        if self.read_only:
            raise SyscallError(errno.EROFS)
        view, offset = memoryview(data), block * BLOCK
        while view:
            count = await self._boundary.write(self._fd, view[:MAX_TRANSFER], offset)
            if not count:
                raise SyscallError(errno.EIO)
            view, offset = view[count:], offset + count

    async def discard(self, block: int, count: int) -> None:
        self._check(block, count)
        if self.read_only:
            raise SyscallError(errno.EROFS)
        if self._can_punch:
            try:
                await self._boundary.fallocate(self._fd, _PUNCH_HOLE | _KEEP_SIZE, block * BLOCK, count * BLOCK)
                return
            except SyscallError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                self._can_punch = False
        for start in range(block, block + count, 256):
            await self.write(start, bytes(min(256, block + count - start) * BLOCK))

    async def sync(self) -> None:
        if not self.read_only:
            await self._boundary.sync(self._fd, True)

    def begin_writeback(self, block: int, count: int) -> None:
        self._boundary.begin_writeback(self._fd, block * BLOCK, count * BLOCK)

    def will_need(self, block: int, count: int) -> None:
        with contextlib.suppress(SyscallError):
            self._boundary.will_need(self._fd, block * BLOCK, count * BLOCK)

    def resize(self, blocks: int) -> None:
        """Make the file longer or shorter."""
        if self.read_only:
            raise SyscallError(errno.EROFS)
        self._boundary.truncate(self._fd, blocks * BLOCK)
        self.blocks = blocks

    async def close(self) -> None:
        if self._fd < 0:
            return
        fd = self._fd
        try:
            await self.sync()
        finally:
            self._fd = -1
            self._boundary.close(fd)


def _lock(boundary: Boundary, fd: int, name: str, shared: bool) -> None:
    try:
        boundary.call("flock", fcntl.flock, fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except SyscallError as error:
        if error.errno == errno.EWOULDBLOCK:
            raise DiskInUse(f"{name}: the image is in use", "end the other program that has it open") from None
        raise
