"""The buffer cache: the blocks that hold metadata.

Invariants: there is one ``Buffer`` for a block at any time, so what one strand changes every strand sees; a
changed buffer is in ``dirty`` until it is written; a block that is freed is forgotten, so that its old content
is never written over its new one.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from weakref import WeakValueDictionary

from ...abi.errors import SyscallError
from ...sched.waitqueue import WaitQueue
from .blockio import BlockIO

LIMIT = 4096  # buffers that are kept for later
DIRTY_LIMIT = 2048  # buffers that may wait for the next commit
RUN = 256  # blocks of one write


class Buffer:
    """One block of metadata. ``checked``: it was found valid for what it is, and every change keeps it so."""

    __slots__ = ("__weakref__", "_words", "block", "checked", "data")

    def __init__(self, block: int, data: bytearray) -> None:
        self.block = block
        self.data = data
        self.checked = False
        self._words: memoryview | None = None

    @property
    def words(self) -> memoryview:
        """The block as 32-bit numbers, to read and to change."""
        if self._words is None:
            self._words = memoryview(self.data).cast("I")
        return self._words


class Buffers:
    """All buffers of one file system."""

    def __init__(self, io: BlockIO, limit: int = LIMIT) -> None:
        self.io = io
        self.limit = limit
        self.dirty: dict[int, Buffer] = {}
        self._recent: OrderedDict[int, Buffer] = OrderedDict()
        self._known: WeakValueDictionary[int, Buffer] = WeakValueDictionary()
        self._loading: dict[int, WaitQueue] = {}

    def cached(self, block: int) -> Buffer | None:
        """The buffer of ``block`` if it is in memory."""
        buffer = self._recent.get(block)
        if buffer is not None:
            self._recent.move_to_end(block)
            return buffer
        return self._known.get(block)

    async def get(self, block: int) -> Buffer:
        """The buffer of ``block``, read if need be; EIO."""
        while True:
            buffer = self.cached(block)
            if buffer is not None:
                return buffer
            queue = self._loading.get(block)
            if queue is None:
                return (await self._load(block, 1))[0]
            await queue.wait(self.io.scheduler, interruptible=False)

    async def prefetch(self, block: int, count: int) -> None:
        """Read a run of blocks at once that may be asked for one by one, and then fail one by one."""
        known = any(number in self._loading or self.cached(number) for number in range(block, block + count))
        if count > 1 and not known:
            with suppress(SyscallError):
                await self._load(block, count)

    async def _load(self, block: int, count: int) -> list[Buffer]:
        queue = WaitQueue()
        for number in range(block, block + count):
            self._loading[number] = queue
        size = self.io.block_size
        try:
            data = await self.io.read(block, count)
            return [
                self._enter(block + index, bytearray(data[index * size : (index + 1) * size]))
                for index in range(count)
            ]  # fmt: skip
        finally:
            for number in range(block, block + count):
                del self._loading[number]
            queue.wake()

    def _enter(self, block: int, data: bytearray) -> Buffer:
        buffer = Buffer(block, data)
        self._recent[block] = self._known[block] = buffer
        while len(self._recent) > self.limit:
            self._recent.popitem(last=False)
        return buffer

    def fresh(self, block: int) -> Buffer:
        """A buffer of zeros for a block that was just allocated."""
        self.forget(block)
        buffer = self._enter(block, bytearray(self.io.block_size))
        self.mark(buffer)
        return buffer

    def mark(self, buffer: Buffer) -> None:
        """The buffer was changed."""
        self.dirty[buffer.block] = buffer

    def forget(self, block: int) -> None:
        """The block was freed: what it held is not written any more."""
        self.dirty.pop(block, None)
        self._recent.pop(block, None)
        self._known.pop(block, None)

    async def flush(self) -> None:
        """Write what is dirty, neighbours at once, while nobody changes or frees a block. What fails stays dirty."""
        batch, self.dirty = self.dirty, {}
        runs: list[tuple[int, list[bytearray]]] = []
        for block in sorted(batch):
            if runs and len(runs[-1][1]) < RUN and block == runs[-1][0] + len(runs[-1][1]):
                runs[-1][1].append(batch[block].data)
            else:
                runs.append((block, [batch[block].data]))
        try:
            await self.io.write_many([(first, b"".join(pieces)) for first, pieces in runs])
        except BaseException:
            self.dirty = batch | self.dirty
            raise
