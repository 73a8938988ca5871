"""A block device in memory: for tests, and for what need not outlive the LibOS."""

from __future__ import annotations

import errno

from ...abi.errors import SyscallError
from .device import BLOCK, BlockDevice


class MemoryDevice(BlockDevice):
    """``blocks`` blocks; only those that hold something take memory."""

    def __init__(self, blocks: int, content: bytes = b"", read_only: bool = False) -> None:
        self.blocks = blocks
        self.read_only = read_only
        self._held: dict[int, bytes] = {}
        self._closed = False
        if content:
            self._put(0, content.ljust(-(-len(content) // BLOCK) * BLOCK, b"\0"))

    def _check(self, block: int, count: int) -> None:
        if self._closed or block < 0 or count < 0 or block + count > self.blocks:
            raise SyscallError(errno.EINVAL)

    def _put(self, block: int, data: bytes | bytearray | memoryview) -> None:
        view, empty = memoryview(data), bytes(BLOCK)
        for start in range(0, len(view), BLOCK):
            piece = view[start : start + BLOCK]
            if piece == empty:
                self._held.pop(block, None)
            else:
                self._held[block] = bytes(piece)
            block += 1

    async def read(self, block: int, count: int) -> bytes:
        self._check(block, count)
        held, empty = self._held, bytes(BLOCK)
        return b"".join([held.get(number, empty) for number in range(block, block + count)])

    async def write(self, block: int, data: bytes | bytearray | memoryview) -> None:
        if self.read_only:
            raise SyscallError(errno.EROFS)
        if len(data) % BLOCK:
            raise SyscallError(errno.EINVAL)
        self._check(block, len(data) // BLOCK)
        self._put(block, data)

    async def discard(self, block: int, count: int) -> None:
        if self.read_only:
            raise SyscallError(errno.EROFS)
        self._check(block, count)
        if count > len(self._held):
            self._held = {number: data for number, data in self._held.items() if not block <= number < block + count}
        else:
            for number in range(block, block + count):
                self._held.pop(number, None)

    async def sync(self) -> None:
        self._check(0, 0)

    async def close(self) -> None:
        self._closed = True

    def content(self) -> bytes:
        """All that it holds."""
        empty = bytes(BLOCK)
        return b"".join([self._held.get(number, empty) for number in range(self.blocks)])
