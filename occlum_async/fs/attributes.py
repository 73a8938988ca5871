"""Calls that change or ask for attributes: chmod, chown, utimes, truncate, access, extended attributes."""

from __future__ import annotations

import errno
import struct
import time

from ..abi.errors import SyscallError
from ..abi.stat import S_IFLNK
from ..abi.user import UserPointer
from . import inotify
from .context import Caller
from .credentials import CAP_CHOWN, CAP_FSETID, CAP_LINUX_IMMUTABLE, CAP_SYS_ADMIN, Credentials
from .dentry import Location
from .inode import Inode
from .inodeflags import IMMUTABLE, LOCKED, check_unlocked
from .mount import MS_NOEXEC
from .permissions import (
    MAY_EXEC,
    MAY_READ,
    MAY_WRITE,
    S_ISGID,
    S_ISUID,
    S_ISVTX,
    S_IXGRP,
    check,
    check_location,
    check_writable,
    must_drop_privileges,
    owns,
    without_privileges,
)

FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_GETVERSION = 0x80086601, 0x40086602, 0x80087601
FLAG_CALLS = (FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_GETVERSION)
_FLAGS = struct.Struct("<I")
KEEP = 0xFFFFFFFF  # chown(2)'s -1
XATTR_SIZE_MAX, XATTR_NAME_MAX, XATTR_LIST_MAX = 65536, 255, 65536
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


async def change_mode(caller: Caller, location: Location, mode: int) -> None:
    """chmod(2). The setgid bit is lost by who is neither in the file's group nor privileged."""
    inode = location.inode
    if inode.format == S_IFLNK:
        raise SyscallError(errno.EOPNOTSUPP)
    check_writable(location.mount)
    check_unlocked(inode)
    credentials = caller.credentials
    if not owns(inode, credentials):
        raise SyscallError(errno.EPERM)
    if not credentials.in_group(inode.gid) and not credentials.capable(CAP_FSETID):
        mode &= ~S_ISGID
    await inode.setattr(mode=mode & 0o7777)
    inotify.notify_at(location, inotify.IN_ATTRIB)


async def change_owner(caller: Caller, location: Location, uid: int, gid: int) -> None:
    """chown(2); ``KEEP`` leaves one as it is. Takes set-id bits from files (not from directories)."""
    inode = location.inode
    check_writable(location.mount)
    check_unlocked(inode)
    credentials = caller.credentials
    if not credentials.capable(CAP_CHOWN):
        mine = credentials.fsuid == inode.uid
        if uid != KEEP and not (mine and uid == inode.uid):
            raise SyscallError(errno.EPERM)
        if gid != KEEP and not (mine and (gid == inode.gid or credentials.in_group(gid))):
            raise SyscallError(errno.EPERM)
    mode = None
    if not inode.is_dir and inode.mode & (S_ISUID | S_ISGID):
        mode = inode.mode & ~S_ISUID
        if mode & S_IXGRP:
            mode &= ~S_ISGID
        mode &= 0o7777
    await inode.setattr(mode=mode, uid=None if uid == KEEP else uid, gid=None if gid == KEEP else gid)
    inotify.notify_at(location, inotify.IN_ATTRIB)


def timestamp(seconds: int, nanoseconds: int, now: int) -> int | None:
    """One of utimensat(2)'s times in ns; None for UTIME_OMIT. EINVAL."""
    if nanoseconds == UTIME_OMIT:
        return None
    if nanoseconds == UTIME_NOW:
        return now
    if not 0 <= nanoseconds < 10**9:
        raise SyscallError(errno.EINVAL)
    # What a 64-bit count of nanoseconds can't hold is clamped, as by a file system of that range.
    return max(-(1 << 63), min((1 << 63) - 1, seconds * 10**9 + nanoseconds))


async def change_times(
    caller: Caller, location: Location, atime: tuple[int, int] | None, mtime: tuple[int, int] | None
) -> None:
    """utimensat(2): (seconds, nanoseconds) each, or both None for the present time."""
    now = time.time_ns()
    inode = location.inode
    current = (0, UTIME_NOW)
    to_now = (atime is None or atime[1] == UTIME_NOW) and (mtime is None or mtime[1] == UTIME_NOW)
    new_atime = timestamp(*(atime or current), now)
    new_mtime = timestamp(*(mtime or current), now)
    if new_atime is None and new_mtime is None:
        return
    check_writable(location.mount)
    check_unlocked(inode, IMMUTABLE if to_now else LOCKED)
    if not owns(inode, caller.credentials):
        if not to_now:
            raise SyscallError(errno.EPERM)
        check(inode, caller.credentials, MAY_WRITE)
    await inode.setattr(atime=new_atime, mtime=new_mtime)
    inotify.notify_at(location, inotify.IN_ATTRIB)


