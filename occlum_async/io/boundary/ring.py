"""One io_uring of the host: operations are queued, handed over in batches, and completed by the host.

Memory that an operation points to is kept, by its ``Operation`` in ``pending``, until the completion has been taken;
who gives up an operation cancels it and still waits for that.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import logging
import os
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

from ...abi.errors import Interrupted
from ...errors import HostUnsupported
from ...sched.strand import Scheduler, Strand
from .calls import HostCalls
from .options import RingOptions

log = logging.getLogger(__name__)

TAKE = 64  # completions that are copied out of the queue at once
# Seconds that ``shutdown`` waits for cancelled operations to give their memory back.
DRAIN = 2.0
VIEW_MIN = 16 << 10  # bytes from which on received data is not copied
RETRY = 0.001  # seconds until the host is asked again after it took nothing
# Under this number nobody waits for the completion: that of a time-out that only watches another operation.
NOBODY = 0

# code, fd, address, length, offset, flags, priority, how, number, timeout: see native/host/uring.h
Entry = tuple[int, int, int, int, int, int, int, int, int, int]
COMPLETION = struct.Struct("<QiI")


class Operation:
    """An operation under way: the memory that it uses, and the strand that waits for its only completion.

    Subclasses do something else with ``completed``. ``repeats``: there may be several completions.
    """

    __slots__ = ("done", "memory", "number", "repeats", "result", "strand", "ticket")

    def __init__(self, memory: object, repeats: bool = False) -> None:
        self.number = NOBODY
        self.repeats = repeats
        self.strand: Strand | None = None
        self.ticket = 0
        self.memory = memory
        self.result = 0
        self.done = False

    def completed(self, result: int, flags: int) -> None:
        """The host says so. Without F_MORE in ``flags`` it is ``done``."""
        self.result = result
        if self.strand is not None:
            self.strand.resume(self.ticket)


def load() -> Any:
    """The cffi module; ``HostUnsupported`` when it was not built or liburing is not there."""
    try:
        return importlib.import_module("occlum_async._native._uring")
    except ImportError as error:
        message = f"the io_uring module can't be loaded ({error})"
        raise HostUnsupported(message, "install liburing and build again") from None


class Ring:
    """One ring, driven by one event loop, which watches its descriptor.

    ``calls`` count and check. ``flush_later`` sees to it that ``flush`` is called at the end of this turn of the loop.
    With ``poll`` a thread of the host looks at the submissions for so many milliseconds after the last one.
    """

    def __init__(
        self, calls: HostCalls, scheduler: Scheduler, options: RingOptions, flush_later: Callable[[], None],
        poll: int = 0,
    ) -> None:  # fmt: skip
        module = load()
        self.ffi, self.lib = module.ffi, module.lib
        self.calls = calls
        self.counters = calls.counters
        self.scheduler = scheduler
        self.loop = scheduler.loop
        self.polled = bool(poll)
        self.pending: dict[int, Operation] = {}
        self._flush_later = flush_later
        error = self.ffi.new("int *")
        self._ring = self.lib.uring_open(options.entries, options.completions, poll, error)
        if self._ring == self.ffi.NULL:
            raise HostUnsupported(
                f"the host refuses io_uring ({os.strerror(error[0])})",
                "see sysctl kernel.io_uring_disabled and the container's seccomp profile",
            )
        self._result = self.ffi.new("int32_t *")
        self._completions = self.ffi.new("struct uring_completion[]", TAKE)
        self._taken = self.ffi.buffer(self._completions)
        self._more = self.lib.IORING_CQE_F_MORE
        # The provided buffers, as one piece of memory.
        self._buffers: Any = b""
        self._buffer_count = self._buffer_size = 0
        self._number = NOBODY
        # Operations that found no room in the queue, in order.
        self._backlog: deque[Entry] = deque()
        self._taking = self._again = False  # whether ``take`` is under way, and whether there may be more to take
        self._complaint = 0  # the error that was logged last
        self.event = self.lib.uring_event(self._ring)
        self.loop.add_reader(self.event, self.take)

    @property
    def closed(self) -> bool:
        """Whether it was given back."""
        return self._ring is None

    def address(self, memory: Any) -> int:
        """Where cffi's ``memory`` lies."""
        return int(self.ffi.cast("uintptr_t", memory))

    # -- submitting ----------------------------------------------------------------

    def start(
        self, name: str, code: int, fd: int, address: int, length: int, offset: int, flags: int, memory: object,
        how: int = 0,
    ) -> tuple[Operation | None, int]:  # fmt: skip
        """Submit now. Either it is under way (the operation), or it is complete (None and the result)."""
        self.counters.exit()
        number = self._count(name)
        state = self.lib.uring_start(self._ring, code, fd, address, length, offset, flags, how, number, self._result)
        if state == self.lib.URING_DONE:
            return None, self._result[0]
        if state < 0:
            self.take()
            self._submission_failed(-state)
        result = self._result[0]
        done = state > 0 and state & self.lib.URING_DONE
        operation = None
        if not done:
            self.pending[number] = operation = Operation(memory)
            operation.number = number
            if state > 0 and state & self.lib.URING_FULL:
                self._backlog.append((code, fd, address, length, offset, flags, 0, how, number, 0))
                self._flush_later()
        if state > 0 and state & self.lib.URING_OTHERS:
            self.take()
        return operation, result

    def queue(
        self, name: str, code: int, fd: int, address: int, length: int, offset: int, flags: int, memory: object
    ) -> Operation:
        """Queue an operation for the exit at the end of this turn of the event loop."""
        operation = Operation(memory)
        self.push(name, operation, code, fd, address, length, offset, flags)
        return operation

    def _count(self, name: str) -> int:
        """A number for a new operation, which is counted under ``name``."""
        self.counters.submissions += 1
        self.counters.operations[name] += 1
        self._number = number = self._number + 1
        return number

    def push(
        self, name: str, operation: Operation, code: int, fd: int, address: int = 0, length: int = 0, offset: int = 0,
        flags: int = 0, priority: int = 0, select: bool = False, timeout: float = 0,
    ) -> None:  # fmt: skip
        """Put ``operation`` into the queue; behind it, while the queue is full and the host takes nothing.

        After ``timeout`` seconds (0: never) the host cancels it.
        """
        number = operation.number = self._count(name)
        operation.done = False
        how = self.lib.URING_SELECT if select else 0
        entry = (code, fd, address, length, offset, flags, priority, how, number, round(timeout * 1e9))
        if self._backlog or self.lib.uring_queue(self._ring, *entry) < 0:
            self._backlog.append(entry)
        self.pending[number] = operation
        self._flush_later()

    def push_send(self, operation: Operation, fd: int, data: bytes, flags: int) -> None:
        """Put an operation into the queue that sends ``data``: ``push`` of what there is most of."""
        number = operation.number = self._count("send")
        if self._backlog or self.lib.uring_send(self._ring, fd, data, len(data), flags, number) < 0:
            address = self.address(self.ffi.from_buffer(data))
            self._backlog.append((self.lib.IORING_OP_SEND, fd, address, len(data), 0, flags, 0, 0, number, 0))
        self.pending[number] = operation
        self._flush_later()

    def queue_cancel(self, operation: Operation) -> None:
        """Ask for the end of an operation; it ends with a completion of its own."""
        if not operation.done and self._ring is not None:
            self.queue("cancel", self.lib.IORING_OP_ASYNC_CANCEL, -1, operation.number, 0, 0, 0, None)

    @property
    def queued(self) -> bool:
        """Whether something is queued and not handed over."""
        return self._ring is not None and bool(self.lib.uring_queued(self._ring) or self._backlog)

    def flush(self) -> None:
        """Hand over what is queued, and take what is complete."""
        while self._ring is not None:
            if self._backlog:
                self._catch_up()
            waiting = self.lib.uring_queued(self._ring)
            if not waiting and not self._backlog:
                return
            if not self.polled:  # where a thread looks at the ring, most of the time there is nothing to leave for
                self.counters.exit()
            result = self.lib.uring_submit(self._ring)
            self.take()
            if result <= 0:
                self._submission_failed(-result)
                return
            self._complaint = 0
            if result >= waiting and not self._backlog:
                return  # what its completions have queued leaves at the end of this turn

    def _catch_up(self) -> None:
        """Move operations from behind the queue into it, as far as there is room."""
        while self._backlog and self.lib.uring_queue(self._ring, *self._backlog[0]) == 0:
            self._backlog.popleft()

    def _submission_failed(self, error: int) -> None:
        """The host took nothing: what is queued stays queued and is offered again."""
        if error not in (0, errno.EAGAIN, errno.EBUSY, self._complaint):
            self._complaint = error
            log.error("io_uring_enter: %s", os.strerror(error))
        self.loop.call_later(RETRY, self._flush_later)

    # -- completions ---------------------------------------------------------------

    def take(self) -> bool:
        """Take every completion there is and let its strand go on; whether there was any."""
        if self._taking or self._ring is None:  # called by what takes a result: the loop below goes on, in order
            self._again = True
            return False
        count = self.lib.uring_take(self._ring, self._completions, TAKE)
        if not count:
            return False
        self._taking = True
        try:
            while count:
                self._again = count == TAKE
                for number, result, flags in COMPLETION.iter_unpack(self._taken[: count * COMPLETION.size]):
                    try:
                        self.complete(number, result, flags)
                    except Exception:  # the completions that came with it belong to others
                        log.exception("oops: a completion found an error")
                count = self.lib.uring_take(self._ring, self._completions, TAKE) if self._again else 0
        finally:
            self._taking = False
        for _ in range(self.lib.uring_entered(self._ring)):  # those that found nothing are counted here, too
            self.counters.exit()
        return True

    def complete(self, number: int, result: int, flags: int = 0) -> None:
        """The host says that an operation is complete, or (with F_MORE) has one more result."""
        operation = self.pending.get(number)
        if operation is None:
            if number != NOBODY:
                self.calls.refuse("io_uring", f"completion of the unknown operation {number}")
            return
        if flags & self._more:
            if operation.repeats:
                operation.completed(result, flags)
                return
            # A lie, but the end of it: whoever waited has waited long enough.
            self.calls.refuse("io_uring", f"one more result of operation {number}, which has one")
            flags &= ~self._more
        del self.pending[number]
        operation.done = True
        operation.memory = None
        operation.completed(result, flags)

    # -- waiting -------------------------------------------------------------------

    async def finish(self, operation: Operation, interruptible: bool) -> int:
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
            self.start("cancel", self.lib.IORING_OP_ASYNC_CANCEL, -1, operation.number, 0, 0, 0, None)

    # -- receive buffers -------------------------------------------------------------

    def provide(self, count: int, size: int) -> None:
        """Lend the host ``count`` buffers of ``size`` bytes to receive into. ``HostUnsupported``."""
        error = self.lib.uring_provide(self._ring, count, size)
        if error < 0:
            message = f"the host's io_uring has no buffer rings ({os.strerror(-error)})"
            raise HostUnsupported(message, "it needs Linux 6.0")

        self._buffers = self.ffi.buffer(self.lib.uring_buffer(self._ring, 0), count * size)
        self._buffer_count, self._buffer_size = count, size

    def take_buffer(self, number: int, size: int) -> bytes | memoryview | None:
        """What the host has put into a provided buffer; None when that can't be true.

        What is long is not copied: the host is lent the buffer again when nobody refers to the answer any more.
        """
        if not 0 <= number < self._buffer_count or size > self._buffer_size:
            return None
        if size >= VIEW_MIN and (memory := self.lib.uring_lend(self._ring, number)):
            ring, take_back = self._ring, self.lib.uring_take_back
            return memoryview(self.ffi.buffer(self.ffi.gc(memory, lambda _: take_back(ring, number)), size))
        start = number * self._buffer_size
        data: bytes = self._buffers[start : start + size]
        self.lib.uring_return(self._ring, number)
        return data

    # -- the end ---------------------------------------------------------------------

    def cancel_all(self) -> None:
        """Ask for the end of everything that is under way."""
        if self.pending:
            flags = self.lib.IORING_ASYNC_CANCEL_ALL | self.lib.IORING_ASYNC_CANCEL_ANY
            self.start("cancel", self.lib.IORING_OP_ASYNC_CANCEL, -1, 0, 0, 0, flags, None)

    async def shutdown(self) -> None:
        """Give the ring back, when the host no longer uses the memory that it was lent."""
        if self._ring is None:
            return
        self.cancel_all()
        deadline = self.loop.time() + DRAIN
        while self.pending and self.loop.time() < deadline:
            await asyncio.sleep(0.001)
            self.flush()
            self.take()
        self.loop.remove_reader(self.event)
        if self.pending:
            # The host may still write into this memory: better lose it for good than hand it out again.
            _lost.append(self.pending)
            log.error("io_uring: %d operations did not end; their memory is given up", len(self.pending))
        self.lib.uring_close(self._ring)
        self._ring = None


_lost: list[dict[int, Operation]] = []
