"""Writing back: from dirty pages to the store, in runs as long as they come, file by file.

All of it happens in strands of the cache's own, so no guest that dies in the middle leaves anything half done.
A page that can't be written is reported by the next ``sync`` of its file, once, and is not tried again: as on Linux, a
disk that fails must not stop everybody who writes to another one.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...sched.apart import apart
from ...sched.waitqueue import WaitQueue
from .extent import PAGES, Extent, runs
from .store import PAGE, Data, PageStore

if TYPE_CHECKING:
    from .cache import PageCache
    from .file import CachedFile

log = logging.getLogger(__name__)

CLUSTER = 256  # pages that one call to a store writes, about
INTERVAL = 1.0  # seconds between looks at what is dirty
EXPIRES = 5  # looks after which a file that became dirty is written
SCANS = 5  # looks between two at what guests wrote into mappings


class WriteBack:
    """Writes dirty pages back: when asked, when there are many, and when they are old."""

    def __init__(self, cache: PageCache) -> None:
        self.cache = cache
        self.running = False
        self._progress = WaitQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._looks = 0

    async def flush(self, file: CachedFile) -> None:
        """Write back what is dirty in ``file`` now, and what guests wrote into it unseen."""
        await apart(self.cache.scheduler, self._flush(file, file.store))

    async def balance(self) -> None:
        """Have the background work if there is more dirty than it likes, wait for it if that is too much."""
        cache = self.cache
        if cache.dirty > cache.background and not self.running:
            self.running = True
            cache.scheduler.spawn(self._relieve(), self._stopped)
        while cache.dirty > cache.dirty_limit and self.running:
            await self._progress.wait(cache.scheduler, interruptible=False)

    def _stopped(self, _: BaseException | None) -> None:
        self.running = False
        self._progress.wake()

    async def _relieve(self) -> None:
        """Write the files that have been dirty longest, until half of what the background likes is left."""
        while self.cache.dirty > self.cache.background // 2 and await self._relieve_one():
            pass

    async def _relieve_one(self) -> bool:
        """Write one file; False if there is none. Its own function: nothing of a file may outlive the file's store."""
        cache = self.cache
        file = next(iter(cache.dirty_files), None) or next(iter(cache.dirty_orphans), None)
        if file is None:
            return False
        await self._flush(file, file.store)
        if file.dirty_extents and file in cache.dirty_files:
            cache.dirty_files[file] = cache.dirty_files.pop(file)  # written to meanwhile: others first
        return True

    # -- by and by -----------------------------------------------------------------------------------

    def wake_later(self) -> None:
        """Something is dirty, or mapped: look at it in a while."""
        if self._timer is None:
            self._timer = self.cache.scheduler.loop.call_later(INTERVAL, self._look)

    def rest(self) -> None:
        """Nothing is dirty or mapped any more: no more looks until something is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        self._looks += 1
        cache = self.cache
        if cache.mapped and self._looks % SCANS == 0:
            cache.collect()
        cache.in_background(self._write_old())

    async def _write_old(self) -> None:
        cache = self.cache
        try:
            if self._looks % SCANS == 0:
                for mapping in [one for one in cache.mapped if one.writable]:
                    await self._flush(mapping.file, mapping.store)
            for file, store in list(cache.dirty_files.items()):
                file.age += 1
                if file.age >= EXPIRES:
                    await self._flush(file, store)
        finally:
            if cache.dirty_files or cache.mapped:
                self.wake_later()

    # -- one file --------------------------------------------------------------------------------------

    async def _flush(self, file: CachedFile, store: PageStore) -> None:
        async with file.flushing.hold(self.cache.scheduler):
            file.age = 0
            if file.mapped is not None:
                await file.mapped.scan()
            batch: list[tuple[Extent, int]] = []
            pages = 0
            for index in sorted(file.dirty_extents):
                extent = file.extents.get(index)
                if extent is None or not extent.dirty:
                    continue
                batch.append((extent, extent.dirty))
                pages += extent.dirty.bit_count()
                if pages >= CLUSTER:
                    await self._write(file, store, batch)
                    batch, pages = [], 0
            if batch:
                await self._write(file, store, batch)

    async def _write(self, file: CachedFile, store: PageStore, batch: list[tuple[Extent, int]]) -> None:
        """Write these pages, as they are now."""
        cache = self.cache
        written: list[tuple[int, Data]] = []
        count = 0
        for extent, chosen in batch:
            pages = chosen & extent.dirty
            for first, length in runs(pages):
                index = extent.index * PAGES + first
                data = file.memory.read(length * PAGE, index * PAGE)
                if len(data) < length * PAGE:
                    data = data.ljust(length * PAGE, b"\0")
                written.append((index, data))
                if file.mapped is not None:
                    file.mapped.note(index, memoryview(data))
            extent.dirty &= ~pages
            extent.writing |= pages
            count += pages.bit_count()
            if not extent.dirty:
                file.dirty_extents.discard(extent.index)
        try:
            if written:
                await store.write_runs(written)
                cache.counts.written += count
        except SyscallError as error:
            log.error("writing back failed: %s", error)
            file.error = error.errno or errno.EIO
        finally:
            for extent, chosen in batch:
                extent.writing &= ~chosen
            cache.soil(file, -count)
            self._progress.wake()
