"""Calls that make, move and remove names."""

from __future__ import annotations

import errno

from ..abi.errors import SyscallError
from ..abi.marshal import Fd, Int, Path, UInt
from ..fs import names
from ..fs.dentry import Location
from ..fs.namei import FOLLOW, resolve
from ..process.thread import Thread
from .at import AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, check_flags, location_of, start_of
from .table import syscall


def _device(number: int) -> int:
    """mknod(2)'s 32-bit device number is encoded as stat(2)'s 64-bit one is."""
    return number & 0xFFFFFFFF


@syscall(133)
async def mknod(thread: Thread, path: Path, mode: UInt, device: UInt) -> None:
    await names.make_node(thread, path, mode, _device(device))


@syscall(259)
async def mknodat(thread: Thread, dirfd: Fd, path: Path, mode: UInt, device: UInt) -> None:
    await names.make_node(thread, path, mode, _device(device), start_of(thread, dirfd, path))


@syscall(83)
async def mkdir(thread: Thread, path: Path, mode: UInt) -> None:
    await names.make_directory(thread, path, mode)


@syscall(258)
async def mkdirat(thread: Thread, dirfd: Fd, path: Path, mode: UInt) -> None:
    await names.make_directory(thread, path, mode, start_of(thread, dirfd, path))


@syscall(84)
async def rmdir(thread: Thread, path: Path) -> None:
    await names.remove_directory(thread, path)


@syscall(87)
async def unlink(thread: Thread, path: Path) -> None:
    await names.remove_file(thread, path)


@syscall(263)
async def unlinkat(thread: Thread, dirfd: Fd, path: Path, flags: Int) -> None:
    check_flags(flags, AT_REMOVEDIR)
    remove = names.remove_directory if flags & AT_REMOVEDIR else names.remove_file
    await remove(thread, path, start_of(thread, dirfd, path))


@syscall(88)
async def symlink(thread: Thread, target: Path, path: Path) -> None:
    await names.make_symlink(thread, target, path)


@syscall(266)
async def symlinkat(thread: Thread, target: Path, dirfd: Fd, path: Path) -> None:
    await names.make_symlink(thread, target, path, start_of(thread, dirfd, path))


@syscall(86)
async def link(thread: Thread, old: Path, new: Path) -> None:
    await names.make_link(thread, await resolve(thread, old, None, 0), new)


@syscall(265)
async def linkat(thread: Thread, olddirfd: Fd, old: Path, newdirfd: Fd, new: Path, flags: Int) -> None:
    check_flags(flags, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)
    source: Location
    if not old and flags & AT_EMPTY_PATH:
        if not names.may_link_descriptor(thread.credentials):
            raise SyscallError(errno.ENOENT)
        source = thread.fs.cwd if olddirfd == AT_FDCWD else location_of(thread, olddirfd)
    else:
        follow = FOLLOW if flags & AT_SYMLINK_FOLLOW else 0
        source = await resolve(thread, old, start_of(thread, olddirfd, old), follow)
    await names.make_link(thread, source, new, start_of(thread, newdirfd, new))


@syscall(82)
async def rename(thread: Thread, old: Path, new: Path) -> None:
    await names.rename(thread, old, new)


@syscall(264)
async def renameat(thread: Thread, olddirfd: Fd, old: Path, newdirfd: Fd, new: Path) -> None:
    await names.rename(thread, old, new, start_of(thread, olddirfd, old), start_of(thread, newdirfd, new))


@syscall(316)
async def renameat2(thread: Thread, olddirfd: Fd, old: Path, newdirfd: Fd, new: Path, flags: UInt) -> None:
    await names.rename(thread, old, new, start_of(thread, olddirfd, old), start_of(thread, newdirfd, new), flags)
