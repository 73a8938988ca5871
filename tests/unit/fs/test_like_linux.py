"""Random calls on the file system in memory and on the host's tmpfs must come out the same."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import multiprocessing
import os
import shutil
import tempfile
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from occlum_async.fs.context import FsContext
from occlum_async.fs.fdtable import FdTable
from occlum_async.fs.namespace import MountNamespace
from occlum_async.fs.ramfs import RamFs
from occlum_async.process.kernel import Config, Kernel
from occlum_async.sched.strand import Scheduler

from .conftest import AT_FDCWD, User, make_user

SHM = "/dev/shm"
libc = ctypes.CDLL(None, use_errno=True)

name = st.sampled_from([b"a", b"b", b"c"])
path = st.lists(st.sampled_from([b"a", b"b", b"c", b"a", b".", b"..", b"a/"]), min_size=1, max_size=4).map(b"/".join)
inside = path.map(lambda text: b"/p/q/" + text)
target = st.one_of(name, st.tuples(name, name).map(b"/".join), st.tuples(st.just(b".."), name).map(b"/".join))
operation = st.one_of(
    st.tuples(st.just("mkdir"), inside, st.sampled_from([0o755, 0o700])),
    st.tuples(st.just("rmdir"), inside),
    st.tuples(st.just("put"), inside, st.binary(max_size=8), st.sampled_from([0, os.O_EXCL, os.O_APPEND, os.O_TRUNC])),
    st.tuples(st.just("get"), inside),
    st.tuples(st.just("unlink"), inside),
    st.tuples(st.just("rename"), inside, inside, st.sampled_from([0, 0, 1, 2])),
    st.tuples(st.just("link"), inside, inside),
    st.tuples(st.just("symlink"), target, inside),
    st.tuples(st.just("truncate"), inside, st.integers(0, 5000)),
    st.tuples(st.just("chmod"), inside, st.integers(0, 0o1777)),
    st.tuples(st.just("list"), inside),
)


class Linux:
    """The host's file system, by a process whose root is the test's folder: no path leads out of it."""

    def __init__(self, base: bytes) -> None:
        context = multiprocessing.get_context("fork")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, base), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, call: str, *args: Any) -> Any:
        self._connection.send((call, args))
        assert self._connection.poll(30), "no answer"
        return self._connection.recv()

    def close(self) -> None:
        self._connection.send(None)
        self._process.join(30)


def _serve(connection: Connection, base: bytes) -> None:
    os.chroot(base)
    os.chdir("/")
    os.umask(0o022)
    calls = Calls()
    while (message := connection.recv()) is not None:
        call, args = message
        try:
            connection.send(getattr(calls, call)(*args))
        except OSError as error:
            connection.send(errno.errorcode[error.errno])


class Calls:
    """What is called, with absolute paths."""

    def mkdir(self, path: bytes, mode: int) -> None:
        os.mkdir(path, mode)

    def rmdir(self, path: bytes) -> None:
        os.rmdir(path)

    def put(self, path: bytes, data: bytes, flags: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
        os.write(fd, data)
        os.close(fd)

    def get(self, path: bytes) -> bytes:
        fd = os.open(path, os.O_RDONLY)
        try:
            return os.read(fd, 10000)
        finally:
            os.close(fd)

    def unlink(self, path: bytes) -> None:
        os.unlink(path)

    def rename(self, old: bytes, new: bytes, flags: int) -> None:
        if libc.renameat2(AT_FDCWD, old, AT_FDCWD, new, flags):
            raise OSError(ctypes.get_errno(), "")

    def link(self, old: bytes, new: bytes) -> None:
        if libc.linkat(AT_FDCWD, old, AT_FDCWD, new, 0):
            raise OSError(ctypes.get_errno(), "")

    def symlink(self, target: bytes, path: bytes) -> None:
        os.symlink(target, path)

    def truncate(self, path: bytes, size: int) -> None:
        os.truncate(path, size)

    def chmod(self, path: bytes, mode: int) -> None:
        os.chmod(path, mode)

    def list(self, path: bytes) -> list[bytes]:
        return sorted(os.listdir(path))

    def tree(self) -> dict[bytes, tuple[Any, ...]]:
        found = {}
        for where, directories, files in os.walk(b"/"):
            for item in directories + files:
                full = os.path.join(where, item)
                info = os.lstat(full)
                found[full] = (info.st_mode, info.st_nlink, info.st_size if item in files else 0)
        return found


class Inside:
    """The same calls inside the LibOS."""

    def __init__(self, user: User) -> None:
        self.user = user

    async def run(self, call: str, *args: Any) -> Any:
        user = self.user
        try:
            if call == "put":
                fd = await user.open(args[0], os.O_WRONLY | os.O_CREAT | args[2], 0o644)
                await user.write(fd, args[1])
                return await user.close(fd)
            if call == "get":
                return await user.get(args[0])
            if call == "list":
                return await user.listdir(args[0])
            if call == "rename":
                return await user.call("renameat2", AT_FDCWD, args[0], AT_FDCWD, args[1], args[2])
            if call == "symlink":
                return await user.call("symlink", args[0], args[1])
            return await user.call(call, *args)
        except OSError as error:
            return errno.errorcode[error.errno]

    async def tree(self, where: bytes = b"/") -> dict[bytes, tuple[Any, ...]]:
        found = {}
        for item in await self.user.listdir(where):
            full = os.path.join(where, item)
            info = await self.user.stat(full, follow=False)
            is_dir = info.st_mode & 0o170000 == 0o040000
            link_to_dir = False
            if info.st_mode & 0o170000 == 0o120000:
                with suppress(OSError):
                    link_to_dir = (await self.user.stat(full)).st_mode & 0o170000 == 0o040000
            found[full] = (info.st_mode, info.st_nlink, 0 if is_dir or link_to_dir else info.st_size)
            if is_dir:
                found |= await self.tree(full)
        return found


def on_tmpfs() -> bool:
    with open("/proc/mounts") as mounts:
        return any(line.split()[1:3] == [SHM, "tmpfs"] for line in mounts)


@pytest.mark.skipif(not on_tmpfs() or os.getuid() != 0, reason="needs a tmpfs and root as the model")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(operation, max_size=40))
def test_same_results_and_same_tree(operations: list[tuple[Any, ...]]) -> None:
    base = tempfile.mkdtemp(dir=SHM).encode()
    linux = Linux(base)
    try:
        asyncio.run(_compare(linux, operations))
    finally:
        linux.close()
        shutil.rmtree(base)


async def _compare(linux: Linux, operations: list[tuple[Any, ...]]) -> None:
    kernel = Kernel(Scheduler(asyncio.get_running_loop()), Config(pids=50))
    kernel.mounts = MountNamespace(RamFs(mode=0o755))
    kernel.create_init(FdTable(), FsContext(kernel.mounts.root_location()))
    user = make_user(kernel)
    inside = Inside(user)
    operations = [("mkdir", b"/p", 0o755), ("mkdir", b"/p/q", 0o755), *operations]
    for step in operations:
        theirs, ours = linux.run(*step), await inside.run(*step)
        assert ours == theirs or (ours, theirs) == (0, None), step
    assert await inside.tree() == linux.run("tree")
