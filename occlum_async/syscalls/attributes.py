"""Calls that change attributes: modes, owners, times, extended attributes."""

from __future__ import annotations

import errno
import struct
from typing import Annotated

from ..abi.errors import SyscallError
from ..abi.marshal import Fd, Int, OptionalPath, Path, Pointer, Size, StructIn, UInt
from ..abi.user import UserPointer
from ..fs import attributes
from ..fs.dentry import Location
from ..fs.namei import FOLLOW, resolve
from ..fs.regular import PathFile
from ..process.thread import Thread
from .at import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, check_flags, locate, location_of, start_of
from .table import syscall

TIMESPECS = struct.Struct("<4q")
TIMES = struct.Struct("<qq")


def _open_location(thread: Thread, fd: int) -> Location:
    """The place of a file that is open for more than O_PATH."""
    if isinstance(thread.files.get(fd), PathFile):
        raise SyscallError(errno.EBADF)
    return location_of(thread, fd)


# -- mode and owner --------------------------------------------------------------


@syscall(90)
async def chmod(thread: Thread, path: Path, mode: UInt) -> None:
    await attributes.change_mode(thread, await resolve(thread, path), mode)


@syscall(91)
async def fchmod(thread: Thread, fd: Fd, mode: UInt) -> None:
    await attributes.change_mode(thread, _open_location(thread, fd), mode)


@syscall(268)
async def fchmodat(thread: Thread, dirfd: Fd, path: Path, mode: UInt) -> None:
    await attributes.change_mode(thread, await resolve(thread, path, start_of(thread, dirfd, path)), mode)


@syscall(452)
async def fchmodat2(thread: Thread, dirfd: Fd, path: Path, mode: UInt, flags: UInt) -> None:
    check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    await attributes.change_mode(thread, await locate(thread, dirfd, path, flags), mode)


@syscall(92)
async def chown(thread: Thread, path: Path, uid: UInt, gid: UInt) -> None:
    await attributes.change_owner(thread, await resolve(thread, path), uid, gid)


@syscall(93)
async def fchown(thread: Thread, fd: Fd, uid: UInt, gid: UInt) -> None:
    await attributes.change_owner(thread, _open_location(thread, fd), uid, gid)


@syscall(94)
async def lchown(thread: Thread, path: Path, uid: UInt, gid: UInt) -> None:
    await attributes.change_owner(thread, await resolve(thread, path, None, 0), uid, gid)


@syscall(260)
async def fchownat(thread: Thread, dirfd: Fd, path: Path, uid: UInt, gid: UInt, flags: Int) -> None:
    check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    await attributes.change_owner(thread, await locate(thread, dirfd, path, flags), uid, gid)


# -- times -----------------------------------------------------------------------


@syscall(280)
async def utimensat(
    thread: Thread, dirfd: Fd, path: OptionalPath, times: Annotated[UserPointer, StructIn(32)], flags: Int
) -> None:
    check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    atime = mtime = None
    if times:
        values = times.unpack(TIMESPECS)
        atime, mtime = (values[0], values[1]), (values[2], values[3])
    if path is None:
        if flags:
            raise SyscallError(errno.EINVAL)
        location = _open_location(thread, dirfd)
    else:
        location = await locate(thread, dirfd, path, flags)
    await attributes.change_times(thread, location, atime, mtime)


async def _utimes(thread: Thread, dirfd: int, path: bytes | None, times: UserPointer) -> None:
    atime = mtime = None
    if times:
        values = times.unpack(TIMESPECS)
        if not 0 <= values[1] < 10**6 or not 0 <= values[3] < 10**6:
            raise SyscallError(errno.EINVAL)
        atime, mtime = (values[0], values[1] * 1000), (values[2], values[3] * 1000)
    location = location_of(thread, dirfd) if path is None else await locate(thread, dirfd, path, 0)
    await attributes.change_times(thread, location, atime, mtime)


@syscall(132)
async def utime(thread: Thread, path: Path, times: Annotated[UserPointer, StructIn(16)]) -> None:
    location = await resolve(thread, path)
    atime = mtime = None
    if times:
        seconds = times.unpack(TIMES)
        atime, mtime = (seconds[0], 0), (seconds[1], 0)
    await attributes.change_times(thread, location, atime, mtime)


