"""splice(2), tee(2), vmsplice(2)."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.user import PythonBuffer, PythonPointer
from occlum_async.io.eventfd import EventFd
from occlum_async.io.file import File
from occlum_async.io.pipe import PAGE, make_pipe
from occlum_async.syscalls.splice import SPLICE_F_NONBLOCK, splice, tee, vmsplice

NULL = PythonPointer()


class Memory(File):
    """A seekable file of bytes, which takes at most ``limit`` bytes of a write."""

    def __init__(self, scheduler, data=b"", flags=os.O_RDWR, limit=1 << 30):
        super().__init__(scheduler, flags)
        self.data = bytearray(data)
        self.limit = limit

    @property
    def seekable(self):
        return True

    async def read(self, size):
        data = await self.pread(size, self.position)
        self.position += len(data)
        return data

    async def write(self, data):
        done = await self.pwrite(data, self.position)
        self.position += done
        return done

    async def pread(self, size, offset):
        return bytes(self.data[offset : offset + size])

    async def pwrite(self, data, offset):
        if not self.limit:
            raise SyscallError(errno.ENOSPC)
        data = data[: self.limit]
        self.limit -= len(data)
        self.data[offset : offset + len(data)] = data
        return len(data)


@pytest.fixture
def pipes(thread):
    """Descriptors of two pipes: read, write, read, write."""
    return [thread.files.install(end) for _ in range(2) for end in make_pipe(thread.scheduler)]


def put(thread, file):
    return thread.files.install(file)


async def test_pipe_to_pipe(thread, pipes):
    first_in, first_out, second_in, second_out = pipes
    await thread.files.get(first_out).write(b"x" * 10_000)
    assert await splice(thread, first_in, NULL, second_out, NULL, 6000, 0) == 6000
    assert await thread.files.get(second_in).read(100_000) == b"x" * 6000
    assert await thread.files.get(first_in).read(100_000) == b"x" * 4000


async def test_tee_keeps_the_bytes(thread, pipes):
    first_in, first_out, second_in, second_out = pipes
    await thread.files.get(first_out).write(b"hello")
    assert await tee(thread, first_in, second_out, 3, 0) == 3
    assert await thread.files.get(second_in).read(10) == b"hel"
    assert await thread.files.get(first_in).read(10) == b"hello"


async def test_file_to_pipe_and_back(thread, pipes):
    reader, writer, *_ = pipes
    source = put(thread, Memory(thread.scheduler, bytes(range(200))))
    offset = PythonPointer(bytearray(struct.pack("<q", 10)))
    assert await splice(thread, source, offset, writer, NULL, 50, 0) == 50
    assert struct.unpack("<q", offset.data) == (60,)
    assert thread.files.get(source).position == 0
    assert await splice(thread, source, NULL, writer, NULL, 5, 0) == 5
    target = put(thread, Memory(thread.scheduler))
    assert await splice(thread, reader, NULL, target, NULL, 1000, 0) == 55
    assert thread.files.get(target).data == bytes(range(10, 60)) + bytes(range(5))
    assert thread.files.get(target).position == 55


async def test_end_of_file(thread, pipes):
    reader, writer, *_ = pipes
    source = put(thread, Memory(thread.scheduler))
    assert await splice(thread, source, NULL, writer, NULL, 50, 0) == 0
    thread.files.close(writer)
    assert await splice(thread, reader, NULL, source, NULL, 50, 0) == 0


async def test_what_the_target_does_not_take_stays_in_the_pipe(thread, pipes, fails):
    reader, writer, *_ = pipes
    await thread.files.get(writer).write(b"abcdef")
    target = put(thread, Memory(thread.scheduler, limit=2))
    assert await splice(thread, reader, NULL, target, NULL, 100, 0) == 2
    await fails(errno.ENOSPC, splice(thread, reader, NULL, target, NULL, 100, 0))
    assert await thread.files.get(reader).read(100) == b"cdef"


async def test_blocking(thread, pipes, blocked, fails):
    reader, writer, second_in, second_out = pipes
    await fails(errno.EAGAIN, splice(thread, reader, NULL, second_out, NULL, 10, SPLICE_F_NONBLOCK))
    task = await blocked(splice(thread, reader, NULL, second_out, NULL, 10, 0))
    await thread.files.get(writer).write(b"now")
    assert await task == 3
    while not thread.files.get(second_out).pipe.full:
        await thread.files.get(second_out).write(b"x" * PAGE)
    await thread.files.get(writer).write(b"more")
    await fails(errno.EAGAIN, tee(thread, reader, second_out, 10, SPLICE_F_NONBLOCK))
    task = await blocked(splice(thread, reader, NULL, second_out, NULL, 10, 0))
    await thread.files.get(second_in).read(2 * PAGE)
    assert await task == 4


async def test_splice_to_a_closed_pipe(thread, pipes, fails):
    reader, writer, second_in, second_out = pipes
    await thread.files.get(writer).write(b"x")
    thread.files.close(second_in)
    await fails(errno.EPIPE, splice(thread, reader, NULL, second_out, NULL, 10, 0))


async def test_arguments(thread, pipes, fails):
    reader, writer, _, second_out = pipes
    file = put(thread, Memory(thread.scheduler, b"x"))
    appending = put(thread, Memory(thread.scheduler, b"x", os.O_WRONLY | os.O_APPEND))
    event = put(thread, EventFd(thread.scheduler, 1, False))
    offset = PythonPointer(bytearray(8))
    await thread.files.get(writer).write(b"x")
    assert await splice(thread, 99, NULL, 98, NULL, 0, 0) == 0
    await fails(errno.EINVAL, splice(thread, reader, NULL, second_out, NULL, 1, 0x10))
    await fails(errno.EBADF, splice(thread, writer, NULL, second_out, NULL, 1, 0))
    await fails(errno.EINVAL, splice(thread, reader, NULL, writer, NULL, 1, 0))  # the same pipe
    await fails(errno.ESPIPE, splice(thread, reader, offset, file, NULL, 1, 0))
    await fails(errno.ESPIPE, splice(thread, file, NULL, writer, offset, 1, 0))
    await fails(errno.EINVAL, splice(thread, file, NULL, file, NULL, 1, 0))
    await fails(errno.EINVAL, splice(thread, reader, NULL, appending, NULL, 1, 0))
    await fails(errno.EINVAL, splice(thread, event, NULL, writer, NULL, 8, 0))
    await fails(errno.EINVAL, tee(thread, file, writer, 1, 0))
    await fails(errno.EBADF, vmsplice(thread, file, PythonBuffer(b"x"), 1, 0))


async def test_vmsplice_both_ways(thread, pipes):
    reader, writer, *_ = pipes
    assert await vmsplice(thread, writer, PythonBuffer(b"y" * 5000), 1, 0) == 5000
    target = PythonBuffer(bytearray(100))
    assert await vmsplice(thread, reader, target, 1, 0) == 100
    assert target.data == b"y" * 100
    assert await vmsplice(thread, writer, PythonBuffer(bytes(1 << 20)), 1, 0) == 14 * PAGE
