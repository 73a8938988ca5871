"""fifo(7): who waits for whom at open."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from occlum_async.abi.errors import Interrupted
from occlum_async.abi.stat import Stat
from occlum_async.io.fifo import open_fifo
from occlum_async.io.file import POLLHUP, POLLIN


async def test_reader_waits_for_writer(scheduler, blocked):
    attached = {}
    task = await blocked(open_fifo(attached, scheduler, os.O_RDONLY))
    writer = await open_fifo(attached, scheduler, os.O_WRONLY)
    reader = await task
    await writer.write(b"x")
    assert await reader.read(1) == b"x"


async def test_writer_waits_for_reader(scheduler, blocked):
    attached = {}
    task = await blocked(open_fifo(attached, scheduler, os.O_WRONLY))
    await open_fifo(attached, scheduler, os.O_RDONLY)
    await task


async def test_a_writer_that_came_and_went_counts(scheduler, blocked):
    attached = {}
    task = await blocked(open_fifo(attached, scheduler, os.O_RDONLY))
    (await open_fifo(attached, scheduler, os.O_WRONLY)).close()
    assert await (await task).read(1) == b""


async def test_nonblocking_open(scheduler, fails):
    attached = {}
    await fails(errno.ENXIO, open_fifo(attached, scheduler, os.O_WRONLY | os.O_NONBLOCK))
    assert not attached
    reader = await open_fifo(attached, scheduler, os.O_RDONLY | os.O_NONBLOCK)
    assert reader.poll() == 0  # no POLLHUP before the first writer
    assert await reader.read(1) == b""
    writer = await open_fifo(attached, scheduler, os.O_WRONLY | os.O_NONBLOCK)
    await fails(errno.EAGAIN, reader.read(1))
    writer.close()
    assert reader.poll() == POLLHUP


async def test_both_ways_at_once(scheduler):
    both = await open_fifo({}, scheduler, os.O_RDWR)
    await both.write(b"x")
    assert both.poll() & POLLIN
    assert await both.read(1) == b"x"


async def test_interrupted_open_leaves_nothing(scheduler, blocked):
    attached = {}
    task = await blocked(open_fifo(attached, scheduler, os.O_RDONLY))
    scheduler._task_strands[task].interrupt()
    with pytest.raises(Interrupted):
        await task
    assert not attached


async def test_content_goes_with_the_last_end(scheduler):
    attached = {}
    both = await open_fifo(attached, scheduler, os.O_RDWR)
    await both.write(b"x")
    both.close()
    again = await open_fifo(attached, scheduler, os.O_RDWR | os.O_NONBLOCK)
    assert again.poll() & POLLIN == 0


async def test_shows_its_inode(scheduler):
    async def stat():
        return Stat(0o010644, ino=7)

    file = await open_fifo({}, scheduler, os.O_RDWR, stat, lambda: "/tmp/f")
    assert (await file.stat()).ino == 7
    assert file.describe() == "/tmp/f"


async def test_many_readers_wait_at_once(scheduler, blocked):
    attached = {}
    tasks = [await blocked(open_fifo(attached, scheduler, os.O_RDONLY)) for _ in range(3)]
    await open_fifo(attached, scheduler, os.O_WRONLY)
    assert len(await asyncio.gather(*tasks)) == 3
