"""Descriptors: open, close, dup, fcntl, ioctl, flock."""

from __future__ import annotations

import errno
import fcntl as host
import os
import struct

from ..abi.errors import SyscallError
from ..abi.marshal import Fd, Int, Path, Pointer, Size, UInt
from ..abi.socket import FIOSETOWN, SIOCSPGRP
from ..abi.user import UserPointer
from ..fs import attributes, locks, memfd
from ..fs.credentials import CAP_SYS_RESOURCE
from ..fs.dentry import Location
from ..fs.fdtable import NR_OPEN
from ..fs.inodeflags import APPEND, check_unlocked
from ..fs.namei import BENEATH, IN_ROOT, NO_MAGICLINKS, NO_SYMLINKS, NO_XDEV
from ..fs.opening import O_TMPFILE_ONLY, open_path
from ..fs.permissions import owns
from ..fs.regular import DirectoryFile, PathFile, RegularFile
from ..io.file import File
from ..io.pipe import PipeFile
from ..io.sockets.socket import Socket
from ..process.thread import Thread
from .at import start_of
from .ownersignals import set_async, set_owner
from .table import syscall

O_KNOWN = 0o37777703 | os.O_CLOEXEC
OPEN_HOW = struct.Struct("<QQQ")
RESOLVE = {0x01: NO_XDEV, 0x02: NO_MAGICLINKS, 0x04: NO_SYMLINKS, 0x08: BENEATH, 0x10: IN_ROOT, 0x20: 0}
RESOLVE_CACHED = 0x20
CLOSE_RANGE_UNSHARE, CLOSE_RANGE_CLOEXEC = 2, 4

FLOCK = struct.Struct("<hhxxxxqqixxxx")
OWNER_EX = struct.Struct("<ii")
F_SETSIG, F_GETSIG, F_SETOWN_EX, F_GETOWN_EX = 10, 11, 15, 16
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
F_SETLEASE, F_GETLEASE, F_NOTIFY, F_DUPFD_CLOEXEC = 1024, 1025, 1026, 1030
F_SETPIPE_SZ, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS = 1031, 1032, 1033, 1034
F_GET_RW_HINT, F_SET_RW_HINT, F_GET_FILE_RW_HINT, F_SET_FILE_RW_HINT = 1035, 1036, 1037, 1038
SETTABLE = os.O_APPEND | os.O_NONBLOCK | os.O_ASYNC | os.O_DIRECT | os.O_NOATIME
FIONCLEX, FIOCLEX, FIONBIO, FIOASYNC, FIOQSIZE = 0x5450, 0x5451, 0x5421, 0x5452, 0x5460


# -- open and close ------------------------------------------------------------


async def _open(thread: Thread, path: bytes, flags: int, mode: int, start: Location | None, how: int = 0) -> int:
    file = (await open_path(thread, path, flags, mode, start, how)).acquire()
    try:
        return thread.files.install(file, bool(flags & os.O_CLOEXEC))
    finally:
        file.release()


@syscall(2)
async def open_(thread: Thread, path: Path, flags: UInt, mode: UInt) -> int:
    return await _open(thread, path, flags & O_KNOWN, mode, None)


@syscall(257)
async def openat(thread: Thread, dirfd: Fd, path: Path, flags: UInt, mode: UInt) -> int:
    return await _open(thread, path, flags & O_KNOWN, mode, start_of(thread, dirfd, path))


@syscall(85)
async def creat(thread: Thread, path: Path, mode: UInt) -> int:
    return await _open(thread, path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode, None)


@syscall(437)
async def openat2(thread: Thread, dirfd: Fd, path: Path, how: Pointer, size: Size) -> int:
    if size < OPEN_HOW.size:
        raise SyscallError(errno.EINVAL)
    if size > 4096 or any(how.read(size - OPEN_HOW.size, OPEN_HOW.size)):
        raise SyscallError(errno.E2BIG)
    flags, mode, resolve = how.unpack(OPEN_HOW)
    creates = flags & (os.O_CREAT | O_TMPFILE_ONLY)
    if flags & ~O_KNOWN or resolve & ~0x3F or mode & ~0o7777 or (mode and not creates):
        raise SyscallError(errno.EINVAL)
    if flags & os.O_PATH and flags & ~(os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC):
        raise SyscallError(errno.EINVAL)
    if resolve & 0x18 == 0x18:
        raise SyscallError(errno.EINVAL)
    if resolve & RESOLVE_CACHED:
        raise SyscallError(errno.EAGAIN)
    walking = sum(flag for bit, flag in RESOLVE.items() if resolve & bit)
    start = start_of(thread, dirfd, b"." if walking & IN_ROOT else path)
    return await _open(thread, path, flags, mode, start, walking)


@syscall(3)
def close(thread: Thread, fd: Fd) -> None:
    thread.files.close(fd)