@syscall(235)
async def utimes(thread: Thread, path: Path, times: Annotated[UserPointer, StructIn(32)]) -> None:
    await _utimes(thread, AT_FDCWD, path, times)


@syscall(261)
async def futimesat(thread: Thread, dirfd: Fd, path: OptionalPath, times: Annotated[UserPointer, StructIn(32)]) -> None:
    await _utimes(thread, dirfd, path, times)


# -- extended attributes ---------------------------------------------------------


def _attribute(name: UserPointer) -> bytes:
    """The name of an extended attribute; ERANGE when it is empty or too long."""
    try:
        text = name.string(attributes.XATTR_NAME_MAX + 1)
    except SyscallError as error:
        raise SyscallError(errno.ERANGE if error.errno == errno.ENAMETOOLONG else error.errno) from None
    if not text:
        raise SyscallError(errno.ERANGE)
    return text


async def _set(
    thread: Thread, location: Location, name: UserPointer, value: UserPointer, size: int, flags: int
) -> None:
    if size > attributes.XATTR_SIZE_MAX:
        raise SyscallError(errno.E2BIG)
    data = value.read(size) if size else b""
    await attributes.set_xattr(thread, location, _attribute(name), data, flags)


def _give(data: bytes, target: UserPointer, size: int) -> int:
    """Hand out a value, or its size when the user asks with a size of 0; ERANGE."""
    if size:
        if len(data) > size:
            raise SyscallError(errno.ERANGE)
        if data:
            target.write(data)
    return len(data)


async def _get(thread: Thread, location: Location, name: UserPointer, value: UserPointer, size: int) -> int:
    return _give(await attributes.get_xattr(thread, location, _attribute(name)), value, size)


async def _list(thread: Thread, location: Location, names: UserPointer, size: int) -> int:
    return _give(await attributes.list_xattrs(thread, location), names, size)


@syscall(188)
async def setxattr(thread: Thread, path: Path, name: Pointer, value: Pointer, size: Size, flags: Int) -> None:
    await _set(thread, await resolve(thread, path), name, value, size, flags)


@syscall(189)
async def lsetxattr(thread: Thread, path: Path, name: Pointer, value: Pointer, size: Size, flags: Int) -> None:
    await _set(thread, await resolve(thread, path, None, 0), name, value, size, flags)


@syscall(190)
async def fsetxattr(thread: Thread, fd: Fd, name: Pointer, value: Pointer, size: Size, flags: Int) -> None:
    await _set(thread, _open_location(thread, fd), name, value, size, flags)


@syscall(191)
async def getxattr(thread: Thread, path: Path, name: Pointer, value: Pointer, size: Size) -> int:
    return await _get(thread, await resolve(thread, path), name, value, size)


@syscall(192)
async def lgetxattr(thread: Thread, path: Path, name: Pointer, value: Pointer, size: Size) -> int:
    return await _get(thread, await resolve(thread, path, None, 0), name, value, size)


@syscall(193)
async def fgetxattr(thread: Thread, fd: Fd, name: Pointer, value: Pointer, size: Size) -> int:
    return await _get(thread, _open_location(thread, fd), name, value, size)


@syscall(194)
async def listxattr(thread: Thread, path: Path, names: Pointer, size: Size) -> int:
    return await _list(thread, await resolve(thread, path), names, size)


@syscall(195)
async def llistxattr(thread: Thread, path: Path, names: Pointer, size: Size) -> int:
    return await _list(thread, await resolve(thread, path, None, 0), names, size)


@syscall(196)
async def flistxattr(thread: Thread, fd: Fd, names: Pointer, size: Size) -> int:
    return await _list(thread, _open_location(thread, fd), names, size)


@syscall(197)
async def removexattr(thread: Thread, path: Path, name: Pointer) -> None:
    await attributes.remove_xattr(thread, await resolve(thread, path, None, FOLLOW), _attribute(name))


@syscall(198)
async def lremovexattr(thread: Thread, path: Path, name: Pointer) -> None:
    await attributes.remove_xattr(thread, await resolve(thread, path, None, 0), _attribute(name))


@syscall(199)
async def fremovexattr(thread: Thread, fd: Fd, name: Pointer) -> None:
    await attributes.remove_xattr(thread, _open_location(thread, fd), _attribute(name))
