"""A page cache over stores in memory, which can be made to wait, to fail and to be full."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest_asyncio

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.pagecache import MIN_LIMIT, PAGE, CachedFile, Data, PageCache, PageStore
from occlum_async.sched.strand import Scheduler


class MemoryStore(PageStore):
    """Pages in a dictionary. ``room``: so many more may be reserved. ``gate``: what reads and writes wait for."""

    def __init__(self, room: int = 1 << 40) -> None:
        self.pages: dict[int, bytes] = {}
        self.room = room
        self.reserved: set[int] = set()
        self.reads: list[tuple[int, int]] = []
        self.writes: list[tuple[int, int]] = []
        self.gate: asyncio.Event | None = None
        self.failure = 0
        self.scheduler: Scheduler | None = None

    async def _pass(self) -> None:
        if self.gate is not None:
            assert self.scheduler is not None
            await self.scheduler.bridge(self.gate.wait())
        if self.failure:
            raise SyscallError(self.failure)

    async def read_pages(self, index: int, count: int) -> Data:
        self.reads.append((index, count))
        data = b"".join(self.pages.get(page, bytes(PAGE)) for page in range(index, index + count))
        await self._pass()
        return data

    async def reserve_pages(self, index: int, count: int) -> None:
        fresh = {page for page in range(index, index + count)} - self.reserved - set(self.pages)
        if len(fresh) > self.room:
            raise SyscallError(errno.ENOSPC)
        self.room -= len(fresh)
        self.reserved |= fresh

    async def write_pages(self, index: int, data: Data) -> None:
        assert len(data) % PAGE == 0 and data
        self.writes.append((index, len(data) // PAGE))
        await self._pass()
        for page in range(len(data) // PAGE):
            assert index + page in self.reserved or index + page in self.pages, "a page was written without room for it"
            self.pages[index + page] = bytes(data[page * PAGE : (page + 1) * PAGE])

    async def next_data(self, index: int, end: int) -> int:
        return min((page for page in self.pages if index <= page < end), default=end)

    async def resized(self, size: int) -> None:
        await self.punched((size + PAGE - 1) // PAGE, 1 << 60)

    async def punched(self, index: int, end: int) -> None:
        self.pages = {page: data for page, data in self.pages.items() if not index <= page < end}
        self.reserved = {page for page in self.reserved if not index <= page < end}

    def bytes(self, size: int) -> bytes:
        """The file as the disk has it."""
        return b"".join(self.pages.get(page, bytes(PAGE)) for page in range((size + PAGE - 1) // PAGE))[:size]


class Made:
    """A cache, and files of it."""

    def __init__(self, limit: int = MIN_LIMIT) -> None:
        self.scheduler = Scheduler(asyncio.get_running_loop())
        self.cache = PageCache(self.scheduler, limit)

    def file(self, content: bytes = b"", room: int = 1 << 40) -> tuple[CachedFile, MemoryStore]:
        """A file that has ``content`` on its disk."""
        store = MemoryStore(room)
        store.scheduler = self.scheduler
        for page in range((len(content) + PAGE - 1) // PAGE):
            store.pages[page] = content[page * PAGE : (page + 1) * PAGE].ljust(PAGE, b"\0")
        return self.cache.open(store, len(content), self), store


@pytest_asyncio.fixture
async def made() -> AsyncIterator[Made]:
    one = Made()
    yield one
    one.cache.drop_all(one)
