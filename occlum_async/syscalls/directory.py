"""Directories: listing them, and standing in them."""

from __future__ import annotations

import errno
import struct
from typing import Annotated

from ..abi.errors import SyscallError
from ..abi.marshal import Buffer, Fd, Out, Path, Size, UInt
from ..abi.user import UserBuffer
from ..fs.credentials import CAP_SYS_CHROOT
from ..fs.dentry import Location
from ..fs.inode import DirEntry
from ..fs.namei import DIRECTORY, FOLLOW, resolve
from ..fs.permissions import MAY_EXEC, check
from ..fs.regular import DirectoryFile, PathFile
from ..process.thread import Thread
from .at import location_of
from .table import syscall

DIRENT64 = struct.Struct("<QqHB")
DIRENT = struct.Struct("<QQH")
_NAME_AT = DIRENT64.size
# One call lists at most this many bytes, as glibc asks for: so that no call holds much, nor others up.
LISTING = 1 << 15


def _pack64(entry: DirEntry, position: int) -> bytes:
    """``struct linux_dirent64``."""
    length = (_NAME_AT + len(entry.name) + 1 + 7) & ~7
    head = DIRENT64.pack(entry.ino, position, length, entry.type >> 12)
    return (head + entry.name).ljust(length, b"\0")


def _pack(entry: DirEntry, position: int) -> bytes:
    """``struct linux_dirent``, whose type stands in its last byte."""
    length = (DIRENT.size + len(entry.name) + 2 + 7) & ~7
    head = DIRENT.pack(entry.ino, position, length)
    return (head + entry.name).ljust(length - 1, b"\0") + bytes((entry.type >> 12,))


def _directory(thread: Thread, fd: int) -> DirectoryFile:
    file = thread.files.get(fd)
    if isinstance(file, PathFile):
        raise SyscallError(errno.EBADF)
    if not isinstance(file, DirectoryFile):
        raise SyscallError(errno.ENOTDIR)
    return file


async def _list(thread: Thread, fd: int, buf: UserBuffer, count: int, old: bool) -> int:
    data = await _directory(thread, fd).list(min(count, LISTING), _pack if old else _pack64)
    buf.write(data)
    return len(data)


@syscall(78)
async def getdents(thread: Thread, fd: Fd, buf: Annotated[Buffer, Out("count")], count: UInt) -> int:
    return await _list(thread, fd, buf, count, old=True)


@syscall(217)
async def getdents64(thread: Thread, fd: Fd, buf: Annotated[Buffer, Out("count")], count: UInt) -> int:
    return await _list(thread, fd, buf, count, old=False)


@syscall(79)
def getcwd(thread: Thread, buf: Annotated[Buffer, Out("size")], size: Size) -> int:
    cwd, root = thread.fs.cwd, thread.fs.root
    if cwd.dentry.deleted:
        raise SyscallError(errno.ENOENT)
    path = cwd.path(root)
    if not cwd.reachable(root):
        path = b"(unreachable)" + path
    if len(path) + 1 > size:
        raise SyscallError(errno.ERANGE)
    buf.write(path + b"\0")
    return len(path) + 1


def _enter(thread: Thread, location: Location) -> None:
    if not location.inode.is_dir:
        raise SyscallError(errno.ENOTDIR)
    check(location.inode, thread.credentials, MAY_EXEC)
    thread.fs.cwd = location


@syscall(80)
async def chdir(thread: Thread, path: Path) -> None:
    _enter(thread, await resolve(thread, path, None, FOLLOW | DIRECTORY))


@syscall(81)
def fchdir(thread: Thread, fd: Fd) -> None:
    if thread.files.get(fd).location is None:
        raise SyscallError(errno.ENOTDIR)
    _enter(thread, location_of(thread, fd))


@syscall(161)
async def chroot(thread: Thread, path: Path) -> None:
    location = await resolve(thread, path, None, FOLLOW | DIRECTORY)
    check(location.inode, thread.credentials, MAY_EXEC)
    if not thread.credentials.capable(CAP_SYS_CHROOT):
        raise SyscallError(errno.EPERM)
    thread.fs.root = location
