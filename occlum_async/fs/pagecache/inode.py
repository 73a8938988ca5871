"""The data side of a regular file whose pages the cache has: what a file system's inode inherits."""

from __future__ import annotations

import errno
import time
from collections.abc import Awaitable

from ...abi.errors import SyscallError
from ..inode import Inode
from .file import CachedFile


class CachedInode(Inode):
    """``data`` are the cached pages of a regular file, None for every other kind.

    The file system does the attributes and calls ``changed`` of its own making; ``size`` follows ``data.size``.
    """

    data: CachedFile | None = None

    def cached(self) -> CachedFile:
        """The pages; EISDIR or EINVAL for what has none."""
        if self.data is None:
            raise SyscallError(errno.EISDIR if self.is_dir else errno.EINVAL)
        return self.data

    def changed(self) -> None:
        """The data have changed: the size and the times follow. A file system notes that the inode is to be written."""
        self.size = self.cached().size
        self.mtime = self.ctime = time.time_ns()

    async def read(self, size: int, offset: int) -> bytes:
        return await self.cached().read(size, offset)

    async def read_direct(self, size: int, offset: int) -> bytes:
        return await self.cached().read_direct(size, offset)

    async def write(self, data: bytes | memoryview, offset: int) -> int:
        count = await self.cached().write(data, offset)
        self.changed()
        return count

    async def write_direct(self, data: bytes | memoryview, offset: int) -> int:
        count = await self.cached().write_direct(data, offset)
        self.changed()
        return count

    async def advise(self, advice: int, offset: int, length: int) -> None:
        if self.data is not None:
            await self.data.advise(advice, offset, length)

    def before_mapping(self, offset: int, length: int, writable: bool) -> Awaitable[None] | None:
        return self.data.prepare_mapping(offset, length, writable) if self.data is not None else None

    def mapping(self, shared: bool, writable: bool) -> tuple[int, bool]:
        if self.data is None:
            raise SyscallError(errno.ENODEV)
        return self.data.share(shared and writable)
