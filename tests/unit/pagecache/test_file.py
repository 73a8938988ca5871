"""Reading, writing, truncating: what a file's pages say, and what the disk is asked for."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import weakref

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.pagecache import MIN_LIMIT, PAGE
from occlum_async.fs.pagecache.extent import ALL, SIZE, runs, span
from occlum_async.fs.pagecache.file import AHEAD

from .conftest import Made

DATA = os.urandom(3 * SIZE + 12345)


def test_runs_of_bits() -> None:
    assert runs(0) == []
    assert runs(0b1101110) == [(1, 3), (5, 2)]
    assert runs(ALL) == [(0, 256)]
    assert span(3, 3) == 8 and span(0, 255) == ALL


async def test_reads_what_the_disk_has(made: Made) -> None:
    file, _file_store = made.file(DATA)
    end = len(DATA)
    for size, offset in ((10, 0), (SIZE, 5), (2 * SIZE, SIZE - 1), (10 * SIZE, 0), (50, end - 10), (1, end)):
        assert await file.read(size, offset) == DATA[offset : offset + size]


async def test_reads_once(made: Made) -> None:
    file, store = made.file(DATA)
    await file.read(len(DATA), 0)
    await asyncio.sleep(0)
    before = list(store.reads)
    assert await file.read(len(DATA), 0) == DATA
    assert store.reads == before
    assert sum(count for _, count in before) == len(store.pages)


async def test_random_reads_are_not_read_ahead(made: Made) -> None:
    file, store = made.file(DATA)
    await file.read(100, SIZE + 40 * PAGE)
    assert store.reads == [(256 + 40, 1)]


async def test_sequential_reads_are_read_ahead(made: Made) -> None:
    file, store = made.file(DATA)
    for offset in range(0, len(DATA), PAGE):
        assert await file.read(PAGE, offset) == DATA[offset : offset + PAGE]
        await asyncio.sleep(0)
    assert len(store.reads) < 8


@pytest.mark.parametrize("limit", [MIN_LIMIT, 64 << 20])
async def test_as_much_is_read_ahead_as_was_read_before(limit: int) -> None:
    made = Made(limit)
    file, store = made.file(bytes(60 * SIZE))
    ahead = []
    for extent in (*range(12), 30, 31):
        for offset in range(extent * SIZE, (extent + 1) * SIZE, 1 << 17):
            await file.read(1 << 17, offset)
            for _ in range(20):
                await asyncio.sleep(0)
        ahead.append(max(sum(run) for run in store.reads) // 256 - extent - 1)
    if limit == MIN_LIMIT:
        assert max(ahead) == MIN_LIMIT // SIZE // 4
    else:
        assert ahead == [1, 2, 3, 4, 5, 6, 7, *[AHEAD] * 5, 1, 2]
    made.cache.drop_all(made)


async def test_advice_random_and_willneed(made: Made) -> None:
    file, store = made.file(DATA)
    await file.advise(1, 0, 0)
    await file.read(PAGE, 0)
    assert store.reads == [(0, 1)]
    await file.advise(0, 0, 0)
    await file.advise(3, SIZE, SIZE)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (256, 256) in store.reads
    await file.advise(4, 0, 0)
    assert made.cache.pages == 0
    assert await file.read(len(DATA), 0) == DATA


async def test_writes_and_syncs(made: Made) -> None:
    file, store = made.file(DATA)
    expected = bytearray(DATA)
    for offset, size in ((5, 10), (PAGE, PAGE), (SIZE - 3, 6), (len(DATA) - 4, 100), (2 * SIZE, SIZE)):
        piece = os.urandom(size)
        assert await file.write(piece, offset) == size
        expected[offset : offset + size] = piece
        assert await file.read(len(expected), 0) == expected
    await file.sync()
    assert store.bytes(file.size) == expected and file.size == len(expected)
    assert made.cache.dirty == 0
    writes = len(store.writes)
    await file.sync()
    assert len(store.writes) == writes


async def test_writes_whole_pages_without_reading(made: Made) -> None:
    file, store = made.file(DATA)
    await file.write(bytes(SIZE), SIZE)
    assert store.reads == []


async def test_what_is_written_sparsely_reads_as_zeros(made: Made) -> None:
    file, store = made.file(b"abc")
    await file.write(b"x", 5 * SIZE + 17)
    assert await file.read(10, 0) == b"abc" + bytes(7)
    assert await file.read(20, 5 * SIZE) == bytes(17) + b"x"
    await file.sync()
    assert len(store.pages) == 2


async def test_truncate(made: Made) -> None:
    file, store = made.file(DATA)
    await file.truncate(SIZE + 100)
    assert await file.read(2 * SIZE, 0) == DATA[: SIZE + 100]
    await file.truncate(2 * SIZE)
    assert await file.read(3 * SIZE, 0) == DATA[: SIZE + 100] + bytes(SIZE - 100)
    assert made.cache.dirty == 1
    await file.sync()
    assert store.pages[256] == DATA[SIZE : SIZE + 100].ljust(PAGE, b"\0")
    await file.truncate(0)
    assert file.size == 0 and made.cache.pages == 0 and made.cache.dirty == 0
    await file.sync()


async def test_punch(made: Made) -> None:
    file, store = made.file(DATA)
    expected = bytearray(DATA)
    for offset, length in ((10, 20), (PAGE - 1, 2), (3 * PAGE + 5, 5 * PAGE), (SIZE, SIZE), (len(DATA) - 5, 100)):
        await file.punch(offset, length)
        end = min(offset + length, len(DATA))
        expected[offset:end] = bytes(end - offset)
        assert await file.read(len(DATA), 0) == expected
    await file.sync()
    assert store.bytes(len(DATA)) == expected


async def test_a_full_disk_takes_what_fits(made: Made) -> None:
    file, store = made.file(room=3)
    assert await file.write(b"x" * (5 * PAGE), 100) == 3 * PAGE - 100
    with pytest.raises(SyscallError) as caught:
        await file.write(b"y", 3 * PAGE)
    assert caught.value.errno == errno.ENOSPC
    assert await file.write(b"z", 0) == 1
    await file.sync()
    assert store.bytes(file.size) == b"z" + bytes(99) + b"x" * (3 * PAGE - 100)


async def test_read_errors_are_told(made: Made) -> None:
    file, store = made.file(DATA)
    store.failure = errno.EIO
    for attempt in (file.read(10, 0), file.write(b"x", 10), file.truncate(10)):
        with pytest.raises(SyscallError) as caught:
            await attempt
        assert caught.value.errno == errno.EIO
    store.failure = 0
    assert await file.read(10, 0) == DATA[:10]


async def test_write_errors_are_told_once_by_sync(made: Made) -> None:
    file, store = made.file()
    await file.write(b"data", 0)
    store.failure = errno.EIO
    with pytest.raises(SyscallError):
        await file.sync()
    store.failure = 0
    await file.sync()
    await file.write(b"more", 0)
    await file.sync()
    assert store.bytes(4) == b"more"


async def test_two_readers_of_one_page_ask_once(made: Made) -> None:
    file, store = made.file(DATA)
    store.gate = asyncio.Event()
    readers = [asyncio.ensure_future(file.read(PAGE, 0)) for _ in range(3)]
    await asyncio.sleep(0)
    store.gate.set()
    assert await asyncio.gather(*readers) == [DATA[:PAGE]] * 3
    assert len(store.reads) == 1


async def test_what_is_written_while_it_is_read_stays(made: Made) -> None:
    file, store = made.file(DATA)
    store.gate = asyncio.Event()
    reader = asyncio.ensure_future(file.read(2 * PAGE, 0))
    await asyncio.sleep(0)
    await file.write(b"n" * PAGE, PAGE)
    store.gate.set()
    assert await reader == DATA[:PAGE] + b"n" * PAGE


async def test_what_was_read_before_a_truncation_is_not_used(made: Made) -> None:
    file, store = made.file(DATA)
    store.gate = asyncio.Event()
    reader = asyncio.ensure_future(file.read(PAGE, 10 * PAGE))
    await asyncio.sleep(0)
    await file.truncate(0)
    await file.truncate(20 * PAGE)
    store.gate.set()
    assert await reader == bytes(PAGE)


async def test_what_is_written_while_it_is_written_back_is_dirty(made: Made) -> None:
    file, store = made.file()
    await file.write(b"1" * PAGE, 0)
    store.gate = asyncio.Event()
    syncing = asyncio.ensure_future(file.sync())
    while not store.writes:
        await asyncio.sleep(0)
    await file.write(b"2" * PAGE, 0)
    late = asyncio.ensure_future(file.sync())
    store.gate.set()
    await syncing
    await late
    assert store.bytes(PAGE) == b"2" * PAGE


async def test_sync_waits_for_what_the_background_writes(made: Made) -> None:
    file, store = made.file()
    await file.write(b"1" * PAGE, 0)
    store.gate = asyncio.Event()
    first = asyncio.ensure_future(file.sync())
    while not store.writes:
        await asyncio.sleep(0)
    second = asyncio.ensure_future(file.sync())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not second.done()
    store.gate.set()
    await asyncio.gather(first, second)
    assert store.bytes(PAGE) == b"1" * PAGE


async def test_direct_io(made: Made) -> None:
    file, store = made.file(DATA)
    assert await file.read_direct(1024, 512) == DATA[512:1536]
    assert made.cache.pages == 0
    for size, offset in ((100, 0), (512, 3)):
        with pytest.raises(SyscallError):
            await file.read_direct(size, offset)
        with pytest.raises(SyscallError):
            await file.write_direct(bytes(size), offset)
    await file.write(b"dirty", 0)
    assert (await file.read_direct(512, 0))[:5] == b"dirty"
    await file.write_direct(b"d" * 512, 512)
    assert store.bytes(1024)[512:] == b"d" * 512
    assert store.bytes(5) == b"dirty"


async def test_a_file_nobody_keeps_goes_with_its_last_user(made: Made) -> None:
    file, store = made.file(DATA)
    await file.write(b"never to be seen", 0)
    file.keep(False)
    gone = weakref.ref(store)
    del file, store
    gc.collect()
    assert gone() is None and made.cache.pages == 0 and made.cache.dirty == 0


async def test_a_file_that_is_kept_lives_while_it_has_pages(made: Made) -> None:
    file, store = made.file(DATA)
    await file.read(10, 0)
    alive = weakref.ref(store)
    del file, store
    gc.collect()
    assert alive() is not None
    made.cache.shrink(0)
    gc.collect()
    assert alive() is None
