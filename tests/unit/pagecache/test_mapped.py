"""What guests map, as an mmap of the same descriptor shows it."""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.pagecache import MIN_LIMIT, PAGE, CachedFile
from occlum_async.fs.pagecache.extent import SIZE

from .conftest import Made

DATA = os.urandom(2 * SIZE + 100)


@asynccontextmanager
async def mapped(file: CachedFile, offset: int, length: int, writable: bool = True) -> AsyncIterator[mmap.mmap]:
    await file.prepare_mapping(offset, length, writable)
    fd, close = file.share(writable)
    try:
        rights = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        with mmap.mmap(fd, length, mmap.MAP_SHARED, rights, offset=offset) as memory:
            yield memory
    finally:
        if close:
            os.close(fd)


async def end(file: CachedFile) -> None:
    """No guest holds it any more."""
    mapping = file.mapped
    assert mapping is not None
    file.cache.quota.mapped.discard(mapping)
    mapping.unmapped()
    while file.mapped is not None:
        await asyncio.sleep(0)


async def test_shows_the_file(made: Made) -> None:
    file, _file_store = made.file(DATA)
    async with mapped(file, 0, len(DATA), writable=False) as memory:
        assert memory[:] == DATA
        await file.write(b"new", SIZE)
        assert memory[SIZE : SIZE + 3] == b"new"


async def test_a_read_only_descriptor_cant_be_written(made: Made) -> None:
    file, _file_store = made.file(DATA)
    await file.prepare_mapping(0, PAGE, False)
    fd, close = file.share(False)
    with pytest.raises(OSError):
        mmap.mmap(fd, PAGE, mmap.MAP_SHARED, mmap.PROT_WRITE)
    assert close
    os.close(fd)


async def test_what_is_written_there_is_read_and_synced(made: Made) -> None:
    file, store = made.file(DATA)
    async with mapped(file, 0, SIZE) as memory:
        memory[5:8] = b"abc"
        memory[SIZE - 1 :] = b"z"
        assert await file.read(3, 5) == b"abc"
        await file.sync()
        assert store.pages[0][5:8] == b"abc" and store.pages[255][-1:] == b"z"
        assert sorted(store.writes) == [(0, 1), (255, 1)]
        await file.sync()
        assert len(store.writes) == 2
        memory[5:8] = b"def"
        await file.sync()
        assert store.writes[2:] == [(0, 1)]


async def test_holes_that_are_written_unseen(made: Made) -> None:
    file, store = made.file()
    await file.truncate(3 * SIZE)
    async with mapped(file, 0, 3 * SIZE) as memory:
        memory[SIZE + 5 * PAGE : SIZE + 5 * PAGE + 3] = b"abc"
        assert await file.read(4, SIZE + 5 * PAGE) == b"abc\0"
        memory[7:8] = b"x"
        await file.sync()
        assert set(store.pages) == {0, 256 + 5}
    assert store.bytes(file.size)[SIZE + 5 * PAGE :][:3] == b"abc"


async def test_the_end_of_the_last_mapping(made: Made) -> None:
    file, store = made.file(DATA)
    async with mapped(file, 0, SIZE) as memory:
        memory[0:1] = b"!"
        assert file.extents[0].pinned and made.cache.pinned >= SIZE // PAGE
    await end(file)
    assert made.cache.pinned == 0
    await file.sync()
    assert store.bytes(1) == b"!"
    made.cache.shrink(0)
    assert made.cache.pages == 0 and await file.read(1, 0) == b"!"


async def test_what_is_mapped_is_not_evicted(made: Made) -> None:
    file, _file_store = made.file(DATA)
    other, _other_store = made.file(os.urandom(2 * MIN_LIMIT))
    async with mapped(file, 0, len(DATA), writable=False) as memory:
        for offset in range(0, other.size, SIZE):
            await other.read(SIZE, offset)
        assert memory[:] == DATA


