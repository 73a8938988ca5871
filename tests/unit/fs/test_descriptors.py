"""Descriptor tables, fcntl, locks."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.user import PythonPointer
from occlum_async.fs.fdtable import FdTable
from occlum_async.io.file import File
from occlum_async.process.kernel import Kernel
from occlum_async.sched.strand import Scheduler

from .conftest import AT_FDCWD, User, make_user

FLOCK = struct.Struct("<hhxxxxqqixxxx")
READ, WRITE, UNLOCK = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
GETLK, SETLK, SETLKW = 5, 6, 7
OFD_SETLK = 37


async def test_lowest_free_descriptor() -> None:
    table = FdTable(limit=8)
    file = File(Scheduler(asyncio.get_running_loop()), 0)
    assert [table.install(file) for _ in range(4)] == [0, 1, 2, 3]
    table.close(1)
    table.close(0)
    assert table.install(file, minimum=2) == 4
    assert [table.install(file), table.install(file), table.install(file)] == [0, 1, 5]
    table.replace(7, file, True)
    assert table.install(file) == 6
    with pytest.raises(SyscallError) as caught:
        table.install(file)
    assert caught.value.errno == errno.EMFILE
    copy = table.copy()
    assert file.users == 16
    copy.close_on_exec()
    assert [fd for fd, _ in copy.items()] == list(range(7))
    table.close_all()
    copy.close_all()
    assert file.users == 0
    assert copy.install(file) == 0


async def test_dup_family(root: User) -> None:
    await root.put(b"/f", b"abc")
    fd = await root.open(b"/f", os.O_RDONLY | os.O_CLOEXEC)
    assert await root.call("dup2", fd, fd) == fd
    assert await root.fcntl(fd, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
    assert await root.call("dup2", fd, 9) == 9
    assert await root.fcntl(9, fcntl.F_GETFD) == 0
    await root.fails(errno.EINVAL, "dup3", fd, fd, 0)
    await root.call("dup3", fd, 10, os.O_CLOEXEC)
    assert await root.fcntl(10, fcntl.F_GETFD) == 1
    assert await root.fcntl(fd, fcntl.F_DUPFD, 5) == 5
    await root.fails(errno.EINVAL, "fcntl", fd, fcntl.F_DUPFD, PythonPointer(None, 1 << 30))
    await root.fails(errno.EBADF, "dup2", fd, 1 << 30)
    await root.fails(errno.EBADF, "dup2", 99, 3)
    await root.call("close_range", 5, 9, 0)
    await root.call("close_range", 0, 0xFFFFFFFF, 4)
    assert [item for item, _ in root.thread.files.items()] == [0, 10]
    await root.fails(errno.EINVAL, "close_range", 3, 2, 0)


async def test_status_flags(root: User) -> None:
    fd = await root.open(b"/f", os.O_CREAT | os.O_RDWR)
    await root.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND | os.O_WRONLY)
    assert await root.fcntl(fd, fcntl.F_GETFL) & 0o7777 == os.O_RDWR | os.O_NONBLOCK | os.O_APPEND
    await root.call("ioctl", fd, 0x5421, PythonPointer(bytearray(4)))
    assert not await root.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
    await root.fails(errno.ENOTTY, "ioctl", fd, 0x5401, PythonPointer())
    await root.fails(errno.EINVAL, "fcntl", fd, 1024, PythonPointer())
    await root.fails(errno.EINVAL, "fcntl", fd, 9999, PythonPointer())
    assert await root.fcntl(fd, 1025) == UNLOCK


def lock(kind: int, start: int, length: int, whence: int = 0) -> PythonPointer:
    return PythonPointer(bytearray(FLOCK.pack(kind, whence, start, length, 0)))


async def lock_file(user: User) -> int:
    return await user.open(b"/lock", os.O_CREAT | os.O_RDWR, 0o666)


async def test_record_locks_split_and_merge(root: User, kernel: Kernel) -> None:
    other = make_user(kernel)
    mine, theirs = await lock_file(root), await lock_file(other)
    await root.call("fcntl", mine, SETLK, lock(WRITE, 0, 100))
    await root.call("fcntl", mine, SETLK, lock(UNLOCK, 40, 20))
    await other.call("fcntl", theirs, SETLK, lock(WRITE, 40, 20))
    await other.fails(errno.EAGAIN, "fcntl", theirs, SETLK, lock(READ, 39, 1))
    asked = lock(WRITE, 50, 0)
    await other.call("fcntl", theirs, GETLK, asked)
    assert FLOCK.unpack(asked.data) == (WRITE, 0, 60, 40, root.thread.process.pid)
    await root.fails(errno.EAGAIN, "fcntl", mine, SETLK, lock(READ, 0, 0))
    await other.call("fcntl", theirs, SETLK, lock(UNLOCK, 0, 0))
    await root.call("fcntl", mine, SETLK, lock(WRITE, 40, 20))
    await other.call("fcntl", theirs, GETLK, (asked := lock(READ, 0, 0)))
    assert FLOCK.unpack(asked.data)[:4] == (WRITE, 0, 0, 100)


async def test_closing_any_descriptor_gives_record_locks_up(root: User, kernel: Kernel) -> None:
    other = make_user(kernel)
    mine, twin, theirs = await lock_file(root), await lock_file(root), await lock_file(other)
    await root.call("fcntl", mine, SETLK, lock(WRITE, 0, 0))
    await other.fails(errno.EAGAIN, "fcntl", theirs, SETLK, lock(READ, 0, 1))
    await root.close(twin)
    await other.call("fcntl", theirs, SETLK, lock(READ, 0, 1))


async def test_waiting_for_a_record_lock_and_the_circle(root: User, kernel: Kernel) -> None:
    other = make_user(kernel)
    mine, theirs = await lock_file(root), await lock_file(other)
    await root.call("fcntl", mine, SETLK, lock(WRITE, 0, 1))
    await other.call("fcntl", theirs, SETLK, lock(WRITE, 1, 1))
    waiting = asyncio.ensure_future(root.call("fcntl", mine, SETLKW, lock(WRITE, 1, 1)))
    await asyncio.sleep(0)
    await other.fails(errno.EDEADLK, "fcntl", theirs, SETLKW, lock(WRITE, 0, 1))
    assert not waiting.done()
    await other.call("fcntl", theirs, SETLK, lock(UNLOCK, 1, 1))
    await waiting


async def test_ofd_locks_belong_to_the_description(root: User) -> None:
    one, two = await lock_file(root), await lock_file(root)
    twin = await root.call("dup", one)
    await root.call("fcntl", one, OFD_SETLK, lock(WRITE, 0, 0))
    await root.call("fcntl", twin, OFD_SETLK, lock(WRITE, 0, 5))
    await root.fails(errno.EAGAIN, "fcntl", two, OFD_SETLK, lock(READ, 0, 1))
    await root.close(one)
    await root.fails(errno.EAGAIN, "fcntl", two, OFD_SETLK, lock(READ, 0, 1))
    await root.close(twin)
    await root.call("fcntl", two, OFD_SETLK, lock(READ, 0, 1))


async def test_lock_arguments(root: User) -> None:
    fd = await root.open(b"/lock", os.O_CREAT | os.O_RDONLY)
    await root.fails(errno.EBADF, "fcntl", fd, SETLK, lock(WRITE, 0, 0))
    await root.fails(errno.EINVAL, "fcntl", fd, SETLK, lock(7, 0, 0))
    await root.fails(errno.EINVAL, "fcntl", fd, SETLK, lock(READ, -1, 0))
    await root.fails(errno.EINVAL, "fcntl", fd, SETLK, lock(READ, 0, 0, 5))
    await root.fails(errno.EOVERFLOW, "fcntl", fd, SETLK, lock(READ, (1 << 63) - 1, 2))
    await root.call("fcntl", fd, SETLK, lock(READ, 10, -5))


async def test_flock(root: User) -> None:
    one, two = await lock_file(root), await lock_file(root)
    await root.call("flock", one, fcntl.LOCK_SH)
    await root.call("flock", two, fcntl.LOCK_SH)
    await root.fails(errno.EAGAIN, "flock", one, fcntl.LOCK_EX | fcntl.LOCK_NB)
    await root.call("flock", two, fcntl.LOCK_UN)
    await root.call("flock", one, fcntl.LOCK_EX)
    waiting = asyncio.ensure_future(root.call("flock", two, fcntl.LOCK_EX))
    await asyncio.sleep(0)
    assert not waiting.done()
    await root.close(one)
    await waiting
    await root.fails(errno.EINVAL, "flock", two, 0)


async def test_open_at_the_limit_leaves_nothing_behind(root: User) -> None:
    root.thread.files.limit = 1
    fd = await root.open(b"/f", os.O_CREAT | os.O_RDWR)
    mount = root.thread.files.get(fd).location.mount
    before = mount.files
    await root.fails(errno.EMFILE, "openat", AT_FDCWD, b"/f", os.O_RDWR, 0)
    assert mount.files == before == 1
