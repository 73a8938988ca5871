"""A kernel whose root is a file system in memory, and a user who calls its system calls."""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import struct
from importlib import import_module
from typing import Any

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.stat import STAT
from occlum_async.abi.user import PythonBuffer, PythonPointer
from occlum_async.fs.context import FsContext
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.fdtable import FdTable
from occlum_async.fs.namespace import MountNamespace
from occlum_async.fs.ramfs import RamFs
from occlum_async.process.kernel import Config, Kernel
from occlum_async.process.thread import Thread
from occlum_async.sched.strand import Scheduler
from occlum_async.syscalls.table import TABLE

AT_FDCWD = -100
for family in ("attributes", "copying", "descriptors", "directory", "file", "inotify", "mounts", "names", "stat"):
    import_module(f"occlum_async.syscalls.{family}")
CALLS = {declaration.name: declaration for declaration in TABLE.values()}


class User:
    """Calls system calls of one thread with Python's values; a failure is an ``OSError``."""

    def __init__(self, thread: Thread) -> None:
        self.thread = thread

    async def call(self, name: str, *args: Any) -> Any:
        try:
            result = CALLS[name].handler(self.thread, *args)
            return await result if inspect.isawaitable(result) else result
        except SyscallError as error:
            raise OSError(error.errno, os.strerror(error.errno)) from error

    async def open(self, path: bytes, flags: int = os.O_RDONLY, mode: int = 0o666, dirfd: int = AT_FDCWD) -> int:
        return await self.call("openat", dirfd, path, flags, mode)

    async def close(self, fd: int) -> None:
        await self.call("close", fd)

    async def read(self, fd: int, size: int = 1 << 16) -> bytes:
        data = bytearray(size)
        return bytes(data[: await self.call("read", fd, PythonBuffer(data), size)])

    async def pread(self, fd: int, size: int, offset: int) -> bytes:
        data = bytearray(size)
        return bytes(data[: await self.call("pread64", fd, PythonBuffer(data), size, offset)])

    async def write(self, fd: int, data: bytes) -> int:
        return await self.call("write", fd, PythonBuffer(data), len(data))

    async def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        return await self.call("pwrite64", fd, PythonBuffer(data), len(data), offset)

    async def put(self, path: bytes, data: bytes = b"", mode: int = 0o666) -> None:
        fd = await self.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        await self.write(fd, data)
        await self.close(fd)

    async def get(self, path: bytes) -> bytes:
        fd = await self.open(path)
        data = await self.read(fd, 1 << 21)
        await self.close(fd)
        return data

    async def stat(self, path: bytes, follow: bool = True) -> os.stat_result:
        target = PythonPointer(bytearray(144))
        await self.call("stat" if follow else "lstat", path, target)
        return unpack_stat(target)

    async def fstat(self, fd: int) -> os.stat_result:
        target = PythonPointer(bytearray(144))
        await self.call("fstat", fd, target)
        return unpack_stat(target)

    async def listdir(self, path: bytes) -> list[bytes]:
        fd = await self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        names = [name for name in await self.dents(fd) if name not in (b".", b"..")]
        await self.close(fd)
        return sorted(names)

    async def dents(self, fd: int, size: int = 4096, once: bool = False) -> list[bytes]:
        names: list[bytes] = []
        while True:
            data = bytearray(size)
            length = await self.call("getdents64", fd, PythonBuffer(data), size)
            offset = 0
            while offset < length:
                record = struct.unpack_from("<H", data, offset + 16)[0]
                names.append(bytes(data[offset + 19 : offset + record]).rstrip(b"\0"))
                offset += record
            if not length or once:
                return names

    async def readlink(self, path: bytes) -> bytes:
        data = bytearray(4096)
        return bytes(data[: await self.call("readlink", path, PythonBuffer(data), 4096)])

    async def fcntl(self, fd: int, command: int, argument: int = 0) -> int:
        return await self.call("fcntl", fd, command, PythonPointer(None, argument))

    async def getcwd(self) -> bytes:
        data = bytearray(4096)
        return bytes(data[: await self.call("getcwd", PythonBuffer(data), 4096) - 1])

    async def fails(self, number: int, name: str, *args: Any) -> None:
        """Assert that the call fails with the errno ``number``."""
        with pytest.raises(OSError) as caught:
            await self.call(name, *args)
        assert errno.errorcode[caught.value.errno] == errno.errorcode[number]


def unpack_stat(pointer: PythonPointer) -> os.stat_result:
    dev, ino, nlink, mode, uid, gid, _, size, _, blocks, *times = STAT.unpack(bytes(pointer.data))
    seconds = times[0], times[2], times[4]
    values = {
        "st_blocks": blocks,
        "st_mtime_ns": times[2] * 10**9 + times[3],
        "st_atime_ns": times[0] * 10**9 + times[1],
    }
    return os.stat_result((mode, ino, dev, nlink, uid, gid, size, *seconds), values)


@pytest.fixture
async def kernel() -> Kernel:
    kernel = Kernel(Scheduler(asyncio.get_running_loop()), Config(pids=50))
    kernel.mounts = MountNamespace(RamFs(mode=0o755))
    kernel.create_init(FdTable(), FsContext(kernel.mounts.root_location()))
    return kernel


def make_user(kernel: Kernel, uid: int = 0) -> User:
    context = FsContext(kernel.mounts.root_location())
    thread = kernel.create_process(b"test", Credentials.of(uid, uid), FdTable(), context)
    return User(thread)


@pytest.fixture
async def root(kernel: Kernel) -> User:
    return make_user(kernel)


@pytest.fixture
async def alice(kernel: Kernel) -> User:
    return make_user(kernel, 1000)


@pytest.fixture
async def bob(kernel: Kernel) -> User:
    return make_user(kernel, 1001)
