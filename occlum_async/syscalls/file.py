"""Reading and writing: read(2), write(2) and their relatives, lseek, truncate, sync."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from typing import Annotated

from ..abi.errors import Interrupted, SyscallError
from ..abi.marshal import Buffer, Fd, In, Int, InVector, Long, Out, Path, Size, UInt, Vector
from ..abi.signals import SIGXFSZ
from ..abi.user import Prefix, UserBuffer
from ..fs import attributes
from ..fs.inodeflags import IMMUTABLE, LOCKED, check_unlocked
from ..fs.memory import FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE
from ..fs.namei import resolve
from ..fs.permissions import check_writable
from ..fs.regular import DirectoryFile, PathFile, RegularFile
from ..io.file import File
from ..io.sockets.stream import ByteStream
from ..process.limits import RLIM_INFINITY, RLIMIT_FSIZE
from ..process.thread import Thread
from .at import location_of
from .table import syscall

MAX_RW_COUNT = 0x7FFFF000
# The kernel holds at most this much of one transfer at a time.
CHUNK = 1 << 20
# Reads from here on may get several chunks of a stream, which need not be joined.
LONG = 32 << 10
ALLOCATION = 4 << 20  # bytes that are allocated or let go of before others have a turn
RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND = 1, 2, 4, 8, 16
RWF_SUPPORTED = 0x1F
POSIX_FADV_WILLNEED = 3


def _readable(thread: Thread, fd: int) -> File:
    file = thread.files.get(fd)
    if not file.readable:
        raise SyscallError(errno.EBADF)
    return file


def _writable(thread: Thread, fd: int) -> File:
    file = thread.files.get(fd)
    if not file.writable:
        raise SyscallError(errno.EBADF)
    return file


async def _read_into(thread: Thread, buf: UserBuffer, get: Callable[[int, int], Awaitable[bytes]], whole: bool) -> int:
    """Fill ``buf`` from ``get(size, done)``: to the end when ``whole``, else with what one call gives."""
    wanted = min(buf.size, MAX_RW_COUNT)
    data = await get(min(wanted, CHUNK), 0)
    buf.write(data)
    done = len(data)
    while whole and done < wanted and data:
        await thread.scheduler.give_way()
        try:
            data = await get(min(wanted - done, CHUNK), done)
        except (SyscallError, Interrupted):
            break
        buf.write(data, done)
        done += len(data)
    return done


async def _write_from(thread: Thread, buf: UserBuffer, put: Callable[[bytes, int], Awaitable[int]]) -> int:
    """Hand ``buf`` to ``put(data, done)`` piece by piece, until all or less than a piece was taken."""
    wanted = min(buf.size, MAX_RW_COUNT)
    if wanted <= CHUNK:
        return await put(buf.read(wanted), 0)
    done = 0
    while done < wanted:
        piece = buf.read(min(wanted - done, CHUNK), done)
        try:
            count = await put(piece, done)
        except (SyscallError, Interrupted):
            if done:
                break
            raise
        done += count
        if count < len(piece):
            break
        await thread.scheduler.give_way()
    return done


async def _read(thread: Thread, file: File, buf: UserBuffer) -> int:
    """read(2) of any size."""
    if isinstance(file, RegularFile) and buf.size > CHUNK:
        async with file.alone():
            return await _read_into(thread, buf, lambda size, done: file.read_on(size), True)
    return await _read_into(thread, buf, lambda size, done: file.read(size), isinstance(file, RegularFile))


async def _write(thread: Thread, file: File, buf: UserBuffer) -> int:
    """write(2) of any size."""
    if isinstance(file, RegularFile) and buf.size > CHUNK:
        async with file.alone():
            return await _write_from(thread, buf, lambda data, done: file.write_on(data))
    return await _write_from(thread, buf, lambda data, done: file.write(data))


async def _bounded(thread: Thread, file: File, buf: UserBuffer, offset: int | None) -> UserBuffer:
    """As much of ``buf`` as RLIMIT_FSIZE lets a regular file grow; EFBIG and SIGXFSZ for nothing."""
    limit = thread.process.limits.soft(RLIMIT_FSIZE)
    if limit == RLIM_INFINITY or not buf.size or not isinstance(file, RegularFile):
        return buf
    if file.flags & os.O_APPEND:
        offset = await file.end()
    elif offset is None:
        offset = file.position
    if offset >= limit:
        raise SyscallError(errno.EFBIG, signal=SIGXFSZ)
    return buf if offset + buf.size <= limit else Prefix(buf, limit - offset)


@syscall(0)
async def read(thread: Thread, fd: Fd, buf: Annotated[Buffer, Out("count")], count: Size) -> int:
    file = _readable(thread, fd)
    if count >= LONG and isinstance(file, ByteStream):
        return await file.read_into(buf, min(count, CHUNK))
    if count <= CHUNK:
        data = await file.read(count)
        buf.write(data)
        return len(data)
    return await _read(thread, file, buf)


@syscall(1)
async def write(thread: Thread, fd: Fd, buf: Annotated[Buffer, In("count")], count: Size) -> int:
    file = _writable(thread, fd)
    if isinstance(file, RegularFile):
        buf = await _bounded(thread, file, buf, None)
    if count <= CHUNK:
        return await file.write(buf.read())
    return await _write(thread, file, buf)


@syscall(17)
async def pread64(thread: Thread, fd: Fd, buf: Annotated[Buffer, Out("count")], count: Size, offset: Long) -> int:
    return await _pread(thread, fd, buf, offset)


async def _pread(thread: Thread, fd: int, buf: UserBuffer, offset: int) -> int:
    if offset < 0:
        raise SyscallError(errno.EINVAL)
    file = _readable(thread, fd)
    if buf.size <= CHUNK:
        data = await file.pread(buf.size, offset)
        buf.write(data)
        return len(data)
    whole = isinstance(file, RegularFile)
    return await _read_into(thread, buf, lambda size, done: file.pread(size, offset + done), whole)


@syscall(18)
async def pwrite64(thread: Thread, fd: Fd, buf: Annotated[Buffer, In("count")], count: Size, offset: Long) -> int:
    return await _pwrite(thread, fd, buf, offset)


async def _pwrite(thread: Thread, fd: int, buf: UserBuffer, offset: int) -> int:
    if offset < 0:
        raise SyscallError(errno.EINVAL)
    file = _writable(thread, fd)
    source = await _bounded(thread, file, buf, offset)
    return await _write_from(thread, source, lambda data, done: file.pwrite(data, offset + done))


@syscall(19)
async def readv(thread: Thread, fd: Fd, vec: Vector, count: Int) -> int:
    return await read(thread, fd, vec, vec.size)


@syscall(20)
async def writev(thread: Thread, fd: Fd, vec: InVector, count: Int) -> int:
    return await write(thread, fd, vec, vec.size)


@syscall(295)
async def preadv(thread: Thread, fd: Fd, vec: Vector, count: Int, offset: Long, high: Long) -> int:
    return await _pread(thread, fd, vec, offset)


@syscall(296)
async def pwritev(thread: Thread, fd: Fd, vec: InVector, count: Int, offset: Long, high: Long) -> int:
    return await _pwrite(thread, fd, vec, offset)


@syscall(327)
async def preadv2(thread: Thread, fd: Fd, vec: Vector, count: Int, offset: Long, high: Long, flags: UInt) -> int:
    if flags & ~RWF_SUPPORTED or flags & RWF_APPEND:
        raise SyscallError(errno.EOPNOTSUPP)
    if offset == -1:
        return await readv(thread, fd, vec, count)
    return await _pread(thread, fd, vec, offset)


@syscall(328)
async def pwritev2(thread: Thread, fd: Fd, vec: InVector, count: Int, offset: Long, high: Long, flags: UInt) -> int:
    if flags & ~RWF_SUPPORTED or flags & RWF_NOWAIT:
        raise SyscallError(errno.EOPNOTSUPP)
    file = _writable(thread, fd)
    if flags & RWF_APPEND and isinstance(file, RegularFile):
        source = await _bounded(thread, file, vec, await file.end())
        written = await _write_from(thread, source, lambda data, done: file.append(data))
        if offset == -1:
            file.position = await file.end()
    elif offset == -1:
        written = await writev(thread, fd, vec, count)
    else:
        written = await _pwrite(thread, fd, vec, offset)
    if flags & (RWF_DSYNC | RWF_SYNC):
        await file.sync(not flags & RWF_SYNC)
    return written


@syscall(8)
async def lseek(thread: Thread, fd: Fd, offset: Long, whence: UInt) -> int:
    file = thread.files.get(fd)
    if whence > os.SEEK_HOLE:
        raise SyscallError(errno.EINVAL)
    return await file.seek(offset, whence)


def _check_size(thread: Thread, length: int) -> None:
    if length < 0:
        raise SyscallError(errno.EINVAL)
    if length > thread.process.limits.soft(RLIMIT_FSIZE):
        raise SyscallError(errno.EFBIG, signal=SIGXFSZ)


@syscall(76)
async def truncate(thread: Thread, path: Path, length: Long) -> None:
    if length < 0:
        raise SyscallError(errno.EINVAL)
    location = await resolve(thread, path)
    _check_size(thread, length)
    await attributes.truncate(thread, location, length)


@syscall(77)
async def ftruncate(thread: Thread, fd: Fd, length: Long) -> None:
    file = thread.files.get(fd)
    _check_size(thread, length)
    await file.truncate(length)


@syscall(285)
async def fallocate(thread: Thread, fd: Fd, mode: Int, offset: Long, length: Long) -> None:
    file = thread.files.get(fd)
    if offset < 0 or length <= 0:
        raise SyscallError(errno.EINVAL)
    if mode & ~0x7F or mode & 3 == 2:
        raise SyscallError(errno.EOPNOTSUPP)
    if not file.writable:
        raise SyscallError(errno.EBADF)
    if not isinstance(file, RegularFile):
        raise SyscallError(errno.ENODEV if file.location is not None else errno.ESPIPE)
    check_unlocked(file.inode, LOCKED if mode & ~FALLOC_KEEP_SIZE else IMMUTABLE)
    if offset + length > (1 << 63) - 1:
        raise SyscallError(errno.EFBIG)
    if not mode & 1:
        _check_size(thread, offset + length)
    check_writable(file.location.mount)
    # What is allocated shows in the size only when all of it is there.
    while length > ALLOCATION and not mode & ~(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE):
        await file.inode.fallocate(mode | FALLOC_KEEP_SIZE, offset, ALLOCATION)
        offset, length = offset + ALLOCATION, length - ALLOCATION
        await thread.scheduler.give_way()
    await file.inode.fallocate(mode, offset, length)


@syscall(74)
async def fsync(thread: Thread, fd: Fd) -> None:
    await thread.files.get(fd).sync()


@syscall(75)
async def fdatasync(thread: Thread, fd: Fd) -> None:
    await thread.files.get(fd).sync(data_only=True)


@syscall(277)
async def sync_file_range(thread: Thread, fd: Fd, offset: Long, length: Long, flags: UInt) -> None:
    file = thread.files.get(fd)
    if flags & ~7 or offset < 0 or length < 0 or offset + length > (1 << 63) - 1:
        raise SyscallError(errno.EINVAL)
    if not isinstance(file, (RegularFile, DirectoryFile)):
        raise SyscallError(errno.ESPIPE)
    if flags and isinstance(file, RegularFile):
        await file.sync(data_only=True)


@syscall(162)
async def sync(thread: Thread) -> None:
    for fs in {mount.fs for mount in thread.kernel.mounts}:
        await fs.sync()


@syscall(306)
async def syncfs(thread: Thread, fd: Fd) -> None:
    file = thread.files.get(fd)
    if isinstance(file, PathFile):
        raise SyscallError(errno.EBADF)
    if file.location is not None:
        await location_of(thread, fd).mount.fs.sync()


@syscall(221)
async def fadvise64(thread: Thread, fd: Fd, offset: Long, length: Long, advice: Int) -> None:
    file = thread.files.get(fd)
    if isinstance(file, PathFile):
        raise SyscallError(errno.EBADF)
    if file.location is None or file.location.inode.mode & 0o170000 == 0o010000:
        raise SyscallError(errno.ESPIPE)
    if length < 0 or not 0 <= advice <= 5:
        raise SyscallError(errno.EINVAL)
    if isinstance(file, RegularFile):
        await file.inode.advise(advice, max(0, offset), length)


@syscall(187)
async def readahead(thread: Thread, fd: Fd, offset: Long, count: Size) -> None:
    file = _readable(thread, fd)
    if not isinstance(file, RegularFile):
        raise SyscallError(errno.EINVAL)
    if count and offset >= 0:
        await file.inode.advise(POSIX_FADV_WILLNEED, offset, min(count, MAX_RW_COUNT))
