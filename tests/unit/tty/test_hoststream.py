"""HostStream: the host's pipes and files as open files."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import pathlib
from collections.abc import AsyncIterator

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.io.boundary.base import Boundary
from occlum_async.io.boundary.choose import open_boundary
from occlum_async.io.file import POLLHUP, POLLIN, POLLOUT
from occlum_async.io.hoststream import HostStream
from occlum_async.sched.strand import Scheduler


@pytest.fixture(params=["ocall", "auto"])
async def boundary(request: pytest.FixtureRequest) -> AsyncIterator[Boundary]:
    """Plain calls, and whatever the host allows at best."""
    opened = open_boundary(request.param, Scheduler(asyncio.get_running_loop()))
    yield opened
    await opened.shutdown()


async def test_a_blocked_read_gets_what_comes_later(boundary: Boundary) -> None:
    inner, outer = os.pipe()
    stream = HostStream(boundary, inner, os.O_RDONLY, owns=True)
    stream.acquire()
    reading = asyncio.create_task(stream.read(100))
    await asyncio.sleep(0)
    os.write(outer, b"late")
    assert await reading == b"late"
    os.close(outer)
    assert await stream.read(100) == b""
    assert stream.poll() & POLLHUP
    stream.release()
    with pytest.raises(OSError):
        os.fstat(inner)


async def test_nonblocking_is_its_own_affair(boundary: Boundary) -> None:
    inner, outer = os.pipe()
    stream = HostStream(boundary, inner, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(SyscallError) as caught:
        await stream.read(1)
    assert caught.value.errno == errno.EAGAIN
    assert not fcntl.fcntl(inner, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(inner)
    os.close(outer)


async def test_poll_wakes_when_the_host_has_something(boundary: Boundary) -> None:
    inner, outer = os.pipe()
    stream = HostStream(boundary, inner, os.O_RDONLY)
    assert not stream.poll() & POLLIN
    waiting = asyncio.create_task(stream.wait_for(POLLIN))
    await asyncio.sleep(0)
    os.write(outer, b"x")
    assert await waiting
    assert stream.poll() & POLLIN
    os.close(inner)
    os.close(outer)


async def test_a_full_pipe_takes_a_part_when_nonblocking(boundary: Boundary) -> None:
    inner, outer = os.pipe()
    stream = HostStream(boundary, outer, os.O_WRONLY | os.O_NONBLOCK)
    taken = await stream.write(bytes(1 << 20))
    assert 0 < taken <= 1 << 16
    assert not stream.poll() & POLLOUT
    with pytest.raises(SyscallError) as caught:
        await stream.write(b"x")
    assert caught.value.errno == errno.EAGAIN
    stream.close()
    os.close(inner)
    os.close(outer)


async def test_a_closed_pipe_is_epipe_with_its_signal(boundary: Boundary) -> None:
    inner, outer = os.pipe()
    os.close(inner)
    stream = HostStream(boundary, outer, os.O_WRONLY)
    with pytest.raises(SyscallError) as caught:
        await stream.write(b"x")
    assert (caught.value.errno, caught.value.signal) == (errno.EPIPE, 13)
    os.close(outer)


async def test_a_file_keeps_the_hosts_position(boundary: Boundary, tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    fd = os.open(tmp_path / "f", os.O_RDWR)
    stream = HostStream(boundary, fd, os.O_RDWR, owns=True)
    assert await stream.read(4) == b"0123"
    assert os.lseek(fd, 0, os.SEEK_CUR) == 4
    assert await stream.pread(2, 8) == b"89"
    assert await stream.seek(-1, os.SEEK_END) == 9
    assert await stream.write(b"XY") == 2
    assert (await stream.stat()).size == 11
    stream.close()
