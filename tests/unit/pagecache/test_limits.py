"""What the cache keeps, what it lets go, and who waits for whom when there is too much."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import weakref

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.pagecache import MIN_LIMIT, PAGE, PageCache
from occlum_async.fs.pagecache.extent import SIZE
from occlum_async.fs.pagecache.heap import HeapPages

from .conftest import Made


async def test_a_cache_too_small_is_refused(made: Made) -> None:
    with pytest.raises(SyscallError):
        PageCache(made.scheduler, MIN_LIMIT - 1)


async def test_reading_more_than_the_limit(made: Made) -> None:
    content = os.urandom(3 * MIN_LIMIT)
    file, _file_store = made.file(content)
    for offset in range(0, len(content), SIZE):
        assert await file.read(SIZE, offset) == content[offset : offset + SIZE]
        assert made.cache.pages <= made.cache.limit
    assert isinstance(file.memory, HeapPages)
    assert len(file.memory.pages) == made.cache.pages and made.cache.counts.evicted > 0
    statistics = made.cache.statistics()
    assert 0 < statistics["cached"] <= statistics["limit"] == MIN_LIMIT
    assert statistics["read"] >= len(content) and statistics["mapped"] == statistics["dirty"] == 0


async def test_what_was_used_lately_stays(made: Made) -> None:
    hot, hot_store = made.file(os.urandom(SIZE))
    cold, _cold_store = made.file(os.urandom(3 * MIN_LIMIT))
    await hot.read(SIZE, 0)
    reads = list(hot_store.reads)
    for offset in range(0, cold.size, SIZE):
        await cold.read(SIZE, offset)
        await hot.read(PAGE, 0)
    assert hot_store.reads == reads


async def test_a_writer_waits_for_the_disk(made: Made) -> None:
    file, store = made.file()
    store.gate = asyncio.Event()

    async def write() -> None:
        for offset in range(0, 2 * MIN_LIMIT, SIZE):
            await file.write(b"x" * SIZE, offset)
            assert made.cache.dirty <= made.cache.dirty_limit + SIZE // PAGE

    writer = asyncio.ensure_future(write())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not writer.done() and made.cache.dirty >= made.cache.dirty_limit
    store.gate.set()
    await writer
    await file.sync()
    assert store.bytes(file.size) == b"x" * (2 * MIN_LIMIT)


async def test_orphans_are_written_when_there_is_nothing_else(made: Made) -> None:
    file, store = made.file()
    file.keep(False)
    for offset in range(0, 2 * MIN_LIMIT, SIZE):
        await file.write(b"x" * SIZE, offset)
    assert made.cache.pages <= made.cache.limit
    assert await file.read(5, 0) == b"xxxxx" and store.writes


async def test_a_failing_disk_does_not_stop_writers(made: Made) -> None:
    file, store = made.file()
    store.failure = errno.EIO
    for offset in range(0, 2 * MIN_LIMIT, SIZE):
        await file.write(b"x" * SIZE, offset)
    with pytest.raises(SyscallError):
        await file.sync()


async def test_what_is_dirty_is_written_by_and_by(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("occlum_async.fs.pagecache.writeback.INTERVAL", 0.001)
    file, store = made.file()
    await file.write(b"data", 0)
    while not store.writes:
        await asyncio.sleep(0.001)
    while made.cache.dirty:
        await asyncio.sleep(0)
    assert store.bytes(4) == b"data"


async def test_sync_of_one_file_system(made: Made) -> None:
    files = [made.file() for _ in range(10)]
    other = made.cache.open(files[0][1], 0, "another")
    for file, _ in files:
        await file.write(b"data", 0)
    await other.write(b"other", 0)
    await made.cache.sync(made)
    assert all(store.bytes(4) == b"data" for _, store in files)
    assert made.cache.dirty == 1
    made.cache.drop_all("another")
    assert made.cache.dirty == 0


async def test_a_dirty_file_goes_that_only_the_cache_knows(made: Made) -> None:
    file, store = made.file()
    gone = weakref.ref(store)
    await file.write(b"data" * SIZE, 0)
    del file, store
    assert gone() is not None
    made.cache.drop_all(made)
    assert made.cache.dirty == 0 and gone() is None


async def test_nothing_looks_at_a_cache_without_files() -> None:
    made = Made()
    file, store = made.file()
    await file.write(b"data", 0)
    made.cache.drop_all(made)
    cache = weakref.ref(made.cache)
    del made, file, store
    gc.collect()
    assert cache() is None, "the loop has a timer for it still"


async def test_only_what_is_mapped_has_a_descriptor(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("occlum_async.fs.memory.Memfds.limit", 2)
    files = [made.file(os.urandom(SIZE + PAGE)) for _ in range(3)]
    for file, store in files[:2]:
        await file.prepare_mapping(0, file.size, True)
        assert await file.read(file.size, 0) == store.bytes(file.size)
    assert made.cache.memfds.used == 2
    with pytest.raises(SyscallError) as caught:
        await files[2][0].prepare_mapping(0, PAGE, True)
    assert caught.value.errno == errno.ENFILE
    for file, store in files[:2]:
        assert file.mapped is not None
        file.mapped.unmapped()
        while file.mapped is not None:
            await asyncio.sleep(0)
        assert await file.read(file.size, 0) == store.bytes(file.size)
    assert made.cache.memfds.used == 0
    await files[2][0].prepare_mapping(0, PAGE, True)


async def test_an_orphan_that_is_written_to_while_it_goes(made: Made) -> None:
    file, store = made.file()
    file.keep(False)
    store.gate = asyncio.Event()
    await file.write(b"x" * (made.cache.background + 1) * PAGE, 0)
    while not store.writes:
        await asyncio.sleep(0)
    await file.write(b"y", 0)
    gate = store.gate
    del file, store
    gate.set()
    while made.cache.writeback.running:
        await asyncio.sleep(0)
    assert made.cache.dirty == 0 and made.cache.pages == 0


async def test_a_file_that_goes_while_others_are_synced(made: Made) -> None:
    first, first_store = made.file()
    second, second_store = made.file()
    await first.write(b"1", 0)
    await second.write(b"2", 0)
    first_store.gate = asyncio.Event()
    syncing = asyncio.ensure_future(made.cache.sync(made))
    while not first_store.writes:
        await asyncio.sleep(0)
    second.keep(False)
    del second, second_store
    first_store.gate.set()
    await syncing


async def test_what_comes_from_the_disk_of_a_file_system_that_is_gone_is_not_kept(made: Made) -> None:
    file, store = made.file(bytes(4 << 20))
    store.gate = asyncio.Event()
    made.cache.in_background(file._read_extent(1, store))
    while not store.reads:
        await asyncio.sleep(0)
    made.cache.drop_all(made)
    known = weakref.ref(file)
    del file
    store.gate.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert made.cache.pages == 0
    assert known() is None, "nothing keeps the file"
