"""The page cache itself: how much is kept, what goes when it is too much, and when what is dirty is written.

One cache serves many file systems; its memory is bounded by ``limit``, of which at most a quarter is dirty: a writer
that is faster than its disk waits in ``balance``.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

from ...abi.errors import SyscallError
from ..pages import Quota
from .extent import PAGES, Extent
from .file import CachedFile
from .store import PAGE, PageStore
from .writeback import WriteBack

if TYPE_CHECKING:
    from ...sched.strand import Scheduler
    from .mapped import GuestMapping

DEFAULT_LIMIT = 256 << 20
MIN_LIMIT = 8 << 20
READING_AHEAD = 16  # extents at a time, where that is not much of the cache


@dataclass(slots=True)
class Counts:
    """Pages that were read from stores, written to them and evicted since the cache was made."""

    read: int = 0
    written: int = 0
    evicted: int = 0


class PageCache:
    """At most ``limit`` bytes of file data. ``quota`` is where memfds and what guests map are kept account of.

    Invariant: ``pages`` and ``dirty`` are the sums of those of all extents, and an extent that is not pinned is in
    ``_used``, what was used longest ago first.
    """

    def __init__(self, scheduler: Scheduler, limit: int = DEFAULT_LIMIT, quota: Quota | None = None) -> None:
        if limit < MIN_LIMIT:
            raise SyscallError(errno.EINVAL)
        self.scheduler = scheduler
        self.limit = limit // PAGE
        self.background = self.limit // 8
        self.dirty_limit = self.limit // 4
        self.quota = (quota or Quota()).root
        self.memfds = self.quota.memfds
        self.pin_limit = self.limit // 4 * 3
        self.ahead_limit = min(READING_AHEAD, self.limit // PAGES // 4)
        self.pages = 0
        self.dirty = 0
        self.pinned = 0
        self.counts = Counts()
        # Files that are kept, with their stores, in the order in which they became dirty; and dirty ones that are not.
        self.clean_files: dict[CachedFile, PageStore] = {}
        self.dirty_files: dict[CachedFile, PageStore] = {}
        self.dirty_orphans: WeakSet[CachedFile] = WeakSet()
        self.mapped: set[GuestMapping] = set()
        # Asks which of the mapped files are held by guests still; set by who knows the guests.
        self.collect: Callable[[], None] = lambda: None
        self._used: OrderedDict[Extent, ref[CachedFile]] = OrderedDict()
        self._background_work = 0
        self.writeback = WriteBack(self)

    def open(self, store: PageStore, size: int, owner: object) -> CachedFile:
        """The cached pages of a file of ``size`` bytes of the file system ``owner``; one object for one file."""
        return CachedFile(self, store, size, owner)

    # -- how much ---------------------------------------------------------------------------------

    def charge(self, extent: Extent, pages: int) -> None:
        """So many pages more of ``extent`` are kept; others go if there is no room for them."""
        self.pages += pages
        if extent.pinned:
            self.pinned += pages
        if self.pages > self.limit and pages > 0:
            self.shrink(self.limit - self.limit // 32)

    def shrink(self, target: int) -> None:
        """Let go of clean pages until there are ``target``, or none is left that may go."""
        for _ in range(len(self._used)):
            if self.pages <= target:
                return
            extent, known = next(iter(self._used.items()))
            file = known()
            if file is None:
                del self._used[extent]
                continue
            self._used.move_to_end(extent)
            self.counts.evicted += file.evict(extent)

    # -- extents ------------------------------------------------------------------------------------

    def add(self, file: CachedFile, extent: Extent) -> None:
        """An extent is new."""
        if not extent.pinned:
            self._used[extent] = ref(file)
        if len(file.extents) == 1:
            self.settle(file)

    def touch(self, extent: Extent) -> None:
        """An extent is used."""
        if not extent.pinned:
            self._used.move_to_end(extent)

    def remove(self, extent: Extent) -> None:
        """An extent has no page any more."""
        self._used.pop(extent, None)

    def pin(self, file: CachedFile, extent: Extent, pinned: bool) -> None:
        """Guests may map an extent, or do so no longer."""
        if extent.pinned == pinned:
            return
        extent.pinned = pinned
        if pinned:
            self._used.pop(extent, None)
            self.pinned += extent.present.bit_count()
        else:
            self._used[extent] = ref(file)
            self.pinned -= extent.present.bit_count()

    # -- files ----------------------------------------------------------------------------------------

    def settle(self, file: CachedFile) -> None:
        """Keep ``file`` where it belongs: among the clean, the dirty, or not at all."""
        if not file.extents and file.mapped is None:
            self.clean_files.pop(file, None)
            self.dirty_files.pop(file, None)
            return
        dirty = bool(file.dirty_extents)
        if not file.kept:
            self.clean_files.pop(file, None)
            self.dirty_files.pop(file, None)
            (self.dirty_orphans.add if dirty else self.dirty_orphans.discard)(file)
        elif dirty:
            if file not in self.dirty_files:
                self.dirty_files[file] = file.store
                self.writeback.wake_later()
            self.clean_files.pop(file, None)  # not before: it may be all that keeps the store alive
        else:
            if file not in self.clean_files:
                self.clean_files[file] = file.store
            self.dirty_files.pop(file, None)

    def soil(self, file: CachedFile, pages: int) -> None:
        """So many pages of ``file`` more are dirty (negative: fewer)."""
        self.dirty += pages
        if pages:
            self.settle(file)

    def forget(self, file: CachedFile) -> None:
        """The last reference to ``file`` is gone, and with it what was cached."""
        for extent in file.extents.values():
            self.remove(extent)
            self.pages -= extent.present.bit_count()
            self.dirty -= extent.dirty.bit_count()

    # -- writing ------------------------------------------------------------------------------------------

    async def flush(self, file: CachedFile) -> None:
        """Write back what is dirty in ``file`` now."""
        await self.writeback.flush(file)

    async def balance(self) -> None:
        """Called after writing: have dirty pages written, and wait for that if there are too many."""
        await self.writeback.balance()

    async def sync(self, owner: object) -> None:
        """Write back every file of the file system ``owner``. Raises the first failure, when all were tried."""
        failure: SyscallError | None = None
        wanted = [(one.file, one.store) for one in self.mapped if one.writable] + list(self.dirty_files.items())
        for file, _store_kept_alive in wanted:
            if file.owner is owner:
                try:
                    await file.sync()
                except SyscallError as error:
                    failure = failure or error
        if failure is not None:
            raise failure

    def drop_all(self, owner: object) -> None:
        """The file system ``owner`` is gone: let go of its files, written or not, mapped or not."""
        for mapping in [one for one in self.mapped if one.file.owner is owner]:
            mapping.release()
        for files in (self.clean_files, self.dirty_files):
            for file in [file for file in files if file.owner is owner]:
                file.abandon()
        if not self.dirty_files and not self.mapped:
            self.writeback.rest()

    def busy(self, owner: object) -> bool:
        """Whether guests have files of ``owner`` mapped."""
        if any(one.file.owner is owner for one in self.mapped):
            self.collect()
        return any(one.file.owner is owner and one.held for one in self.mapped)

    def may_read_ahead(self) -> bool:
        """Whether one more extent may be read that nobody waits for."""
        return self._background_work < self.ahead_limit

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for."""
        self._background_work += 1

        def done(_: BaseException | None) -> None:
            self._background_work -= 1

        self.scheduler.spawn(work, done)

    def statistics(self) -> dict[str, int]:
        """Bytes that are kept, of them dirty and mapped ones, and what went to and fro, for ``stats``."""
        counts = self.counts
        return {
            "limit": self.limit * PAGE, "cached": self.pages * PAGE, "dirty": self.dirty * PAGE,
            "mapped": self.pinned * PAGE,
            "read": counts.read * PAGE, "written": counts.written * PAGE, "evicted": counts.evicted * PAGE,
        }  # fmt: skip
