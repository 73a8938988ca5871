"""How an embedder reaches the files of a LibOS: ``libos.fs``.

Paths are ``str``, seen from the root of the mounts. Errors are ``OSError`` and its subclasses, as those of
``os`` and ``pathlib``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..abi.errors import SyscallError
from ..abi.stat import Stat
from ..io.file import File
from ..sched.strand import Scheduler
from .attributes import change_mode
from .context import FsContext
from .credentials import Credentials
from .namei import FOLLOW, resolve
from .names import make_directory, make_symlink, remove_directory, remove_file, rename
from .namespace import MountNamespace
from .opening import open_path
from .regular import DirectoryFile

CHUNK = 1 << 20

P = ParamSpec("P")
R = TypeVar("R")


def _reporting(
    method: Callable[Concatenate[FileAccess, str, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[FileAccess, str, P], Coroutine[Any, Any, R]]:
    """Turn a ``SyscallError`` into the ``OSError`` that names the path."""

    @wraps(method)
    async def call(self: FileAccess, path: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await method(self, path, *args, **kwargs)
        except SyscallError as error:
            raise OSError(error.errno, os.strerror(error.errno), path) from None

    return call


class FileAccess:
    """The files of a LibOS, with the rights of ``credentials`` (all, unless told)."""

    def __init__(self, mounts: MountNamespace, scheduler: Scheduler, credentials: Credentials | None = None) -> None:
        self._mounts = mounts
        self.scheduler = scheduler
        self.credentials = credentials or Credentials()
        self._context = FsContext(mounts.root_location())

    @property
    def fs(self) -> FsContext:
        """Where this caller stands: always at the present root."""
        self._context.root = self._context.cwd = self._mounts.root_location()
        return self._context

    @asynccontextmanager
    async def _open(self, path: str, flags: int, mode: int = 0o666) -> AsyncIterator[File]:
        file = (await open_path(self, os.fsencode(path), flags, mode)).acquire()
        try:
            yield file
        finally:
            file.release()

    @_reporting
    async def read_bytes(self, path: str) -> bytes:
        """The content of a file."""
        pieces = []
        async with self._open(path, os.O_RDONLY) as file:
            while piece := await file.read(CHUNK):
                pieces.append(piece)
        return b"".join(pieces)

    @_reporting
    async def write_bytes(self, path: str, data: bytes, mode: int = 0o666) -> int:
        """Make a file with ``data`` in it, in place of what it held; the number of bytes."""
        view = memoryview(data)
        async with self._open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode) as file:
            while view:
                view = view[await file.write(view[:CHUNK]) :]
        return len(data)

    async def read_text(self, path: str, encoding: str = "utf-8") -> str:
        """The content of a text file."""
        return (await self.read_bytes(path)).decode(encoding)

    async def write_text(self, path: str, text: str, encoding: str = "utf-8") -> int:
        """Make a text file; the number of bytes."""
        return await self.write_bytes(path, text.encode(encoding))

    @_reporting
    async def listdir(self, path: str) -> list[str]:
        """The names in a directory, without "." and "..", sorted."""
        names: list[str] = []
        async with self._open(path, os.O_RDONLY | os.O_DIRECTORY) as file:
            assert isinstance(file, DirectoryFile)
            while packed := await file.list(CHUNK, lambda entry, _: entry.name + b"/"):
                names += [os.fsdecode(name) for name in packed.split(b"/") if name not in (b"", b".", b"..")]
        return sorted(names)

    @_reporting
    async def mkdir(self, path: str, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a directory, with those above it if ``parents``."""
        if parents:
            above = os.path.dirname(path.rstrip("/"))
            if above not in ("", "/") and not await self.exists(above):
                await self.mkdir(above, 0o777, parents=True, exist_ok=True)
        if exist_ok and await self.exists(path):
            return
        await make_directory(self, os.fsencode(path), mode)

    @_reporting
    async def remove(self, path: str) -> None:
        """Remove a file (not a directory)."""
        await remove_file(self, os.fsencode(path))

    @_reporting
    async def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        await remove_directory(self, os.fsencode(path))

    @_reporting
    async def rmtree(self, path: str) -> None:
        """Remove a directory with all that is in it; symbolic links are removed, not followed."""
        for name in await self.listdir(path):
            child = f"{path.rstrip('/')}/{name}"
            if (await self.stat(child, follow=False)).mode & 0o170000 == 0o040000:
                await self.rmtree(child)
            else:
                await self.remove(child)
        await self.rmdir(path)

    @_reporting
    async def rename(self, path: str, target: str) -> None:
        """Move a file or directory, in place of what has the name ``target``."""
        await rename(self, os.fsencode(path), os.fsencode(target))

    @_reporting
    async def stat(self, path: str, follow: bool = True) -> Stat:
        """Attributes."""
        location = await resolve(self, os.fsencode(path), None, FOLLOW if follow else 0)
        return await location.getattr()

    async def exists(self, path: str) -> bool:
        """Whether there is something at ``path`` (at the end of its symbolic links)."""
        try:
            await self.stat(path)
        except OSError:
            return False
        return True

    @_reporting
    async def symlink(self, path: str, target: str) -> None:
        """Make ``path`` a symbolic link to ``target``."""
        await make_symlink(self, os.fsencode(target), os.fsencode(path))

    @_reporting
    async def readlink(self, path: str) -> str:
        """The target of a symbolic link."""
        return os.fsdecode(await (await resolve(self, os.fsencode(path), None, 0)).inode.readlink())

    @_reporting
    async def chmod(self, path: str, mode: int) -> None:
        """Change the permission bits."""
        await change_mode(self, await resolve(self, os.fsencode(path)), mode)
