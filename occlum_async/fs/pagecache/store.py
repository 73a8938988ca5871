"""The contract between the page cache and a file system: where the pages of one file come from and go to.

Invariant: the cache never asks for a page at or beyond the file's size, and never writes one there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

PAGE = 4096  # bytes


class PageStore(ABC):
    """The pages of one file on its disk. Pages are numbered from 0; a page beyond what is stored reads as zeros.

    Errors are ``SyscallError``: EIO for a page that can't be read, ENOSPC for one that finds no room.
    """

    @abstractmethod
    async def read_pages(self, index: int, count: int) -> bytes | bytearray | memoryview:
        """The ``count`` pages from ``index`` on, in one buffer; holes are zeros."""

    @abstractmethod
    async def reserve_pages(self, index: int, count: int) -> None:
        """See to it that ``write_pages`` of these pages will find room; ENOSPC. Called before a page becomes dirty."""

    @abstractmethod
    async def write_pages(self, index: int, data: bytes | bytearray | memoryview) -> None:
        """Write whole pages from ``index`` on. ``data`` does not change before the call returns."""
