"""Which code stands behind a device number."""

from __future__ import annotations

import errno
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..abi.errors import SyscallError
from ..abi.stat import S_IFCHR, split_device

if TYPE_CHECKING:
    from ..io.file import File
    from .inode import Inode

# (inode, open flags, calling thread) -> the open file, or an awaitable of it.
Opener = Callable[["Inode", int, Any], "File | Awaitable[File]"]

_openers: dict[int, Opener] = {}
_majors: dict[int, Opener] = {}


def register_device(rdev: int, opener: Opener) -> None:
    """Let ``opener`` open the character device nodes of number ``rdev`` (see ``abi.stat.makedev``)."""
    _openers[rdev] = opener


def register_major(major: int, opener: Opener) -> None:
    """Let ``opener`` open every character device of that major number that has no opener of its own."""
    _majors[major] = opener


async def open_device(inode: Inode, flags: int, thread: Any) -> File:
    """Open a device node; ENXIO when nothing stands behind its number."""
    opener = None
    if inode.format == S_IFCHR:
        opener = _openers.get(inode.rdev) or _majors.get(split_device(inode.rdev)[0])
    if opener is None:
        raise SyscallError(errno.ENXIO)
    opened = opener(inode, flags, thread)
    file: File = await opened if inspect.isawaitable(opened) else opened
    return file
