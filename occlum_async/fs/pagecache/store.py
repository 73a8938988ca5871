"""The contract between the page cache and a file system: where the pages of one file come from and go to.

Invariant: the cache never asks for a page at or beyond the file's size, and never writes one there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

PAGE = 4096  # bytes

Data = bytes | bytearray | memoryview


class PageStore(ABC):
    """The pages of one file on its disk. Pages are numbered from 0; a page beyond what is stored reads as zeros.

    Errors are ``SyscallError``: EIO for a page that can't be read, ENOSPC for one that finds no room.
    The cache refers to a store weakly, except while it keeps the file (``CachedFile.keep``) and while it works on it.
    """

    @abstractmethod
    async def read_pages(self, index: int, count: int) -> Data:
        """The ``count`` pages from ``index`` on, in one buffer; holes are zeros."""

    @abstractmethod
    async def reserve_pages(self, index: int, count: int) -> None:
        """See to it that ``write_pages`` of these pages will find room; ENOSPC. Called before a page becomes dirty.

        All or nothing; what is stored or reserved already costs nothing. What is truncated or punched afterwards
        is reserved no longer.
        """

    @abstractmethod
    async def write_pages(self, index: int, data: Data) -> None:
        """Write whole pages from ``index`` on. ``data`` does not change before the call returns."""

    async def write_runs(self, runs: Sequence[tuple[int, Data]]) -> None:
        """Write several runs of whole pages: (first page, data), ascending. One call for many scattered pages."""
        for index, data in runs:
            await self.write_pages(index, data)

    async def next_data(self, index: int, end: int) -> int:
        """The first page from ``index`` on, and before ``end``, that may hold anything but zeros; ``end`` if none."""
        return index

    @abstractmethod
    async def resized(self, size: int) -> None:
        """The file has ``size`` bytes now, more or fewer than before: what the store has behind them goes.

        Nobody writes the file, writes it back or changes its size meanwhile. The tail of the last page is the cache's.
        """

    @abstractmethod
    async def punched(self, index: int, end: int) -> None:
        """The pages from ``index`` on and before ``end`` are zeros now: what the store has there goes. Likewise."""
