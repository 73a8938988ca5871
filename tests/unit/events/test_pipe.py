"""Pipes against what pipe(7) and the page slots of Linux' pipes promise."""

from __future__ import annotations

import errno
import os
from signal import SIGPIPE

import pytest

from occlum_async.abi.errors import Interrupted
from occlum_async.abi.stat import S_IFIFO
from occlum_async.abi.user import PythonPointer
from occlum_async.io.file import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from occlum_async.io.pipe import DEFAULT_SLOTS, FIONREAD, MAX_SIZE, PAGE, USER_PAGES_SOFT, PipeFile, make_pipe
from occlum_async.io.tally import Tally

READABLE, WRITABLE = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM


@pytest.fixture
def ends(scheduler):
    return make_pipe(scheduler)


@pytest.fixture
def loose(scheduler):
    """The ends of a non-blocking pipe."""
    return make_pipe(scheduler, os.O_NONBLOCK)


async def test_bytes_come_out_in_order(ends):
    reader, writer = ends
    assert await writer.write(b"hello ") == 6
    assert await writer.write(b"world") == 5
    assert await reader.read(8) == b"hello wo"
    assert await reader.read(100) == b"rld"


async def test_ends_refuse_the_other_direction(ends, fails):
    reader, writer = ends
    await fails(errno.EBADF, reader.write(b"x"))
    await fails(errno.EBADF, writer.read(1))


async def test_reader_blocks_until_written(ends, blocked):
    reader, writer = ends
    task = await blocked(reader.read(10))
    await writer.write(b"now")
    assert await task == b"now"


async def test_zero_length(ends):
    reader, writer = ends
    assert await reader.read(0) == b""
    reader.close()
    assert await writer.write(b"") == 0  # no EPIPE either


async def test_end_of_file_wakes_a_blocked_reader(ends, blocked):
    reader, writer = ends
    task = await blocked(reader.read(10))
    writer.close()
    assert await task == b""


async def test_broken_pipe_carries_its_signal(ends, fails):
    reader, writer = ends
    reader.close()
    error = await fails(errno.EPIPE, writer.write(b"x"))
    assert error.signal == SIGPIPE


async def test_broken_pipe_wakes_a_blocked_writer(ends, blocked, fails):
    reader, writer = ends
    while not writer.pipe.full:
        await writer.write(bytes(PAGE))
    task = await blocked(writer.write(b"x" * PAGE))
    reader.close()
    await fails(errno.EPIPE, lambda: task_result(task))


async def task_result(task):
    return await task


async def test_capacity_is_counted_in_slots(loose, fails):
    reader, writer = loose
    # A page that does not fit into the rest of the last slot takes a slot of its own.
    for _ in range(DEFAULT_SLOTS):
        assert await writer.write(b"x" * 3000) == 3000
    await fails(errno.EAGAIN, writer.write(b"y" * 1097))
    assert await writer.write(b"y" * 1096) == 1096  # the room that is left in the last page
    await fails(errno.EAGAIN, writer.write(b"z"))
    assert len(await reader.read(100000)) == DEFAULT_SLOTS * 3000 + 1096


async def test_full_capacity(loose, fails):
    reader, writer = loose
    assert await writer.write(b"x" * 100000) == 65536
    assert not writer.poll() & POLLOUT
    assert len(await reader.read(4095)) == 4095
    assert not writer.poll() & POLLOUT  # no slot is free yet
    assert len(await reader.read(1)) == 1
    assert writer.poll() == WRITABLE


async def test_large_write_is_taken_as_it_is_read(ends, blocked):
    reader, writer = ends
    data = bytes(range(256)) * 1000
    task = await blocked(writer.write(data))
    received = b""
    while len(received) < len(data):
        received += await reader.read(5000)
    assert received == data
    assert await task == len(data)


async def test_small_writes_are_atomic_among_blocked_writers(ends, blocked):
    reader, writer = ends
    await writer.write(b"f" * 65536)
    tasks = [await blocked(writer.write(letter * PAGE)) for letter in (b"a", b"b")]
    received = b""
    while len(received) < 65536 + 2 * PAGE:
        received += await reader.read(1000)
    rest = received[65536:]
    assert {rest[:PAGE], rest[PAGE:]} == {b"a" * PAGE, b"b" * PAGE}
    assert [await task for task in tasks] == [PAGE, PAGE]


