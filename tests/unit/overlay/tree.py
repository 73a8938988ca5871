"""The same operations on a native directory and on a tree of the LibOS, with comparable outcomes."""

from __future__ import annotations

import errno
import os
import stat as modes
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.attributes import change_mode, truncate
from occlum_async.fs.context import FsContext
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.dentry import CACHE
from occlum_async.fs.namei import resolve
from occlum_async.fs.names import (
    make_directory,
    make_link,
    make_symlink,
    remove_directory,
    remove_file,
    rename,
)
from occlum_async.fs.namespace import MountNamespace
from occlum_async.fs.opening import open_path
from occlum_async.sched.strand import Scheduler

Outcome = tuple[str, Any]
EXCHANGE = 2


class InsideTree:
    """A tree of the LibOS, as root sees it. ``cold``: nothing is cached from one operation to the next."""

    def __init__(self, mounts: MountNamespace, scheduler: Scheduler) -> None:
        self.cold = False
        self.fs = FsContext(mounts.root_location(), umask=0o022)
        self.credentials = Credentials()
        self.scheduler = scheduler

    async def do(self, operation: str, *arguments: Any) -> Outcome:
        if self.cold:
            forget_names()
        method: Callable[..., Awaitable[Any]] = getattr(self, operation)
        try:
            return "ok", await method(*(a.encode() if isinstance(a, str) else a for a in arguments))
        except SyscallError as error:
            return "error", errno.errorcode[error.errno]

    async def _inode(self, path: bytes) -> Any:
        return (await resolve(self, path, None, 0)).inode

    async def write(self, path: bytes, data: bytes) -> int:
        return await self._put(path, data, os.O_CREAT | os.O_TRUNC)

    async def append(self, path: bytes, data: bytes) -> int:
        return await self._put(path, data, os.O_APPEND)

    async def _put(self, path: bytes, data: bytes, flags: int) -> int:
        file = (await open_path(self, path, os.O_WRONLY | flags, 0o644)).acquire()
        try:
            return await file.write(data)
        finally:
            file.release()

    async def read(self, path: bytes) -> bytes:
        file = (await open_path(self, path, os.O_RDONLY)).acquire()
        try:
            return await file.read(1 << 16)
        finally:
            file.release()

    async def stat(self, path: bytes) -> tuple[str, int, int]:
        answer = await (await self._inode(path)).getattr()
        return described(answer.mode, answer.nlink, answer.size)

    async def listdir(self, path: bytes) -> list[bytes]:
        directory = (await resolve(self, path)).inode
        names: list[bytes] = []
        cookie = 0
        while entries := await directory.readdir(cookie):
            cookie = entries[-1].cookie
            names += [entry.name for entry in entries]
        assert len(names) == len(set(names))
        return sorted(names)

    async def unlink(self, path: bytes) -> None:
        await remove_file(self, path)

    async def mkdir(self, path: bytes) -> None:
        await make_directory(self, path, 0o755)

    async def rmdir(self, path: bytes) -> None:
        await remove_directory(self, path)

    async def rename(self, old: bytes, new: bytes) -> None:
        await rename(self, old, new)

    async def exchange(self, old: bytes, new: bytes) -> None:
        await rename(self, old, new, flags=EXCHANGE)

    async def link(self, old: bytes, new: bytes) -> None:
        await make_link(self, await resolve(self, old, None, 0), new)

    async def symlink(self, target: bytes, path: bytes) -> None:
        await make_symlink(self, target, path)

    async def readlink(self, path: bytes) -> bytes:
        inode = await self._inode(path)
        return await inode.readlink()

    async def chmod(self, path: bytes, mode: int) -> None:
        await change_mode(self, await resolve(self, path), mode)

    async def truncate(self, path: bytes, size: int) -> None:
        await truncate(self, await resolve(self, path), size)

    async def setxattr(self, path: bytes, name: bytes, value: bytes) -> None:
        await (await self._inode(path)).setxattr(name, value, 0)

    async def getxattr(self, path: bytes, name: bytes) -> bytes:
        return await (await self._inode(path)).getxattr(name)


def forget_names() -> None:
    """Empty the cache of dentries, and with it of all inodes that nobody uses."""
    for dentry in list(CACHE._ring):
        CACHE.drop(dentry)


def described(mode: int, nlink: int, size: int) -> tuple[str, int, int]:
    """What must agree: a directory's size and number of links are each file system's own business."""
    if modes.S_ISDIR(mode):
        return modes.filemode(mode), 0, 0
    return modes.filemode(mode), nlink, size


class NativeTree:
    """A directory of the host."""

    def __init__(self, root: Path) -> None:
        self.root = os.fsencode(root)

    def do(self, operation: str, *arguments: Any) -> Outcome:
        try:
            return "ok", getattr(self, operation)(*(a.encode() if isinstance(a, str) else a for a in arguments))
        except OSError as error:
            return "error", errno.errorcode[error.errno or 0]

    def at(self, path: bytes) -> bytes:
        return self.root + path

    def write(self, path: bytes, data: bytes) -> int:
        return self._put(path, data, os.O_CREAT | os.O_TRUNC)

    def append(self, path: bytes, data: bytes) -> int:
        return self._put(path, data, os.O_APPEND)

    def _put(self, path: bytes, data: bytes, flags: int) -> int:
        fd = os.open(self.at(path), os.O_WRONLY | flags, 0o644)
        try:
            return os.write(fd, data)
        finally:
            os.close(fd)

    def read(self, path: bytes) -> bytes:
        fd = os.open(self.at(path), os.O_RDONLY)
        try:
            return os.read(fd, 1 << 16)
        finally:
            os.close(fd)

    def stat(self, path: bytes) -> tuple[str, int, int]:
        answer = os.lstat(self.at(path))
        return described(answer.st_mode, answer.st_nlink, answer.st_size)

    def listdir(self, path: bytes) -> list[bytes]:
        return sorted(os.listdir(self.at(path)))

    def unlink(self, path: bytes) -> None:
        os.unlink(self.at(path))

    def mkdir(self, path: bytes) -> None:
        os.mkdir(self.at(path), 0o755)

    def rmdir(self, path: bytes) -> None:
        os.rmdir(self.at(path))

    def rename(self, old: bytes, new: bytes) -> None:
        os.rename(self.at(old), self.at(new))

    def exchange(self, old: bytes, new: bytes) -> None:
        from occlum_async.io.boundary.calls import HostCalls
        from occlum_async.io.boundary.counters import Counters

        try:
            HostCalls(Counters()).rename(-100, self.at(old), -100, self.at(new), EXCHANGE)
        except SyscallError as error:
            raise OSError(error.errno, "") from None

    def link(self, old: bytes, new: bytes) -> None:
        os.link(self.at(old), self.at(new), follow_symlinks=False)

    def symlink(self, target: bytes, path: bytes) -> None:
        os.symlink(target, self.at(path))

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(self.at(path))

    def chmod(self, path: bytes, mode: int) -> None:
        os.chmod(self.at(path), mode)

    def truncate(self, path: bytes, size: int) -> None:
        os.truncate(self.at(path), size)

    def setxattr(self, path: bytes, name: bytes, value: bytes) -> None:
        os.setxattr(self.at(path), name, value)

    def getxattr(self, path: bytes, name: bytes) -> bytes:
        return os.getxattr(self.at(path), name)