@syscall(436)
def close_range(thread: Thread, first: UInt, last: UInt, flags: UInt) -> None:
    if flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) or first > last:
        raise SyscallError(errno.EINVAL)
    if flags & CLOSE_RANGE_UNSHARE and thread.files.users > 1:
        shared = thread.files
        thread.files = shared.copy().acquire()
        shared.release()
    files = thread.files
    for fd, _ in files.items():
        if first <= fd <= last:
            if flags & CLOSE_RANGE_CLOEXEC:
                files.set_cloexec(fd, True)
            else:
                files.close(fd)


@syscall(32)
def dup(thread: Thread, fd: Fd) -> int:
    return thread.files.install(thread.files.get(fd))


@syscall(33)
def dup2(thread: Thread, old: Fd, new: Fd) -> int:
    file = thread.files.get(old)
    if old != new:
        thread.files.replace(new, file)
    return new


@syscall(292)
def dup3(thread: Thread, old: Fd, new: Fd, flags: Int) -> int:
    if flags & ~os.O_CLOEXEC or old == new:
        raise SyscallError(errno.EINVAL)
    thread.files.replace(new, thread.files.get(old), bool(flags & os.O_CLOEXEC))
    return new


@syscall(95)
def umask(thread: Thread, mask: UInt) -> int:
    before, thread.fs.umask = thread.fs.umask, mask & 0o777
    return before


# -- fcntl -----------------------------------------------------------------------


@syscall(72)
async def fcntl(thread: Thread, fd: Fd, command: UInt, argument: Pointer) -> int:
    file = thread.files.get(fd)
    value = argument.address
    number = value & 0xFFFFFFFF
    if command in (host.F_DUPFD, F_DUPFD_CLOEXEC):
        if number >= min(thread.files.limit, NR_OPEN):
            raise SyscallError(errno.EINVAL)
        return thread.files.install(file, command == F_DUPFD_CLOEXEC, number)
    if command == host.F_GETFD:
        return int(thread.files.cloexec(fd))
    if command == host.F_SETFD:
        thread.files.set_cloexec(fd, bool(number & host.FD_CLOEXEC))
        return 0
    if command == host.F_GETFL:
        return file.flags
    if isinstance(file, PathFile):
        raise SyscallError(errno.EBADF)
    if command == host.F_SETFL:
        return _set_status(thread, file, number)
    if command in (host.F_GETLK, F_OFD_GETLK):
        return await _get_lock(thread, file, argument, command == F_OFD_GETLK)
    if command in (host.F_SETLK, host.F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW):
        owned = command in (F_OFD_SETLK, F_OFD_SETLKW)
        await _set_lock(thread, fd, file, argument, owned, command in (host.F_SETLKW, F_OFD_SETLKW))
        return 0
    return _control(thread, file, command, argument)


def _set_status(thread: Thread, file: File, flags: int) -> int:
    location: Location | None = file.location if flags & ~file.flags & os.O_NOATIME else None
    if location is not None and not owns(location.inode, thread.credentials):
        raise SyscallError(errno.EPERM)
    if (flags ^ file.flags) & os.O_APPEND and file.location is not None:
        check_unlocked(file.location.inode, APPEND)
    if (flags ^ file.flags) & os.O_ASYNC:
        set_async(thread, file, bool(flags & os.O_ASYNC))
    file.flags = file.flags & ~SETTABLE | flags & SETTABLE
    return 0


def _signed(number: int) -> int:
    """The low 32 bits of a register as an int."""
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >> 31 else number


def _control(thread: Thread, file: File, command: int, argument: UserPointer) -> int:
    """fcntl's commands that neither duplicate nor lock."""
    number = _signed(argument.address)
    if command == host.F_SETOWN:
        set_owner(thread, file, 2 if number < 0 else 1, abs(number))
    elif command == host.F_GETOWN:
        kind, owner = file.owner
        return -owner if kind == 2 else owner
    elif command == F_SETOWN_EX:
        kind, owner = argument.unpack(OWNER_EX)
        if kind not in (0, 1, 2):
            raise SyscallError(errno.EINVAL)
        set_owner(thread, file, kind, owner)
    elif command == F_GETOWN_EX:
        argument.pack(OWNER_EX, *file.owner)
    elif command == F_SETSIG:
        if not 0 <= number <= 64:
            raise SyscallError(errno.EINVAL)
        file.owner_signal = number
    elif command == F_GETSIG:
        return file.owner_signal
    elif command in (F_SETPIPE_SZ, F_GETPIPE_SZ):
        if not isinstance(file, PipeFile):
            raise SyscallError(errno.EBADF)
        if command == F_GETPIPE_SZ:
            return file.pipe_size
        return file.set_pipe_size(argument.address & 0xFFFFFFFF, thread.credentials.capable(CAP_SYS_RESOURCE))
    elif command == F_ADD_SEALS:
        memfd.add_seals(file, argument.address & 0xFFFFFFFF)
    elif command == F_GET_SEALS:
        return memfd.get_seals(file)
    elif command == F_GETLEASE:
        return host.F_UNLCK
    elif command in (F_GET_RW_HINT, F_GET_FILE_RW_HINT):
        argument.write(struct.pack("<Q", 0))
    elif command in (F_SET_RW_HINT, F_SET_FILE_RW_HINT):
        if argument.unpack(struct.Struct("<Q"))[0] > 5:
            raise SyscallError(errno.EINVAL)
    else:
        # F_SETLEASE and F_NOTIFY among them: not configured.
        raise SyscallError(errno.EINVAL)
    return 0