async def test_interrupted_write_reports_what_was_done(ends, blocked, scheduler):
    _, writer = ends
    task = await blocked(writer.write(b"x" * 70000))
    strand = scheduler._task_strands[task]
    strand.interrupt()
    assert await task == 65536
    task = await blocked(writer.write(b"x"))
    scheduler._task_strands[task].interrupt()
    with pytest.raises(Interrupted):
        await task


async def test_packets(scheduler):
    reader, writer = make_pipe(scheduler, os.O_DIRECT | os.O_NONBLOCK)
    await writer.write(b"one")
    await writer.write(b"two")
    assert await reader.read(2) == b"on"  # the rest of the packet is lost
    assert await reader.read(100) == b"two"
    await writer.write(b"x" * (PAGE + 10))
    assert len(await reader.read(100000)) == PAGE
    assert len(await reader.read(100000)) == 10


async def test_poll_masks(ends):
    reader, writer = ends
    assert reader.poll() == 0
    assert writer.poll() == WRITABLE
    await writer.write(b"x")
    assert reader.poll() == READABLE
    writer.close()
    assert reader.poll() == READABLE | POLLHUP
    await reader.read(1)
    assert reader.poll() == POLLHUP


async def test_poll_of_a_writer_without_readers(ends):
    reader, writer = ends
    reader.close()
    assert writer.poll() == WRITABLE | POLLERR


async def test_resize(loose, fails):
    reader, writer = loose
    assert reader.pipe_size == 65536
    assert writer.set_pipe_size(1, privileged=False) == PAGE
    assert await writer.write(b"x" * 5000) == PAGE
    assert writer.set_pipe_size(5 * PAGE, privileged=False) == 8 * PAGE
    assert await writer.write(b"x" * 5 * PAGE) == 5 * PAGE
    await fails(errno.EBUSY, writer.set_pipe_size, PAGE, False)
    await fails(errno.EPERM, writer.set_pipe_size, MAX_SIZE + 1, False)
    await fails(errno.EINVAL, writer.set_pipe_size, (1 << 31) + 1, False)
    assert writer.set_pipe_size(2 * MAX_SIZE, privileged=True) == 2 * MAX_SIZE


async def test_growing_wakes_a_blocked_writer(ends, blocked):
    reader, writer = ends
    await writer.write(b"x" * 65536)
    task = await blocked(writer.write(b"y"))
    reader.set_pipe_size(MAX_SIZE, privileged=False)
    assert await task == 1


async def test_pages_of_a_user_are_limited(scheduler, fails):
    users = Tally()
    users.add(1000, USER_PAGES_SOFT - 20)
    first, _ = make_pipe(scheduler, 0, 1000, 1000, users, privileged=False)
    assert first.pipe_size == 65536
    second, writer = make_pipe(scheduler, 0, 1000, 1000, users, privileged=False)
    assert second.pipe_size == 2 * PAGE
    await fails(errno.EPERM, second.set_pipe_size, MAX_SIZE, False)
    second.close()
    writer.close()
    assert users[1000] == USER_PAGES_SOFT - 20 + 16


async def test_attributes(scheduler):
    reader, writer = make_pipe(scheduler, 0, 5, 6)
    stat = await reader.stat()
    assert (stat.mode, stat.uid, stat.gid, stat.size) == (S_IFIFO | 0o600, 5, 6, 0)
    assert stat.ino == (await writer.stat()).ino != (await make_pipe(scheduler)[0].stat()).ino
    assert reader.describe() == f"pipe:[{stat.ino}]"


async def test_fionread(ends):
    reader, writer = ends
    await writer.write(b"x" * 5000)
    answer = PythonPointer(bytearray(4))
    assert await reader.ioctl(None, FIONREAD, answer) == 0
    assert int.from_bytes(answer.data, "little") == 5000


async def test_reopened_end_counts(ends):
    reader, writer = ends
    again: PipeFile = writer.reopen(os.O_WRONLY)
    writer.close()
    assert reader.poll() == 0
    again.close()
    assert reader.poll() == POLLHUP


async def test_a_rest_keeps_no_large_write_alive(loose):
    """Slots refer to bounded pieces only."""
    _, writer = loose
    data = bytes(4 * MAX_SIZE)
    assert await writer.write(data) == 65536
    assert all(len(slot.obj) <= 65536 for slot in writer.pipe.slots)


async def test_views_are_copied(loose):
    """What the writer hands over may change after the write."""
    reader, writer = loose
    data = bytearray(b"a" * 8192)
    await writer.write(memoryview(data))
    data[:] = b"b" * 8192
    assert await reader.read(8192) == b"a" * 8192