async def truncate(caller: Caller, location: Location, size: int) -> None:
    """truncate(2)."""
    inode = location.inode
    if inode.is_dir:
        raise SyscallError(errno.EISDIR)
    if not inode.is_regular:
        raise SyscallError(errno.EINVAL)
    check_location(location, caller.credentials, MAY_WRITE)
    check_unlocked(inode)
    if inode.attached.get("executing"):
        raise SyscallError(errno.ETXTBSY)
    if must_drop_privileges(inode, caller.credentials):
        await inode.setattr(mode=without_privileges(inode.mode) & 0o7777)
    await inode.truncate(size)
    inotify.notify_at(location, inotify.IN_MODIFY)


def check_access(caller: Caller, location: Location, mode: int, real: bool) -> None:
    """access(2): with the ``real`` ids, or with the effective ones (AT_EACCESS)."""
    credentials = caller.credentials
    if real:
        caps = credentials.permitted if credentials.uid == 0 else 0
        credentials = credentials.with_(fsuid=credentials.uid, fsgid=credentials.gid, effective=caps)
    want = mode & (MAY_READ | MAY_WRITE | MAY_EXEC)
    if not want:
        return
    if want & MAY_EXEC and location.inode.is_regular and location.mount.flags & MS_NOEXEC:
        raise SyscallError(errno.EACCES)
    check_location(location, credentials, want)


async def control_flags(caller: Caller, location: Location, command: int, argument: UserPointer) -> None:
    """One of ``FLAG_CALLS``, by which chattr(1) and lsattr(1) work. ENOTTY where the file system keeps no flags."""
    inode = location.inode
    if not inode.keeps_flags:
        raise SyscallError(errno.ENOTTY)
    if command == FS_IOC_GETFLAGS:
        argument.pack(_FLAGS, inode.flags)
    elif command == FS_IOC_GETVERSION:
        argument.pack(_FLAGS, inode.generation)
    else:
        (flags,) = argument.unpack(_FLAGS)
        check_writable(location.mount)
        locks = (flags ^ inode.flags) & LOCKED and not caller.credentials.capable(CAP_LINUX_IMMUTABLE)
        if locks or not owns(inode, caller.credentials):
            raise SyscallError(errno.EPERM)
        await inode.set_flags(flags)


# -- extended attributes ---------------------------------------------------------


def _check_name(name: bytes) -> None:
    if not 0 < len(name) <= XATTR_NAME_MAX:
        raise SyscallError(errno.ERANGE)


def _check_xattr(inode: Inode, name: bytes, credentials: Credentials, write: bool) -> None:
    """Which name space lets whom do what, see xattr(7)."""
    if write:
        check_unlocked(inode)
    space, dot, rest = name.partition(b".")
    if not dot or space not in (b"user", b"trusted", b"security"):
        raise SyscallError(errno.EOPNOTSUPP)
    if not rest:
        raise SyscallError(errno.EINVAL)
    if space == b"trusted":
        if not credentials.capable(CAP_SYS_ADMIN):
            raise SyscallError(errno.EPERM if write else errno.ENODATA)
    elif space == b"security":
        if write and not credentials.capable(CAP_SYS_ADMIN):
            raise SyscallError(errno.EPERM)
    else:
        if not inode.is_regular and not inode.is_dir:
            raise SyscallError(errno.EPERM if write else errno.ENODATA)
        if write and inode.is_dir and inode.mode & S_ISVTX and not owns(inode, credentials):
            raise SyscallError(errno.EPERM)
        check(inode, credentials, MAY_WRITE if write else MAY_READ)


async def get_xattr(caller: Caller, location: Location, name: bytes) -> bytes:
    """getxattr(2)."""
    _check_name(name)
    _check_xattr(location.inode, name, caller.credentials, write=False)
    return await location.inode.getxattr(name)


async def set_xattr(caller: Caller, location: Location, name: bytes, value: bytes, flags: int) -> None:
    """setxattr(2)."""
    if flags & ~3:
        raise SyscallError(errno.EINVAL)
    _check_name(name)
    check_writable(location.mount)
    _check_xattr(location.inode, name, caller.credentials, write=True)
    await location.inode.setxattr(name, value, flags)
    inotify.notify_at(location, inotify.IN_ATTRIB)


async def remove_xattr(caller: Caller, location: Location, name: bytes) -> None:
    """removexattr(2)."""
    _check_name(name)
    check_writable(location.mount)
    _check_xattr(location.inode, name, caller.credentials, write=True)
    await location.inode.removexattr(name)
    inotify.notify_at(location, inotify.IN_ATTRIB)


async def list_xattrs(caller: Caller, location: Location) -> bytes:
    """listxattr(2): the names, each with a NUL; trusted ones only for who may read them."""
    names = await location.inode.listxattr()
    if not caller.credentials.capable(CAP_SYS_ADMIN):
        names = [name for name in names if not name.startswith(b"trusted.")]
    return b"".join(name + b"\0" for name in names)
