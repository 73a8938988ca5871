"""The boundary over an io_uring: operations are queued, handed over in batches, completed by the host.

Three rules:

1. What usually completes at once (a cached read, a write, an open) is submitted at once, together with
   whatever is queued, and its completion is looked for in the same call: no turn of the event loop. What
   never does (poll, fsync, fallocate) is queued, and one exit at the end of the turn takes all of it.
2. Memory that an operation points to is kept until the completion has been taken (see ``ring``).
3. A strand has one operation at a time, so the number of threads bounds the number of operations.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any

from ...sched.strand import Scheduler
from .base import MAX_TRANSFER, STREAM, Boundary
from .calls import RESOLVE_CONFINED
from .counters import Counters
from .options import DEFAULT, RingOptions
from .ring import Operation, Ring
from .uring_network import UringNetwork

# Sizes of the buffers that reads use, and how many of each are kept: fresh memory costs more than the copy.
SMALL_READ = 128 << 10
KEPT = {SMALL_READ: 16, MAX_TRANSFER: 4}

# A write to a file up to this size is a plain call on hosts whose file system can't take it at once: ext4's
# page cache, for one, sends each buffered write of a ring to a worker thread, 30-60 us against 2 us.
SMALL_WRITE = 64 * 1024

# A read of a file from this size on is left to a worker thread of the host: to copy so much takes it longer than to
# hand it over, and this thread has other things to do.
LONG_READ = 256 << 10

# openat2(2) resolves from the cache alone, and so without a worker thread, only without these.
CREATING = os.O_CREAT | os.O_TRUNC | (os.O_TMPFILE & ~os.O_DIRECTORY)

_SYNC_FILE_RANGE_WRITE = 2
_CURRENT_POSITION = (1 << 64) - 1


class UringBoundary(Boundary):
    """Rings, driven by one event loop: one for files and streams, and one or more for sockets (see ``RingOptions``)."""

    name = "uring"

    def __init__(self, scheduler: Scheduler, counters: Counters | None = None, options: RingOptions = DEFAULT) -> None:
        super().__init__(scheduler, counters)
        self.options = options
        # Whether something waits to leave at the end of this turn; whether the loop will call for that.
        self._flush_wanted = self._flush_scheduled = False
        self._network: UringNetwork | None = None
        self._ring = self.new_ring()
        self._lib, self._ffi = self._ring.lib, self._ring.ffi
        self._rings = [self._ring]
        self._allocate = self._ffi.new_allocator(should_clear_after_alloc=False)
        self._pools: dict[int, list[Any]] = {room: [] for room in KEPT}
        self._unread: dict[int, bytes] = {}
        self._held: dict[int, int] = {}
        self._closing: set[int] = set()
        self._unclosed: list[int] = []
        self._writes_at_once = True
        self._disk_reads = 0  # short ones, under way
        self._elsewhere = self._lib.URING_ELSEWHERE if len(os.sched_getaffinity(0)) > 1 else 0

    @property
    def network(self) -> UringNetwork:
        if self._network is None:
            options = self.options
            if not options.shared:
                self._rings += [self.new_ring(options.poll) for _ in range(options.rings)]
            self._network = UringNetwork(self, self._rings[not options.shared :])
        return self._network

    def new_ring(self, poll: int = 0) -> Ring:
        """One more ring of this boundary's."""
        return Ring(self, self.scheduler, self.options, self.flush_later, poll)

    # -- operations --------------------------------------------------------------

    async def read(self, fd: int, size: int, offset: int = STREAM) -> bytes:
        size = min(size, MAX_TRANSFER)
        stream = offset == STREAM
        if stream and fd in self._unread:
            return self._take_unread(fd, size)
        room = SMALL_READ if size <= SMALL_READ else MAX_TRANSFER
        pool = self._pools[room]
        buffer = pool.pop() if pool else self._allocate("char[]", room)
        address = self._ring.address(buffer)
        place = _CURRENT_POSITION if stream else offset
        long = self._elsewhere if size >= LONG_READ and not stream else 0
        operation, result = self._ring.start(
            "read", self._lib.IORING_OP_READ, fd, address, size, place, 0, buffer, long
        )
        if operation is not None:
            try:
                result = await (self._ring.finish(operation, stream) if stream or long else self._from_disk(operation))
            except asyncio.CancelledError:
                if stream and operation.done and 0 < operation.result <= size:
                    self._unread[fd] = self._ffi.buffer(buffer, operation.result)[:]
                raise
        if result < 0:
            raise self.failure("read", result)
        self.check_count("read", result, size)
        self.counters.bytes_in += result
        self.counters.copies += result
        data: bytes = self._ffi.buffer(buffer, result)[:]
        if len(pool) < KEPT[room]:
            pool.append(buffer)
        return data

    async def _from_disk(self, operation: Operation) -> int:
        """Wait for the disk: one who waits alone does not give his processor up."""
        strand = self.scheduler.current()
        self._disk_reads += 1
        strand.brief = self._disk_reads == 1
        try:
            return await self._ring.finish(operation, False)
        finally:
            strand.brief = False
            self._disk_reads -= 1

    async def write(self, fd: int, data: bytes | bytearray | memoryview, offset: int = STREAM) -> int:
        view = memoryview(data)[:MAX_TRANSFER] if len(data) > MAX_TRANSFER else data
        size = len(view)
        stream = offset == STREAM
        if not (stream or self._writes_at_once or size > SMALL_WRITE):
            return self.check_written(self.call("write", os.pwrite, fd, view, offset), size)
        memory = self._ffi.from_buffer(view)
        address = self._ring.address(memory)
        place = _CURRENT_POSITION if stream else offset
        operation, result = self._ring.start("write", self._lib.IORING_OP_WRITE, fd, address, size, place, 0, memory)
        if operation is not None:
            self._writes_at_once &= stream or size > SMALL_WRITE
            result = await self._ring.finish(operation, stream)
        if result < 0:
            raise self.failure("write", result)
        return self.check_written(result, size)

    async def poll(self, fd: int, events: int) -> int:
        operation = self._ring.queue("poll", self._lib.IORING_OP_POLL_ADD, fd, 0, 0, 0, events, None)
        result = await self._ring.finish(operation, True)
        if result < 0:
            raise self.failure("poll", result)
        return self.check_events(result, events)

    async def sync(self, fd: int, data_only: bool = False) -> None:
        flags = self._lib.IORING_FSYNC_DATASYNC if data_only else 0
        await self._hand_over("sync", self._lib.IORING_OP_FSYNC, fd, 0, 0, 0, flags)

    def begin_writeback(self, fd: int, offset: int, length: int) -> None:
        # By then the descriptor may be another's, whose file is then written a little earlier than it might be.
        operation = self._lib.IORING_OP_SYNC_FILE_RANGE
        self._ring.queue("begin_writeback", operation, fd, 0, length, offset, _SYNC_FILE_RANGE_WRITE, None)

    async def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        await self._hand_over("fallocate", self._lib.IORING_OP_FALLOCATE, fd, length, mode, offset, 0)

    async def _hand_over(
        self, name: str, code: int, fd: int, address: int, length: int, offset: int, flags: int
    ) -> None:
        """Have a worker thread of the host do something that gives nothing but an error."""
        with self._holding(fd):
            operation = self._ring.queue(name, code, fd, address, length, offset, flags, None)
            result = await self._ring.finish(operation, False)
        if result:
            raise self.failure(name, result)

    async def open(
        self, directory: int, name: bytes, flags: int, mode: int = 0, resolve: int = RESOLVE_CONFINED
    ) -> int:
        if flags & CREATING or not self._openat2_works:
            return self.open_now(directory, name, flags, mode, resolve)
        ffi = self._ffi
        path = ffi.new("char[]", name)
        how = ffi.new("struct open_how *", {"flags": flags | os.O_CLOEXEC, "mode": mode, "resolve": resolve})
        operation, result = self._ring.start(
            "openat2", self._lib.IORING_OP_OPENAT2, directory, self._ring.address(path),
            ffi.sizeof("struct open_how"), self._ring.address(how), 0, (path, how),
        )  # fmt: skip
        if operation is not None:
            try:
                result = await self._ring.finish(operation, False)
            except BaseException:
                if operation.done and operation.result >= 0:
                    self.close(self.check_fd(operation.result))
                raise
        if result == -errno.EAGAIN:  # a rename raced with the resolution: the plain call retries by itself
            return self.open_now(directory, name, flags, mode, resolve)
        if result < 0:
            raise self.failure("openat2", result)
        return self.check_fd(result)

    def close(self, fd: int) -> None:
        # What is queued names descriptors by number: it must be under way before the number is free again.
        if self._ring.queued:
            self._ring.flush()
        self._unread.pop(fd, None)
        if fd in self._held:
            self._closing.add(fd)
        elif self._ring.queued:
            self._unclosed.append(fd)
        else:
            super().close(fd)

    @contextlib.contextmanager
    def _holding(self, fd: int) -> Iterator[None]:
        """Put off a ``close``: what a worker thread does looks its descriptor up when the thread gets to it."""
        self._held[fd] = self._held.get(fd, 0) + 1
        try:
            yield
        finally:
            self._held[fd] -= 1
            if not self._held[fd]:
                del self._held[fd]
                if fd in self._closing:
                    self._closing.discard(fd)
                    self.close(fd)

    def _take_unread(self, fd: int, size: int) -> bytes:
        data = self._unread.pop(fd)
        if len(data) > size:
            self._unread[fd] = data[size:]
        return data[:size]

    # -- turns --------------------------------------------------------------------

    def flush_later(self) -> None:
        """Let what is queued leave at the end of this turn."""
        self._flush_wanted = True
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self.loop.call_soon(self._scheduled_flush)

    def _scheduled_flush(self) -> None:
        self._flush_scheduled = False
        if self._flush_wanted:  # no turn has done it before
            self._flush()

    def _flush(self) -> None:
        self._flush_wanted = False
        if self._network is not None and not self._ring.closed:
            self._network.run_deferred()
        for ring in self._rings:
            ring.flush()
        if self._unclosed and not self._ring.queued:
            self._close_late()

    def _close_late(self) -> None:
        """Close what had to wait until the queue was handed over."""
        unclosed, self._unclosed = self._unclosed, []
        for fd in unclosed:
            super().close(fd)

    def turn(self) -> bool:
        if self._flush_wanted:
            self._flush()
        taken = False
        for ring in self._rings:
            taken = ring.take() or taken
        return taken

    def prepare(self) -> None:
        if self._network is not None:
            self._network.run_ripe()

    def brief(self) -> bool:
        return self._disk_reads == 1

    async def shutdown(self) -> None:
        if self._network is not None:
            self._network.cancel_all()
        await asyncio.gather(*(ring.shutdown() for ring in self._rings))
        self._close_late()
