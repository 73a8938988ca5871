"""The cached pages of one file: reading, writing, truncating, and the way of its pages from and to the disk.

Three rules:

1. Nothing is parked between the look whether a page is there and its use. Whoever had to wait looks again.
2. ``turn`` is held by whoever changes the file's data or size, ``flushing`` by whoever writes it back; who takes pages
   away (truncate, punch) holds both, in this order. Reading holds neither.
3. ``epoch`` counts the times when pages were taken away: what was read before from the disk is then out of date.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import ref

from ...abi.errors import SyscallError
from ...sched.mutex import Mutex
from ...sched.waitqueue import WaitQueue
from ..memory import Memory, pages_of
from ..pages import MAX_FILE_SIZE
from .extent import ALL, PAGES, SIZE, Extent, first_run, runs, span
from .heap import HeapPages
from .mapped import GuestMapping
from .store import PAGE, Data, PageStore

if TYPE_CHECKING:
    from .cache import PageCache

FIRST_WINDOW = 32  # pages that the first look into a file reads
AHEAD = 8  # extents, at most, that are read before somebody who reads in order comes to them
SECTOR = 512  # what O_DIRECT must be aligned to


class CachedFile:
    """A file of ``size`` bytes, as much of which as was used lately is in ``memory``. Made by ``PageCache.open``."""

    def __init__(self, cache: PageCache, store: PageStore, size: int, owner: object) -> None:
        self.cache = cache
        self.owner = owner
        self._store = ref(store)
        self.memory: HeapPages | Memory = HeapPages(size)  # a memfd while guests map the file
        self.extents: dict[int, Extent] = {}
        self.dirty_extents: set[int] = set()
        self.turn = Mutex()
        self.flushing = Mutex()
        self.loaded = WaitQueue()
        self.epoch = 0
        self.kept = True
        self.age = 0  # looks of the background since it became dirty
        self.random = False  # POSIX_FADV_RANDOM: nothing is read ahead
        self.mapped: GuestMapping | None = None
        self.error: int = 0  # of a write in the background that failed: the next ``sync`` raises it

    def __del__(self) -> None:
        self.cache.forget(self)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.memory.size

    @property
    def store(self) -> PageStore:
        """Where the pages come from; EIO when it is gone."""
        store = self._store()
        if store is None:
            raise SyscallError(errno.EIO)
        return store

    def keep(self, kept: bool) -> None:
        """Whether the cache may keep the store alive, as it must for a file that has a name.

        A file without one is gone with its last user, and what was not written of it is of no interest.
        """
        self.kept = kept
        self.cache.settle(self)

    # -- reading --------------------------------------------------------------------------------

    async def read(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes at ``offset``; fewer at the end of the file, b"" beyond it. EIO."""
        pieces: list[bytes] = []
        size = max(0, size)
        while size and offset < self.memory.size:
            index, start = divmod(offset, SIZE)
            step = min(size, SIZE - start, self.memory.size - offset)
            wanted = span(start // PAGE, (start + step - 1) // PAGE)
            extent = self.extents.get(index)
            if extent is None or wanted & ~extent.present:
                await self.load(index, wanted)
                continue
            self.cache.touch(extent)
            if wanted & extent.ahead:
                extent.ahead = 0
                self._go_ahead(index)
            piece = self.memory.read(step, offset)
            if step == size and not pieces:
                return piece
            pieces.append(piece)
            size -= step
            offset += step
        return b"".join(pieces)

    async def load(self, index: int, wanted: int) -> None:
        """Take one step towards having the pages ``wanted`` of an extent: read a run of them, or wait for who does."""
        extent = self._extent(index)
        missing = wanted & ~extent.present
        if not missing:
            return
        if missing & extent.loading:
            await self.loaded.wait(self.cache.scheduler, interruptible=False)
            return
        first, count = first_run(missing)
        count = self._window(extent, first, count)
        run = span(first, first + count - 1)
        extent.loading |= run
        epoch = self.epoch
        try:
            try:
                data = await self.store.read_pages(index * PAGES + first, count)
            except SyscallError:
                if count == 1:
                    raise
                count = 1  # a page that can't be read must not take its neighbours with it
                data = await self.store.read_pages(index * PAGES + first, count)
            if len(data) != count * PAGE:
                raise SyscallError(errno.EIO)
            self.cache.counts.read += count
            if epoch == self.epoch and self.extents.get(index) is extent:
                self._fill(extent, first, count, data)
        finally:
            extent.loading &= ~run
            self.loaded.wake()

    def _window(self, extent: Extent, first: int, count: int) -> int:
        """How many pages to read where ``count`` from ``first`` on are missing: more, if the file is read in order."""
        if first:
            in_order = bool(extent.present >> (first - 1) & 1)
        else:
            before = self.extents.get(extent.index - 1)
            in_order = not extent.index or (before is not None and bool(before.present >> (PAGES - 1) & 1))
        if self.random or not in_order:
            return count
        pages = min(PAGES, pages_of(self.size) - extent.index * PAGES)
        window = PAGES if first or extent.index else FIRST_WINDOW
        end = min(pages, max(first + count, first + window))
        taken = (extent.present | extent.loading) >> (first + count)
        if taken:
            end = min(end, first + count + first_run(taken)[0])
        if end == pages and extent.index * PAGES + pages < pages_of(self.size):
            if end > first + count:
                extent.ahead = 1 << (first + count)
            elif not extent.ahead:  # else whoever comes to the mark goes on, if anybody does
                self._go_ahead(extent.index)
        return end - first

    def _fill(self, extent: Extent, first: int, count: int, data: Data) -> None:
        """Put what was read where nobody has written meanwhile."""
        view = memoryview(data)
        if self.mapped is not None:
            self.mapped.adopt(extent)
        absent = span(first, first + count - 1) & ~extent.present
        for start, length in runs(absent):
            offset = (extent.index * PAGES + start) * PAGE
            piece = view[(start - first) * PAGE : (start - first + length) * PAGE][: self.size - offset]
            # A hole of the memfd stays one, which also spares what a guest writes there at this moment.
            if self.mapped is None or not _is_zero(piece):
                self._put(piece, offset)
            if self.mapped is not None:
                self.mapped.note(extent.index * PAGES + start, view[(start - first) * PAGE :][: length * PAGE])
        extent.present |= absent
        self.cache.charge(extent, absent.bit_count())

    def _go_ahead(self, index: int) -> None:
        """Somebody reads the extent ``index`` in order: have as many of the next ones read as were read before."""
        count, most = 1, min(AHEAD, self.cache.ahead_limit)
        while count < most and index - count in self.extents:
            count += 1
        for following in range(index + 1, index + 1 + count):
            self._read_ahead(following)

    def _read_ahead(self, index: int) -> None:
        """Have the extent ``index`` read while its predecessor is used."""
        pages = min(PAGES, pages_of(self.size) - index * PAGES)
        if pages <= 0 or self.random or not self.cache.may_read_ahead():
            return
        known = self.extents.get(index)
        if known is None or span(0, pages - 1) & ~(known.present | known.loading):
            self.cache.in_background(self._read_extent(index, self.store))

    async def _read_extent(self, index: int, _store: PageStore) -> None:
        """Read what is missing of an extent; who uses it first has the next one read. The store is kept meanwhile."""
        with suppress(SyscallError):  # whoever reads these pages will be told
            # The file may have become shorter before this began.
            while (pages := min(PAGES, pages_of(self.size) - index * PAGES)) > 0:
                extent = self._extent(index)
                extent.ahead = 1
                missing = span(0, pages - 1) & ~(extent.present | extent.loading)
                if not missing:
                    return
                epoch = self.epoch
                await self.load(index, span(*_ends(first_run(missing))))
                if epoch != self.epoch:
                    return

    # -- writing --------------------------------------------------------------------------------

    async def write(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Write, growing the file; how many bytes were taken, fewer when the disk is full. ENOSPC, EFBIG, EIO."""
        if offset + len(data) > MAX_FILE_SIZE:
            raise SyscallError(errno.EFBIG)
        view = memoryview(data)
        done = 0
        async with self.turn.hold(self.cache.scheduler):
            while done < len(view):
                step = min(len(view) - done, SIZE - (offset + done) % SIZE)
                try:
                    count = await self._write_within(view[done : done + step], offset + done)
                except SyscallError:
                    if done:
                        break
                    raise
                done += count
                if count < step:
                    break
        if self.cache.dirty > self.cache.background:
            await self.cache.balance()
        return done

    async def _write_within(self, data: memoryview, offset: int) -> int:
        """Write what lies within one extent."""
        index, start = divmod(offset, SIZE)
        end = start + len(data)
        pages = span(start // PAGE, (end - 1) // PAGE)
        extent = self.extents.get(index)
        fresh = pages & ~extent.dirty if extent is not None else pages
        if fresh:
            room = await self._reserve(index, fresh)
            if room < PAGES and room * PAGE < end:
                end = room * PAGE
                data = data[: end - start]
                pages = span(start // PAGE, room - 1)
        edges = 0  # pages that are written in part, and of which the disk may have the rest
        if start % PAGE and offset // PAGE * PAGE < self.size:
            edges = 1 << start // PAGE
        if end % PAGE and offset + len(data) < self.size:
            edges |= 1 << end // PAGE
        extent = self._extent(index)
        while edges & ~extent.present:
            await self.load(index, edges)
            extent = self._extent(index)
        self.prepare_growth(offset)
        self._put(data, offset)
        self.mark_dirty(extent, pages)
        self.cache.touch(extent)
        return len(data)

    async def _reserve(self, index: int, fresh: int) -> int:
        """Find room for the pages ``fresh``; the page of the extent before which there is some. ENOSPC for none."""
        store = self.store
        base = index * PAGES
        try:
            for first, count in runs(fresh):
                await store.reserve_pages(base + first, count)
            return PAGES
        except SyscallError as error:
            if error.errno != errno.ENOSPC or fresh.bit_count() == 1:
                raise
        page, lowest = 0, first_run(fresh)[0]
        try:
            while fresh:
                page = first_run(fresh)[0]
                await store.reserve_pages(base + page, 1)
                fresh &= fresh - 1
        except SyscallError:
            if page == lowest:
                raise
            return page
        return PAGES

    def prepare_growth(self, size: int) -> None:
        """Before the file grows to ``size`` or beyond: what guests wrote behind its end in the last page is no data."""
        tail = -self.size % PAGE
        if self.mapped is not None and tail and size > self.size:
            self._put(bytes(min(tail, size - self.size)), self.size)

    def mark_dirty(self, extent: Extent, pages: int) -> None:
        """The memory has something newer than the store; room has been reserved for it."""
        cache = self.cache
        came = (pages & ~extent.present).bit_count()
        soiled = (pages & ~extent.dirty).bit_count()
        extent.present |= pages
        if soiled:
            extent.dirty |= pages
            self.dirty_extents.add(extent.index)
            cache.soil(self, soiled)
        if came:
            cache.charge(extent, came)

    # -- taking away ------------------------------------------------------------------------------

    async def truncate(self, size: int) -> None:
        """Set the size. What is cut off is gone, what is added reads as zeros. EFBIG, EIO."""
        if size > MAX_FILE_SIZE:
            raise SyscallError(errno.EFBIG)
        scheduler = self.cache.scheduler
        async with self.turn.hold(scheduler), self.flushing.hold(scheduler):
            if size < self.size and size % PAGE:
                await self._blank(size, min(self.size, pages_of(size) * PAGE))
            if size < self.size:
                self._take_away(pages_of(size), pages_of(self.size))
            else:
                self.prepare_growth(size)
            self.memory.resize(size)
            await self.store.resized(size)

    async def punch(self, offset: int, length: int) -> None:
        """Make zeros of ``length`` bytes; whole pages among them are taken out of the cache unwritten. EIO, ENOSPC."""
        end = min(offset + length, self.size)
        if offset >= end:
            return
        scheduler = self.cache.scheduler
        first, last = pages_of(offset), end // PAGE if end < self.size else pages_of(end)
        async with self.turn.hold(scheduler), self.flushing.hold(scheduler):
            if offset % PAGE:
                await self._blank(offset, min(end, first * PAGE))
            if end % PAGE and last >= first and end < self.size:
                await self._blank(last * PAGE, end)
            if last > first:
                self._take_away(first, last)
                await self.store.punched(first, last)
                self._take_away(first, last)  # what somebody has read meanwhile

    async def _blank(self, start: int, end: int) -> None:
        """Write zeros within one page, unless it has nothing else there."""
        index, page = divmod(start // PAGE, PAGES)
        bit = 1 << page
        reserved = False
        while True:
            extent = self._extent(index)
            if not extent.present & bit:
                await self.load(index, bit)
            elif self.memory.read(end - start, start) == bytes(end - start):
                return
            elif extent.dirty & bit or reserved:
                self._put(bytes(end - start), start)
                self.mark_dirty(extent, bit)
                return
            else:
                await self._reserve(index, bit)
                reserved = True

    def _take_away(self, first: int, end: int) -> None:
        """Let go of the pages from ``first`` on and before ``end``, written or not. Both locks are held."""
        self.epoch += 1
        for extent, pages in self._overlap(first, end):
            if self.mapped is not None:
                self.mapped.adopt(extent)
            self.drop(extent, pages)
        start, stop = first * PAGE, min(end * PAGE, self.size)
        if self.mapped is not None and start < stop:
            self.memory.punch(start, stop - start)  # also what guests wrote unseen
            self.mapped.forget(first, end)

    def _overlap(self, first: int, end: int) -> Iterator[tuple[Extent, int]]:
        """The extents that have pages from ``first`` on and before ``end``, and which."""
        low, high = first // PAGES, (end - 1) // PAGES
        known = list(self.extents) if high - low > len(self.extents) else range(low, high + 1)
        for index in known:
            extent = self.extents.get(index)
            if extent is not None and low <= index <= high:
                base = index * PAGES
                yield extent, span(max(first - base, 0), min(end - 1 - base, PAGES - 1))

    def drop(self, extent: Extent, pages: int) -> None:
        """Let go of ``pages`` of an extent, whatever is known of them."""
        gone = pages & extent.present
        cleaned = (pages & extent.dirty).bit_count()
        extent.present &= ~pages
        extent.dirty &= ~pages
        extent.writing &= ~pages
        extent.ahead &= ~pages
        if not extent.dirty:
            self.dirty_extents.discard(extent.index)
        self._punch_around(extent, gone)
        self.cache.charge(extent, -gone.bit_count())
        self.cache.soil(self, -cleaned)
        if not extent.present and not extent.loading:
            self.cache.remove(extent)
            self.extents.pop(extent.index, None)
        self.cache.settle(self)

    def abandon(self) -> None:
        """Let go of everything, written or not; what is on its way from the disk comes too late."""
        self.epoch += 1
        self.kept = False
        for extent in list(self.extents.values()):
            self.drop(extent, extent.present)

    def _punch_around(self, extent: Extent, gone: int) -> None:
        """Give the memory of the pages ``gone`` back, with what lies between them and is not there anyhow."""
        if not gone:
            return
        base = extent.index * SIZE
        for first, count in runs(ALL & ~extent.present):
            if gone & span(first, first + count - 1):
                start, end = base + first * PAGE, min(base + (first + count) * PAGE, self.size)
                if start < end:
                    self.memory.punch(start, end - start)

    def evict(self, extent: Extent) -> int:
        """Let go of what the disk has of an extent too; how many pages."""
        clean = extent.present & ~(extent.dirty | extent.writing)
        if extent.pinned or extent.loading:
            return 0
        self.drop(extent, clean)
        return clean.bit_count()

    # -- writing back, and what programs ask for -------------------------------------------------------

    async def sync(self) -> None:
        """Write everything to the store that was written before. Raises, once, what failed since the last time."""
        if self.dirty_extents or self.flushing.locked or self.mapped is not None:
            await self.cache.flush(self)
        if self.error:
            failure, self.error = self.error, 0
            raise SyscallError(failure)

    async def advise(self, advice: int, offset: int, length: int) -> None:
        """posix_fadvise(2); ``length`` 0 is to the end."""
        if advice in (os.POSIX_FADV_NORMAL, os.POSIX_FADV_RANDOM, os.POSIX_FADV_SEQUENTIAL):
            self.random = advice == os.POSIX_FADV_RANDOM
            return
        first, end = offset // PAGE, pages_of(min(offset + length, self.size) if length else self.size)
        if advice == os.POSIX_FADV_WILLNEED:
            for index in range(first // PAGES, (end + PAGES - 1) // PAGES):
                self._read_ahead(index)
        elif advice == os.POSIX_FADV_DONTNEED and first < end:
            await self.sync()
            for extent, pages in list(self._overlap(first, end)):
                if not extent.pinned and not extent.loading:
                    self.drop(extent, pages & ~(extent.dirty | extent.writing))

    async def read_direct(self, size: int, offset: int) -> bytes:
        """O_DIRECT's read: what the cache has not is not put there. EINVAL for what is not aligned to ``SECTOR``."""
        if size % SECTOR or offset % SECTOR:
            raise SyscallError(errno.EINVAL)
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        first, last = offset // PAGE, pages_of(end)
        if self.mapped is not None or any(extent.present & pages for extent, pages in self._overlap(first, last)):
            return await self.read(size, offset)
        data = memoryview(await self.store.read_pages(first, last - first))
        return bytes(data[offset - first * PAGE : end - first * PAGE])

    async def write_direct(self, data: bytes | memoryview, offset: int) -> int:
        """O_DIRECT's write: the store has it when this returns, and the cache no longer. EINVAL as for reading."""
        if len(data) % SECTOR or offset % SECTOR:
            raise SyscallError(errno.EINVAL)
        count = await self.write(data, offset)
        if count:
            await self.advise(os.POSIX_FADV_DONTNEED, offset, count)
        return count

    # -- mapping -----------------------------------------------------------------------------------------

    async def prepare_mapping(self, offset: int, length: int, writable: bool) -> None:
        """What mmap(2) of this range must wait for: its pages are read and stay. ENOMEM, EIO, ENFILE."""
        if self.mapped is None:
            self.mapped = GuestMapping(self, self._promoted())
            self.cache.mapped.add(self.mapped)
        mapping = self.mapped
        mapping.adding += 1
        try:
            await mapping.add(offset // PAGE, pages_of(offset + length), writable)
            mapping.held = True
            self.cache.quota.mapped.add(mapping)
        finally:
            mapping.adding -= 1
            if not mapping.held:
                mapping.unmapped()
        self.cache.settle(self)
        self.cache.writeback.wake_later()

    def share(self, writable: bool) -> tuple[int, bool]:
        """See ``Inode.mapping``; ``prepare_mapping`` came before."""
        assert self.mapped is not None, "a file is mapped that was not prepared for it"
        assert isinstance(self.memory, Memory)
        return self.memory.share(writable)

    async def soiled_unseen(self, index: int, pages: int) -> None:
        """A guest has changed ``pages`` of an extent: they are dirty, if there is room; else ``sync`` will tell."""
        extent = self._extent(index)
        try:
            room = await self._reserve(index, pages)
        except SyscallError as error:
            self.error, room = error.errno or errno.EIO, 0
        if room < PAGES:
            self.error = self.error or errno.ENOSPC
        self.mark_dirty(extent, pages & ((1 << room) - 1))

    # -- helpers ----------------------------------------------------------------------------------------

    def _promoted(self) -> Memory:
        """The memory as a memfd that can be mapped; ENFILE when too many files are."""
        if isinstance(self.memory, HeapPages):
            if self.cache.memfds.used >= self.cache.memfds.limit:
                self.cache.collect()
            self.memory = self.memory.promote(self.cache.memfds)
        return self.memory

    def demote(self) -> None:
        """No guest maps the file any more: its pages go back to the heap, and the descriptor is given back."""
        pages = HeapPages(self.size)
        for extent in self.extents.values():
            for first, count in runs(extent.present):
                at = (extent.index * PAGES + first) * PAGE
                pages.put(self.memory.read(count * PAGE, at).ljust(count * PAGE, b"\0"), at)
        pages.size = self.size
        self.memory = pages

    def _put(self, data: bytes | memoryview, offset: int) -> None:
        if self.memory.put(data, offset) != len(data):
            raise SyscallError(errno.ENOMEM)

    def _extent(self, index: int) -> Extent:
        extent = self.extents.get(index)
        if extent is None:
            extent = self.extents[index] = Extent(index)
            extent.pinned = self.mapped is not None and self.mapped.covers(index)
            self.cache.add(self, extent)
        return extent


def _ends(run: tuple[int, int]) -> tuple[int, int]:
    return run[0], run[0] + run[1] - 1


def _is_zero(data: memoryview) -> bool:
    """Whether there is nothing but zeros; a few bytes mostly tell, and comparing views would go byte by byte."""
    return not any(data[:32]) and data.tobytes() == bytes(len(data))
