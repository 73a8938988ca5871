"""What guests have mapped of a cached file.

There is no fault that could tell us of a guest's first look at a page, nor of its first write: so what is mapped is
read before, stays in the memfd for as long as any guest holds it, and of what is mapped to be written a hash of each
page's last known content tells later whether it has changed.

Invariant: in a range that is mapped, a page that the memfd does not have is a hole of the store; and a page that the
memfd has although nobody put it there was written by a guest.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ..memory import Memory, pages_of
from .extent import PAGES, Extent, span
from .store import PAGE, Data

if TYPE_CHECKING:
    from .file import CachedFile

MAX_RANGES = 64  # more are taken together to one
ZEROS = hash(bytes(PAGE))


class GuestMapping:
    """The mapped ranges of one file. ``held``: as far as is known, some guest has it mapped.

    It is a ``fs.pages.Mapped``; its pages are on the cache's account and not on that of files in memory.
    """

    def __init__(self, file: CachedFile, memory: Memory) -> None:
        self.file = file
        self.memory = memory
        self.store = file.store  # kept alive, whatever became of the names
        self.fd = memory.fd
        self.charged = 0
        self.held = False
        self.adding = 0  # ranges that are being made ready: it does not end meanwhile
        self.ranges: list[tuple[int, int, bool]] = []  # first page, the page after the last, mapped to be written
        self._hashes: dict[int, int] = {}  # of the pages that are not zeros

    @property
    def writable(self) -> bool:
        """Whether guests can write into the file unseen."""
        return any(writable for _, _, writable in self.ranges)

    def covers(self, index: int) -> bool:
        """Whether anything of the extent ``index`` is mapped."""
        first, end = index * PAGES, (index + 1) * PAGES
        return any(start < end and stop > first for start, stop, _ in self.ranges)

    def measure(self) -> None:
        """The cache counts by itself."""

    # -- mapping -------------------------------------------------------------------------------------

    async def add(self, first: int, end: int, writable: bool) -> None:
        """Make a range ready to be mapped: all that the store has of it is read and stays. ENOMEM, EIO."""
        before = self.ranges
        # Until all of it is read, what is not there is no hole: nothing of it can have been written by guests yet.
        self.ranges = _merged([*before, (first, end, False)])
        for extent in self.file.extents.values():
            if not extent.pinned and self.covers(extent.index):
                self.file.cache.pin(self.file, extent, True)
        try:
            await self._load(first, end)
        except BaseException:
            if not before:
                self.ranges = []
                self._unpin()
            raise
        if writable:
            self.ranges = _merged([*self.ranges, (first, end, True)])
            self._note_present(first, end)

    async def _load(self, first: int, end: int) -> None:
        file, cache = self.file, self.file.cache
        page = first
        while page < min(end, pages_of(file.size)):
            page = await self.store.next_data(page, min(end, pages_of(file.size)))
            last = min(end, pages_of(file.size), (page // PAGES + 1) * PAGES) - 1
            if page > last:
                return
            if cache.pinned > cache.pin_limit:
                cache.collect()
                if cache.pinned > cache.pin_limit:
                    raise SyscallError(errno.ENOMEM)
            wanted = span(page % PAGES, last % PAGES)
            while True:
                extent = file.extents.get(page // PAGES)
                if extent is not None and not wanted & ~extent.present:
                    break
                await file.load(page // PAGES, wanted)
            page = last + 1

    def _note_present(self, first: int, end: int) -> None:
        for index in range(first // PAGES, (min(end, pages_of(self.file.size)) + PAGES - 1) // PAGES):
            extent = self.file.extents.get(index)
            if extent is not None and extent.present:
                self.note(index * PAGES, memoryview(self.file.memory.read(PAGES * PAGE, index * PAGES * PAGE)))

    def unmapped(self) -> None:
        """No guest holds it any more: write what was changed unseen, and let the pages go."""
        self.held = False
        self.file.cache.in_background(self._end())

    async def _end(self) -> None:
        await self.file.cache.flush(self.file)
        if not self.held and not self.adding:
            self.release()

    def release(self) -> None:
        """Nothing is mapped any more, and what guests changed has been looked at."""
        file = self.file
        self.ranges = []
        self._unpin()
        if file.mapped is self:
            file.mapped = None
            file.cache.mapped.discard(self)
            file.cache.quota.mapped.discard(self)
            file.demote()
            file.cache.settle(file)

    def _unpin(self) -> None:
        for extent in list(self.file.extents.values()):
            if extent.pinned and not self.covers(extent.index):
                self.file.cache.pin(self.file, extent, False)

    # -- what guests write ------------------------------------------------------------------------------

    def note(self, first: int, data: Data) -> None:
        """Remember the content of the pages from ``first`` on, as the store has it."""
        if not self.writable:
            return
        data = bytes(data)
        if len(data) % PAGE:
            data = data.ljust(pages_of(len(data)) * PAGE, b"\0")
        view = memoryview(data)
        for page in range(len(data) // PAGE):
            digest = hash(view[page * PAGE : (page + 1) * PAGE])
            if digest != ZEROS:
                self._hashes[first + page] = digest
            else:
                self._hashes.pop(first + page, None)

    def forget(self, first: int, end: int) -> None:
        """These pages were taken away: they are zeros."""
        for page in [page for page in self._hashes if first <= page < end]:
            del self._hashes[page]

    def adopt(self, extent: Extent) -> None:
        """Take note of the pages of an extent that are there because a guest has written them."""
        came = 0
        base = extent.index * PAGES
        for first, end in self._written(base, base + PAGES):
            came |= span(first - base, end - 1 - base)
        came &= ~extent.present
        extent.present |= came
        self.file.cache.charge(extent, came.bit_count())

    async def scan(self) -> None:
        """Find the pages that guests have changed since they were noted, and make them dirty. ``flushing`` is held."""
        for first, end in self._written(0, pages_of(self.memory.size)):
            for page in (first, *range((first // PAGES + 1) * PAGES, end, PAGES)):
                await self._compare(page, min(end, (page // PAGES + 1) * PAGES))
                await self.file.cache.scheduler.give_way()

    def _written(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """The runs of pages between ``first`` and ``end`` that guests may have written: what the memfd has there."""
        memory = self.memory
        for start, stop, writable in self.ranges:
            position, limit = max(start, first) * PAGE, min(stop, end, pages_of(memory.size)) * PAGE
            while writable and position < min(limit, memory.size):
                try:
                    position = max(position, memory.seek(position, False))
                    hole = min(limit, memory.seek(position, True))
                except SyscallError:  # ENXIO: nothing but holes
                    break
                if position < hole:
                    yield position // PAGE, pages_of(hole)
                position = max(hole, position + PAGE)

    async def _compare(self, first: int, end: int) -> None:
        """Compare the pages of one extent with what was noted."""
        file = self.file
        index, base = divmod(first, PAGES)
        data = file.memory.read((end - first) * PAGE, first * PAGE).ljust((end - first) * PAGE, b"\0")
        view = memoryview(data)
        changed = 0
        for page in range(end - first):
            if hash(view[page * PAGE : (page + 1) * PAGE]) != self._hashes.get(first + page, ZEROS):
                changed |= 1 << (base + page)
        extent = file.extents.get(index)
        if extent is not None:
            changed &= ~extent.dirty
        if changed:
            await file.soiled_unseen(index, changed)


def _merged(ranges: list[tuple[int, int, bool]]) -> list[tuple[int, int, bool]]:
    """The same ranges with those of one kind that touch taken together, and all of a kind when they are too many."""
    result: list[tuple[int, int, bool]] = []
    for kind in (False, True):
        chosen = sorted((first, end) for first, end, writable in ranges if writable is kind)
        merged: list[tuple[int, int]] = []
        for first, end in chosen:
            if merged and first <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((first, end))
        if len(merged) > MAX_RANGES:
            merged = [(merged[0][0], merged[-1][1])]
        result += [(first, end, kind) for first, end in merged]
    return result
