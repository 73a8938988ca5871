"""A cached file against a bytearray: whatever is done to it in whatever order, under a cache that is too small."""

from __future__ import annotations

import asyncio
import mmap
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from occlum_async.fs.pagecache import MIN_LIMIT, PAGE

from .conftest import Made

LARGEST = 700 * PAGE
near_edges = st.builds(lambda page, by: max(0, page * PAGE + by), st.integers(0, 600), st.integers(-2, 2))
offsets = st.one_of(st.integers(0, LARGEST), near_edges)
lengths = st.one_of(st.integers(1, 3 * PAGE), st.sampled_from([PAGE, 255 * PAGE, 256 * PAGE]))
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["write", "read", "truncate", "punch", "sync", "shrink", "drop", "direct", "map", "poke", "unmap", "reopen"]
        ),
        offsets,
        lengths,
    ),
    max_size=25,
)


class Model:
    """The file as it should be, and the file."""

    def __init__(self, made: Made) -> None:
        self.made = made
        self.file, self.store = made.file()
        self.right = bytearray()
        self.window: mmap.mmap | None = None
        self.counter = 0

    def _content(self, length: int) -> bytes:
        self.counter += 1
        return bytes([self.counter % 255 + 1]) * length

    async def step(self, what: str, offset: int, length: int) -> None:
        await getattr(self, what)(offset, length)
        assert self.file.size == len(self.right)
        assert self.made.cache.pages == sum(one.present.bit_count() for one in self.file.extents.values())
        assert self.made.cache.dirty == sum(one.dirty.bit_count() for one in self.file.extents.values())

    async def write(self, offset: int, length: int) -> None:
        data = self._content(length)
        assert await self.file.write(data, offset) == length
        self.right.extend(bytes(max(0, offset - len(self.right))))
        self.right[offset : offset + length] = data

    async def direct(self, offset: int, length: int) -> None:
        offset, length = offset // PAGE * PAGE, -(-length // PAGE) * PAGE
        data = self._content(length)
        assert await self.file.write_direct(data, offset) == length
        self.right.extend(bytes(max(0, offset - len(self.right))))
        self.right[offset : offset + length] = data
        assert await self.file.read_direct(length, offset) == data

    async def read(self, offset: int, length: int) -> None:
        assert await self.file.read(length, offset) == self.right[offset : offset + length]

    async def truncate(self, offset: int, _length: int) -> None:
        await self.file.truncate(offset)
        del self.right[offset:]
        self.right.extend(bytes(offset - len(self.right)))

    async def punch(self, offset: int, length: int) -> None:
        await self.file.punch(offset, length)
        end = min(offset + length, len(self.right))
        if end > offset:
            self.right[offset:end] = bytes(end - offset)

    async def sync(self, _offset: int, _length: int) -> None:
        await self.file.sync()
        assert self.store.bytes(len(self.right)) == self.right

    async def shrink(self, _offset: int, _length: int) -> None:
        self.made.cache.shrink(0)

    async def drop(self, offset: int, length: int) -> None:
        await self.file.advise(os.POSIX_FADV_DONTNEED, offset, length)

    async def map(self, _offset: int, _length: int) -> None:
        size = len(self.right) // PAGE * PAGE
        if self.window is None and size:
            await self.file.prepare_mapping(0, size, True)
            fd, _ = self.file.share(True)
            self.window = mmap.mmap(fd, size, mmap.MAP_SHARED)

    async def poke(self, offset: int, length: int) -> None:
        if self.window is not None:
            end = min(offset + length, len(self.window), len(self.right))
            if end > offset:
                self.window[offset:end] = self.right[offset:end] = self._content(end - offset)

    async def unmap(self, _offset: int, _length: int) -> None:
        if self.window is not None and self.file.mapped is not None:
            self.window.close()
            self.window = None
            self.made.cache.quota.mapped.discard(self.file.mapped)
            self.file.mapped.unmapped()
            while self.file.mapped is not None:
                await asyncio.sleep(0)

    async def reopen(self, offset: int, length: int) -> None:
        if self.window is None:
            await self.sync(offset, length)
            self.file = self.made.cache.open(self.store, len(self.right), self.made)
            self.made.cache.drop_all(self.made)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_like_a_bytearray(plan: list[tuple[str, int, int]]) -> None:
    async def run() -> None:
        made = Made(MIN_LIMIT)
        model = Model(made)
        try:
            for what, offset, length in plan:
                await model.step(what, offset, length)
            await model.sync(0, 0)
            await model.read(0, len(model.right) + 1)
        finally:
            made.cache.drop_all(made)

    asyncio.run(run())
