"""Asking for attributes: the stat family, access, readlink, statfs."""

from __future__ import annotations

import errno
import struct
from typing import Annotated

from ..abi.errors import SyscallError
from ..abi.marshal import Buffer, Fd, Int, Out, Path, StructOut, UInt
from ..abi.stat import Stat
from ..abi.user import UserBuffer, UserPointer
from ..fs.attributes import check_access
from ..fs.dentry import Location
from ..fs.mount import MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_RELATIME
from ..fs.namei import FOLLOW, resolve
from ..process.thread import Thread
from .at import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_SYMLINK_NOFOLLOW,
    check_flags,
    locate,
    start_of,
)
from .table import syscall

STATFS = struct.Struct("<qqQQQQQiiqqq32x")
ST_VALID, ST_RELATIME = 0x20, 0x1000
STATX_RESERVED, STATX_SYNC = 0x80000000, 0x6000
# statfs(2)'s f_flags for mount(2)'s flags.
ST_FLAGS = (
    (MS_RDONLY, 1), (MS_NOSUID, 2), (MS_NODEV, 4), (MS_NOEXEC, 8),
    (MS_NOATIME, 0x400), (MS_NODIRATIME, 0x800), (MS_RELATIME, ST_RELATIME),
)  # fmt: skip

StatBuffer = Annotated[UserPointer, StructOut(144)]
StatFsBuffer = Annotated[UserPointer, StructOut(120)]


@syscall(4)
async def stat(thread: Thread, path: Path, statbuf: StatBuffer) -> None:
    statbuf.write((await (await resolve(thread, path)).getattr()).pack())


@syscall(5)
async def fstat(thread: Thread, fd: Fd, statbuf: StatBuffer) -> None:
    statbuf.write((await thread.files.get(fd).stat()).pack())


@syscall(6)
async def lstat(thread: Thread, path: Path, statbuf: StatBuffer) -> None:
    statbuf.write((await (await resolve(thread, path, None, 0)).getattr()).pack())


async def _stat_at(thread: Thread, dirfd: int, path: bytes, flags: int) -> Stat:
    if not path and flags & AT_EMPTY_PATH and dirfd != AT_FDCWD:
        return await thread.files.get(dirfd).stat()
    return await (await locate(thread, dirfd, path, flags)).getattr()


@syscall(262)
async def newfstatat(thread: Thread, dirfd: Fd, path: Path, statbuf: StatBuffer, flags: UInt) -> None:
    check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH)
    statbuf.write((await _stat_at(thread, dirfd, path, flags)).pack())


@syscall(332)
async def statx(
    thread: Thread, dirfd: Fd, path: Path, flags: UInt, mask: UInt, statxbuf: Annotated[UserPointer, StructOut(256)]
) -> None:
    check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | STATX_SYNC)
    if mask & STATX_RESERVED or flags & STATX_SYNC == STATX_SYNC:
        raise SyscallError(errno.EINVAL)
    statxbuf.write((await _stat_at(thread, dirfd, path, flags)).pack_statx())


async def _access(thread: Thread, dirfd: int, path: bytes, mode: int, flags: int) -> None:
    if mode & ~7:
        raise SyscallError(errno.EINVAL)
    check_flags(flags, AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    location = await locate(thread, dirfd, path, flags)
    check_access(thread, location, mode, real=not flags & AT_EACCESS)


@syscall(21)
async def access(thread: Thread, path: Path, mode: UInt) -> None:
    await _access(thread, AT_FDCWD, path, mode, 0)


@syscall(269)
async def faccessat(thread: Thread, dirfd: Fd, path: Path, mode: UInt) -> None:
    await _access(thread, dirfd, path, mode, 0)


@syscall(439)
async def faccessat2(thread: Thread, dirfd: Fd, path: Path, mode: UInt, flags: UInt) -> None:
    await _access(thread, dirfd, path, mode, flags)


async def _readlink(thread: Thread, dirfd: int, path: bytes, buf: UserBuffer, size: int) -> int:
    if size <= 0:
        raise SyscallError(errno.EINVAL)
    location = await locate(thread, dirfd, path, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    if not location.inode.is_symlink:
        raise SyscallError(errno.EINVAL if path else errno.ENOENT)
    target = (await location.inode.readlink())[:size]
    buf.write(target)
    return len(target)


@syscall(89)
async def readlink(thread: Thread, path: Path, buf: Annotated[Buffer, Out("size")], size: Int) -> int:
    if not path:
        raise SyscallError(errno.ENOENT)
    return await _readlink(thread, AT_FDCWD, path, buf, size)


@syscall(267)
async def readlinkat(thread: Thread, dirfd: Fd, path: Path, buf: Annotated[Buffer, Out("size")], size: Int) -> int:
    return await _readlink(thread, dirfd, path, buf, size)


async def _statfs(location: Location, buf: UserPointer) -> None:
    mount = location.mount
    numbers = await mount.fs.statfs()
    flags = numbers.flags | ST_VALID | sum(bit for flag, bit in ST_FLAGS if mount.flags & flag)
    device = mount.fs.device
    buf.pack(
        STATFS, numbers.type, numbers.bsize, numbers.blocks, numbers.bfree, numbers.bavail, numbers.files,
        numbers.ffree, device & 0x7FFFFFFF, 0, numbers.namelen, numbers.bsize, flags,
    )  # fmt: skip


@syscall(137)
async def statfs(thread: Thread, path: Path, buf: StatFsBuffer) -> None:
    await _statfs(await resolve(thread, path), buf)


@syscall(138)
async def fstatfs(thread: Thread, fd: Fd, buf: StatFsBuffer) -> None:
    location: Location | None = thread.files.get(fd).location
    if location is None:
        # Pipes, sockets and the like live in file systems that are mounted nowhere.
        buf.pack(STATFS, 0x09041934, 4096, 0, 0, 0, 0, 0, 0, 0, 255, 4096, ST_VALID)
        return
    await _statfs(location, buf)


@syscall(303)
async def name_to_handle_at(
    thread: Thread,
    dirfd: Fd,
    path: Path,
    handle: Annotated[UserPointer, StructOut(8)],
    mount_id: Annotated[UserPointer, StructOut(4)],
    flags: Int,
) -> None:
    check_flags(flags, 0x400 | AT_EMPTY_PATH)
    await resolve(thread, path, start_of(thread, dirfd, path), FOLLOW if flags & 0x400 else 0)
    raise SyscallError(errno.EOPNOTSUPP)