# -- locks -----------------------------------------------------------------------


async def _parse_lock(thread: Thread, file: File, argument: UserPointer, owned: bool) -> locks.RecordLock:
    kind, whence, start, length, pid = argument.unpack(FLOCK)
    if kind not in (locks.READ, locks.WRITE, locks.UNLOCK) or (owned and pid != 0):
        raise SyscallError(errno.EINVAL)
    if whence == os.SEEK_CUR:
        start += file.position
    elif whence == os.SEEK_END:
        start += (await file.stat()).size
    elif whence != os.SEEK_SET:
        raise SyscallError(errno.EINVAL)
    if start > locks.OFFSET_MAX or start + length - 1 > locks.OFFSET_MAX:
        raise SyscallError(errno.EOVERFLOW)
    end = start + length - 1 if length else locks.OFFSET_MAX
    if length < 0:
        start, end = start + length, start - 1
    if start < 0:
        raise SyscallError(errno.EINVAL)
    owner = file if owned else thread.files
    return locks.RecordLock(kind, start, end, owner, -1 if owned else thread.process.pid)


async def _get_lock(thread: Thread, file: File, argument: UserPointer, owned: bool) -> int:
    lock = await _parse_lock(thread, file, argument, owned)
    if lock.type == locks.UNLOCK or file.location is None:
        raise SyscallError(errno.EINVAL)
    blocker = locks.record_locks(file.location.inode).conflict(lock)
    _, whence, start, length, pid = argument.unpack(FLOCK)
    if blocker is None:
        argument.pack(FLOCK, locks.UNLOCK, whence, start, length, pid)
    else:
        size = 0 if blocker.end == locks.OFFSET_MAX else blocker.end - blocker.start + 1
        argument.pack(FLOCK, blocker.type, os.SEEK_SET, blocker.start, size, blocker.pid)
    return 0


async def _set_lock(thread: Thread, fd: int, file: File, argument: UserPointer, owned: bool, wait: bool) -> None:
    lock = await _parse_lock(thread, file, argument, owned)
    if file.location is None:
        raise SyscallError(errno.EINVAL)
    if (lock.type == locks.READ and not file.readable) or (lock.type == locks.WRITE and not file.writable):
        raise SyscallError(errno.EBADF)
    inode = file.location.inode
    await locks.set_lock(inode, lock, wait, thread.scheduler)
    # Another thread may have closed the descriptor while this one waited: then nobody would unlock.
    try:
        still = thread.files.get(fd) is file
    except SyscallError:
        still = False
    if not still and not owned:
        locks.release_owner(inode, thread.files)
        raise SyscallError(errno.EBADF)


@syscall(73)
async def flock(thread: Thread, fd: Fd, operation: UInt) -> None:
    file = thread.files.get(fd)
    if isinstance(file, PathFile):
        raise SyscallError(errno.EBADF)
    await locks.flock(file, operation, thread.scheduler)


# -- ioctl -----------------------------------------------------------------------


@syscall(16)
async def ioctl(thread: Thread, fd: Fd, command: UInt, argument: Pointer) -> int:
    file = thread.files.get(fd)
    if isinstance(file, PathFile):
        raise SyscallError(errno.EBADF)
    if command in (FIOCLEX, FIONCLEX):
        thread.files.set_cloexec(fd, command == FIOCLEX)
    elif command == FIONBIO:
        on = struct.unpack("<i", argument.read(4))[0]
        file.flags = file.flags | os.O_NONBLOCK if on else file.flags & ~os.O_NONBLOCK
    elif command == FIOASYNC:
        on = bool(struct.unpack("<i", argument.read(4))[0])
        set_async(thread, file, on)
        file.flags = file.flags | os.O_ASYNC if on else file.flags & ~os.O_ASYNC
    elif command in (FIOSETOWN, SIOCSPGRP) and isinstance(file, Socket):
        number = struct.unpack("<i", argument.read(4))[0]
        set_owner(thread, file, 2 if number < 0 else 1, abs(number))
    elif command == FIOQSIZE and isinstance(file, RegularFile):
        argument.write(struct.pack("<q", await file.end()))
    elif command in attributes.FLAG_CALLS and isinstance(file, RegularFile | DirectoryFile):
        await attributes.control_flags(thread, file.location, command, argument)
    else:
        return await file.ioctl(thread, command, argument)
    return 0