async def test_more_than_fits_is_refused(made: Made) -> None:
    file, _file_store = made.file(os.urandom(2 * MIN_LIMIT))
    with pytest.raises(SyscallError) as caught:
        await file.prepare_mapping(0, file.size, False)
    assert caught.value.errno == errno.ENOMEM
    while made.cache.mapped:
        await asyncio.sleep(0)
    assert made.cache.pinned == 0
    async with mapped(file, SIZE, SIZE, writable=False) as memory:
        assert memory[:] == await file.read(SIZE, SIZE)


async def test_a_hole_of_any_size_can_be_mapped(made: Made) -> None:
    file, store = made.file()
    await file.truncate(1 << 40)
    async with mapped(file, 0, 1 << 40) as memory:
        memory[1 << 39] = 7
        await file.sync()
    assert list(store.pages) == [1 << 27] and store.pages[1 << 27][0] == 7


async def test_truncation_and_growth(made: Made) -> None:
    file, store = made.file(DATA[:SIZE])
    async with mapped(file, 0, SIZE) as memory:
        await file.truncate(10 * PAGE + 100)
        memory[10 * PAGE + 100 : 10 * PAGE + 105] = b"junk!"
        await file.truncate(10 * PAGE + 110)
        assert await file.read(10, 10 * PAGE + 100) == bytes(10)
        await file.truncate(100)
        memory[100:105] = b"junk!"
        await file.write(b"end", 110)
        assert await file.read(20, 98) == DATA[98:100] + bytes(10) + b"end"
        await file.sync()
        assert store.bytes(PAGE)[100:] == bytes(10) + b"end" + bytes(PAGE - 113)
        await file.truncate(SIZE)
        assert memory[PAGE:] == bytes(SIZE - PAGE)


async def test_no_room_for_what_was_written_unseen(made: Made) -> None:
    file, store = made.file(room=1)
    await file.truncate(SIZE)
    async with mapped(file, 0, SIZE) as memory:
        memory[0:1] = b"1"
        memory[PAGE : PAGE + 1] = b"2"
        with pytest.raises(SyscallError) as caught:
            await file.sync()
        assert caught.value.errno == errno.ENOSPC
        assert store.bytes(1) == b"1"


async def test_the_background_finds_what_was_written(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("occlum_async.fs.pagecache.writeback.INTERVAL", 0.001)
    file, store = made.file(DATA)
    async with mapped(file, 0, SIZE) as memory:
        memory[0:1] = b"!"
        while not store.writes:
            await asyncio.sleep(0.001)
    assert store.bytes(1) == b"!"


async def test_mapped_again_before_the_end_was_looked_at(made: Made) -> None:
    file, store = made.file(DATA)
    async with mapped(file, 0, SIZE) as memory:
        memory[0:1] = b"!"
    mapping = file.mapped
    assert mapping is not None
    mapping.unmapped()
    async with mapped(file, 0, SIZE) as memory:
        memory[1:2] = b"?"
        for _ in range(20):
            await asyncio.sleep(0)
        assert file.mapped is mapping
        await file.sync()
    assert store.bytes(2) == b"!?"


async def test_what_was_not_read_yet_is_no_hole(made: Made) -> None:
    file, _store = made.file(DATA[: 10 * PAGE])
    await file.write(b"tail", 9 * PAGE)  # in memory, zeros lie before it
    async with mapped(file, 0, 10 * PAGE) as memory:
        assert memory[: 9 * PAGE] == DATA[: 9 * PAGE]


async def test_mapped_again_while_it_is_found_that_nobody_holds_it(made: Made) -> None:
    file, store = made.file(DATA)
    async with mapped(file, 0, PAGE) as memory:
        memory[0:1] = b"!"
    mapping = file.mapped
    assert mapping is not None
    store.gate = asyncio.Event()
    again = asyncio.ensure_future(file.prepare_mapping(SIZE, SIZE, True))
    await asyncio.sleep(0)
    mapping.unmapped()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not again.done()
    store.gate.set()
    await again
    for _ in range(20):
        await asyncio.sleep(0)
    assert file.mapped is mapping and mapping.held
    file.share(True)
    await end(file)
