"""The boundary over an io_uring: operations are queued, handed over in batches, completed by the host.

Three rules:

1. What usually completes at once (a cached read, a write, an open) is submitted at once, together with
   whatever is queued, and its completion is looked for in the same call: no turn of the event loop. What
   never does (poll, fsync, fallocate) is queued, and one exit at the end of the turn takes all of it.
2. Memory that an operation points to is kept, by its ``Operation`` in ``_pending``, until the completion
   has been taken; who gives up an operation cancels it and still waits for that.
3. A strand has one operation at a time, so the number of threads bounds the number of operations.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from ...abi.errors import Interrupted, SyscallError
from ...errors import HostUnsupported
from ...sched.strand import Scheduler, Strand
from .base import MAX_TRANSFER, STREAM, Boundary
from .calls import RESOLVE_CONFINED
from .counters import Counters
from .uring_network import UringNetwork

log = logging.getLogger(__name__)

ENTRIES = 256
COMPLETIONS = 4096
# Reads up to this size use a buffer of the pool, bigger ones get memory of their own.
BUFFER_SIZE = 128 * 1024
POOLED_BUFFERS = 16
TAKE = 64
# Seconds that ``shutdown`` waits for cancelled operations to give their memory back.
DRAIN = 2.0

# A write to a file up to this size is a plain call on hosts whose file system can't take it at once: ext4's
# page cache, for one, sends each buffered write of a ring to a worker thread, 30-60 us against 2 us.
SMALL_WRITE = 64 * 1024

# openat2(2) resolves from the cache alone, and so without a worker thread, only without these.
CREATING = os.O_CREAT | os.O_TRUNC | (os.O_TMPFILE & ~os.O_DIRECTORY)

_CURRENT_POSITION = (1 << 64) - 1


class Operation:
    """An operation under way: who waits for it, and the memory that it uses."""

    __slots__ = ("done", "memory", "number", "result", "results", "strand", "ticket")

    def __init__(self, number: int, memory: object, results: Callable[[int, int], None] | None = None) -> None:
        self.number = number
        # Called with each completion's result and flags, instead of a strand that waits for the only one.
        self.results = results
        self.strand: Strand | None = None
        self.ticket = 0
        self.memory = memory
        self.result = 0
        self.done = False


def load() -> Any:
    """The cffi module; ``HostUnsupported`` when it was not built or liburing is not there."""
    try:
        return importlib.import_module("occlum_async._native._uring")
    except ImportError as error:
        message = f"the io_uring module can't be loaded ({error})"
        raise HostUnsupported(message, "install liburing and build again") from None


class UringBoundary(Boundary):
    """One ring, driven by one event loop through an eventfd."""

    name = "uring"

    def __init__(self, scheduler: Scheduler, counters: Counters | None = None) -> None:
        super().__init__(scheduler, counters)
        module = load()
        self._ffi, self._lib = module.ffi, module.lib
        error = self._ffi.new("int *")
        self._ring = self._lib.uring_open(ENTRIES, COMPLETIONS, error)
        if self._ring == self._ffi.NULL:
            raise HostUnsupported(
                f"the host refuses io_uring ({os.strerror(error[0])})",
                "see sysctl kernel.io_uring_disabled and the container's seccomp profile",
            )
        self._result = self._ffi.new("int32_t *")
        self._completions = self._ffi.new("struct uring_completion[]", TAKE)
        self._allocate = self._ffi.new_allocator(should_clear_after_alloc=False)
        self._pool: list[Any] = []
        self._pending: dict[int, Operation] = {}
        self._unread: dict[int, bytes] = {}
        self._held: dict[int, int] = {}
        self._closing: set[int] = set()
        self._number = 0
        self._flush_scheduled = False
        self._writes_at_once = True
        self._taking = False
        self._network: UringNetwork | None = None
        self._event = self._lib.uring_event(self._ring)
        self.loop.add_reader(self._event, self._on_event)

    # What the network's part of the ring uses.

    @property
    def ring(self) -> Any:
        """The ring itself."""
        return self._ring

    @property
    def lib(self) -> Any:
        """The functions and numbers of the cffi module."""
        return self._lib

    @property
    def ffi(self) -> Any:
        """The cffi module's memory."""
        return self._ffi

    @property
    def network(self) -> UringNetwork:
        if self._network is None:
            self._network = UringNetwork(self)
        return self._network

    # -- operations --------------------------------------------------------------

    async def read(self, fd: int, size: int, offset: int = STREAM) -> bytes:
        size = min(size, MAX_TRANSFER)
        stream = offset == STREAM
        if stream and fd in self._unread:
            return self._take_unread(fd, size)
        buffer = self._pool.pop() if size <= BUFFER_SIZE and self._pool else self._buffer(size)
        address = int(self._ffi.cast("uintptr_t", buffer))
        place = _CURRENT_POSITION if stream else offset
        operation, result = self._start("read", self._lib.IORING_OP_READ, fd, address, size, place, 0, buffer)
        if operation is not None:
            try:
                result = await self._finish(operation, stream)
            except asyncio.CancelledError:
                if stream and operation.done and 0 < operation.result <= size:
                    self._unread[fd] = self._ffi.buffer(buffer, operation.result)[:]
                raise
        if result < 0:
            raise SyscallError(-result)
        self.check_count("read", result, size)
        self.counters.bytes_in += result
        data: bytes = self._ffi.buffer(buffer, result)[:]
        self._release(buffer, size)
        return data

    async def write(self, fd: int, data: bytes | bytearray | memoryview, offset: int = STREAM) -> int:
        view = memoryview(data)[:MAX_TRANSFER] if len(data) > MAX_TRANSFER else data
        size = len(view)
        stream = offset == STREAM
        if not (stream or self._writes_at_once or size > SMALL_WRITE):
            count = self.call("write", os.pwrite, fd, view, offset)
            self.counters.bytes_out += count
            return self.check_count("write", count, size)
        memory = self._ffi.from_buffer(view)
        address = int(self._ffi.cast("uintptr_t", memory))
        place = _CURRENT_POSITION if stream else offset
        operation, result = self._start("write", self._lib.IORING_OP_WRITE, fd, address, size, place, 0, memory)
        if operation is not None:
            self._writes_at_once &= stream or size > SMALL_WRITE
            result = await self._finish(operation, stream)
        if result < 0:
            raise SyscallError(-result)
        self.check_count("write", result, size)
        self.counters.bytes_out += result
        return result

    async def poll(self, fd: int, events: int) -> int:
        operation = self._queue("poll", self._lib.IORING_OP_POLL_ADD, fd, 0, 0, 0, events, None)
        return self._checked(await self._finish(operation, True))

    async def sync(self, fd: int, data_only: bool = False) -> None:
        flags = self._lib.IORING_FSYNC_DATASYNC if data_only else 0
        with self._holding(fd):
            operation = self._queue("sync", self._lib.IORING_OP_FSYNC, fd, 0, 0, 0, flags, None)
            self._checked(await self._finish(operation, False))

    async def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        with self._holding(fd):
            operation = self._queue("fallocate", self._lib.IORING_OP_FALLOCATE, fd, length, mode, offset, 0, None)
            self._checked(await self._finish(operation, False))

    async def open(
        self, directory: int, name: bytes, flags: int, mode: int = 0, resolve: int = RESOLVE_CONFINED
    ) -> int:
        if flags & CREATING or not self._openat2_works:
            return self.open_now(directory, name, flags, mode, resolve)
        ffi = self._ffi
        path = ffi.new("char[]", name)
        how = ffi.new("struct open_how *", {"flags": flags | os.O_CLOEXEC, "mode": mode, "resolve": resolve})
        operation, result = self._start(
            "openat2", self._lib.IORING_OP_OPENAT2, directory, int(ffi.cast("uintptr_t", path)),
            ffi.sizeof("struct open_how"), int(ffi.cast("uintptr_t", how)), 0, (path, how),
        )  # fmt: skip
        if operation is not None:
            try:
                result = await self._finish(operation, False)
            except BaseException:
                if operation.done and operation.result >= 0:
                    self.close(operation.result)
                raise
        if result == -errno.EAGAIN:  # a rename raced with the resolution: the plain call retries by itself
            return self.open_now(directory, name, flags, mode, resolve)
        return self._checked(result)

    def close(self, fd: int) -> None:
        # What is queued names descriptors by number: it must be under way before the number is free again.
        if self._ring is not None and self._lib.uring_queued(self._ring):
            self._flush()
        self._unread.pop(fd, None)
        if fd in self._held:
            self._closing.add(fd)
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

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            raise SyscallError(-result)
        return result

    # -- memory -------------------------------------------------------------------

    def _buffer(self, size: int) -> Any:
        return self._allocate("char[]", max(size, BUFFER_SIZE))

    def _release(self, buffer: Any, size: int) -> None:
        if size <= BUFFER_SIZE and len(self._pool) < POOLED_BUFFERS:
            self._pool.append(buffer)

    def _take_unread(self, fd: int, size: int) -> bytes:
        data = self._unread.pop(fd)
        if len(data) > size:
            self._unread[fd] = data[size:]
        return data[:size]

    # -- submitting ------------------------------------------------------------------

    def _start(
        self, name: str, code: int, fd: int, address: int, length: int, offset: int, flags: int, memory: object
    ) -> tuple[Operation | None, int]:
        """Submit now. Either it is under way (the operation), or it is complete (None and the result)."""
        counters = self.counters
        counters.exit()
        counters.submissions += 1
        counters.operations[name] += 1
        self._number = number = self._number + 1
        state = self._lib.uring_start(self._ring, code, fd, address, length, offset, flags, number, self._result)
        if state == self._lib.URING_DONE:
            return None, self._result[0]
        if state < 0:
            self._submission_failed(-state)
        result = self._result[0]
        done = state > 0 and state & self._lib.URING_DONE
        operation = None
        if not done:
            self._pending[number] = operation = Operation(number, memory)
        if state > 0 and state & self._lib.URING_OTHERS:
            self._take()
        return operation, result

    def _queue(
        self, name: str, code: int, fd: int, address: int, length: int, offset: int, flags: int, memory: object
    ) -> Operation:
        """Queue an operation for the exit at the end of this turn of the event loop."""
        self.counters.submissions += 1
        self.counters.operations[name] += 1
        self._number = number = self._number + 1
        error = self._lib.uring_queue(self._ring, code, fd, address, length, offset, flags, number)
        if error < 0:
            raise SyscallError(-error)
        self._pending[number] = operation = Operation(number, memory)
        self.flush_later()
        return operation

    def queue_socket(
        self, name: str, code: int, fd: int, results: Callable[[int, int], None], *, address: int = 0, length: int = 0,
        offset: int = 0, flags: int = 0, priority: int = 0, select: bool = False, memory: object = None,
    ) -> Operation:  # fmt: skip
        """Queue an operation of a socket; each of its completions goes to ``results``."""
        self.counters.submissions += 1
        self.counters.operations[name] += 1
        self._number = number = self._number + 1
        error = self._lib.uring_queue_socket(
            self._ring, code, fd, address, length, offset, flags, priority, select, number
        )
        if error < 0:
            raise SyscallError(-error)
        self._pending[number] = operation = Operation(number, memory, results)
        self.flush_later()
        return operation

    def queue_cancel(self, operation: Operation) -> None:
        """Ask for the end of an operation; it ends with a completion of its own."""
        if not operation.done and self._ring is not None:
            self._queue("cancel", self._lib.IORING_OP_ASYNC_CANCEL, -1, operation.number, 0, 0, 0, None)

    def flush_later(self) -> None:
        """Let what is queued leave at the end of this turn."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._ring is None:
            return
        if self._network is not None:
            self._network.run_deferred()
        if not self._lib.uring_queued(self._ring):
            return
        self.counters.exit()
        result = self._lib.uring_submit(self._ring)
        if result < 0:
            self._submission_failed(-result)
        self._take()

    def _submission_failed(self, error: int) -> None:
        """The host took nothing: what is queued stays queued and is offered again."""
        if error not in (errno.EAGAIN, errno.EBUSY):
            log.error("io_uring_enter: %s", os.strerror(error))
        self._take()
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self.loop.call_later(0.001, self._flush)

    # -- completions -------------------------------------------------------------------

    def _on_event(self) -> None:
        self.counters.exit()
        with contextlib.suppress(BlockingIOError):
            os.read(self._event, 8)
        self._take()

    def turn(self) -> bool:
        if self._ring is None:
            return False
        if self._flush_scheduled:
            self._flush()
        return self._take() > 0

    def _take(self) -> int:
        """Take every completion there is and let its strand go on."""
        if self._taking:  # called by what takes a result: the loop below goes on with what is new, in order
            return 0
        taken = 0
        self._taking = True
        try:
            while count := self._lib.uring_take(self._ring, self._completions, TAKE):
                taken += count
                for index in range(count):
                    completion = self._completions[index]
                    self._complete(completion.number, completion.result, completion.flags)
        finally:
            self._taking = False
        for _ in range(self._lib.uring_entered(self._ring)):
            self.counters.exit()
        return taken

    def _complete(self, number: int, result: int, flags: int = 0) -> None:
        operation = self._pending.get(number)
        if operation is None:
            self.refuse("io_uring", f"completion of the unknown operation {number}")
            return
        if operation.results is not None:
            results = operation.results
            if not flags & self._lib.IORING_CQE_F_MORE:
                del self._pending[number]
                operation.done = True
                operation.results = operation.memory = None
            results(result, flags)
            return
        del self._pending[number]
        operation.result = result
        operation.done = True
        if operation.strand is not None:
            operation.strand.resume(operation.ticket)

    async def _finish(self, operation: Operation, interruptible: bool) -> int:
        """Wait for an operation; its result.

        When the wait is interrupted the operation is cancelled, and what it has done nevertheless is its
        result: ``Interrupted`` is raised only when it has done nothing.
        """
        strand = self.scheduler.current()
        operation.strand, operation.ticket = strand, strand.ticket
        try:
            if not operation.done:
                await strand.park(None, interruptible)
            return operation.result
        except GeneratorExit:  # the strand is being destroyed and can't wait
            self._cancel(operation)
            raise
        except Interrupted:
            await self._withdraw(operation, strand)
            if operation.result >= 0:
                return operation.result
            raise
        except asyncio.CancelledError:
            await self._withdraw(operation, strand)
            raise

    async def _withdraw(self, operation: Operation, strand: Strand) -> None:
        """Cancel ``operation`` and wait until the host no longer uses its memory."""
        self._cancel(operation)
        while not operation.done:
            operation.strand, operation.ticket = strand, strand.ticket
            await strand.park(None, False)

    def _cancel(self, operation: Operation) -> None:
        if not operation.done and self._ring is not None:
            self._start("cancel", self._lib.IORING_OP_ASYNC_CANCEL, -1, operation.number, 0, 0, 0, None)

    # -- the end ---------------------------------------------------------------------

    async def shutdown(self) -> None:
        if self._ring is None:
            return
        if self._network is not None:
            self._network.cancel_all()
        flags = self._lib.IORING_ASYNC_CANCEL_ALL | self._lib.IORING_ASYNC_CANCEL_ANY
        if self._pending:
            self._start("cancel", self._lib.IORING_OP_ASYNC_CANCEL, -1, 0, 0, 0, flags, None)
        deadline = self.loop.time() + DRAIN
        while self._pending and self.loop.time() < deadline:
            await asyncio.sleep(0.001)
            self.turn()
        self.loop.remove_reader(self._event)
        if self._pending:
            # The host may still write into this memory: better lose it for good than hand it out again.
            _lost.append(self._pending)
            log.error("io_uring: %d operations did not end; their memory is given up", len(self._pending))
        self._lib.uring_close(self._ring)
        self._ring = None


_lost: list[dict[int, Operation]] = []
