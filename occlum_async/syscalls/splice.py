"""splice(2), tee(2) and vmsplice(2): bytes between pipes and files that the user never sees."""

from __future__ import annotations

import errno
import os
import struct
from signal import SIGPIPE

from ..abi.errors import SyscallError
from ..abi.marshal import Fd, Int, Pointer, Size, UInt, Vector
from ..abi.user import UserBuffer, UserPointer
from ..io.anonymous import AnonymousFile
from ..io.file import File
from ..io.pipe import MAX_SIZE, PAGE, READABLE, WRITABLE, PipeFile
from ..process.thread import Thread
from .table import syscall

SPLICE_F_NONBLOCK = 2
SPLICE_FLAGS = 0xF
OFFSET = struct.Struct("<q")


class _Offset:
    """splice(2)'s offset argument: the file's own position when the pointer is NULL."""

    def __init__(self, pointer: UserPointer, file: File) -> None:
        self.pointer = pointer
        self.value = 0
        if pointer:
            if not file.seekable:
                raise SyscallError(errno.EINVAL)
            (self.value,) = pointer.unpack(OFFSET)
            if self.value < 0:
                raise SyscallError(errno.EINVAL)

    def advance(self, size: int) -> None:
        """``size`` bytes were moved."""
        if self.pointer and size:
            self.pointer.pack(OFFSET, self.value + size)


@syscall(275)
async def splice(
    thread: Thread, fd_in: Fd, off_in: Pointer, fd_out: Fd, off_out: Pointer, length: Size, flags: UInt
) -> int:
    if not length:
        return 0
    if flags & ~SPLICE_FLAGS:
        raise SyscallError(errno.EINVAL)
    source, target = thread.files.get(fd_in), thread.files.get(fd_out)
    if not source.readable or not target.writable:
        raise SyscallError(errno.EBADF)
    length = min(length, MAX_SIZE)
    nonblocking = bool(flags & SPLICE_F_NONBLOCK)
    if isinstance(source, PipeFile):
        if off_in or (isinstance(target, PipeFile) and off_out):
            raise SyscallError(errno.ESPIPE)
        if isinstance(target, PipeFile):
            return await _pipe_to_pipe(source, target, length, nonblocking, keep=False)
        return await _pipe_to_file(source, target, _Offset(off_out, target), length, nonblocking)
    if isinstance(target, PipeFile):
        if off_out:
            raise SyscallError(errno.ESPIPE)
        return await _file_to_pipe(source, _Offset(off_in, source), target, length, nonblocking)
    raise SyscallError(errno.EINVAL)


@syscall(276)
async def tee(thread: Thread, fd_in: Fd, fd_out: Fd, length: Size, flags: UInt) -> int:
    if flags & ~SPLICE_FLAGS:
        raise SyscallError(errno.EINVAL)
    if not length:
        return 0
    source, target = thread.files.get(fd_in), thread.files.get(fd_out)
    if not source.readable or not target.writable:
        raise SyscallError(errno.EBADF)
    if not isinstance(source, PipeFile) or not isinstance(target, PipeFile):
        raise SyscallError(errno.EINVAL)
    return await _pipe_to_pipe(source, target, length, bool(flags & SPLICE_F_NONBLOCK), keep=True)


@syscall(278)
async def vmsplice(thread: Thread, fd: Fd, vector: Vector, count: Int, flags: UInt) -> int:
    if flags & ~SPLICE_FLAGS:
        raise SyscallError(errno.EINVAL)
    file = thread.files.get(fd)
    if not isinstance(file, PipeFile):
        raise SyscallError(errno.EBADF)
    if not vector.size:
        return 0
    nonblocking = bool(flags & SPLICE_F_NONBLOCK)
    if file.writable:
        return await _user_to_pipe(vector, file, nonblocking)
    if not await _wait_filled(file, nonblocking):
        return 0
    data = file.taken(min(vector.size, MAX_SIZE))
    vector.write(data)
    return len(data)


# -- waiting -----------------------------------------------------------------


async def _wait_filled(source: PipeFile, nonblocking: bool) -> bool:
    """Wait for something to read; False at the end. EAGAIN instead of waiting."""
    if nonblocking and not source.pipe.slots and source.pipe.writers:
        raise SyscallError(errno.EAGAIN)
    return await source.wait_filled()


async def _wait_room(target: PipeFile, nonblocking: bool) -> int:
    """Wait for a free slot; how many bytes the free slots hold. EPIPE without readers."""
    pipe = target.pipe
    while True:
        if not pipe.readers:
            raise SyscallError(errno.EPIPE, signal=SIGPIPE)
        if not pipe.full:
            return (pipe.capacity - len(pipe.slots)) * PAGE
        if nonblocking:
            raise SyscallError(errno.EAGAIN)
        await target.wait_for(WRITABLE)


# -- moving ------------------------------------------------------------------


async def _pipe_to_pipe(source: PipeFile, target: PipeFile, length: int, nonblocking: bool, keep: bool) -> int:
    """Move slots from pipe to pipe, or copy them (``keep``)."""
    if source.pipe is target.pipe:
        raise SyscallError(errno.EINVAL)
    nonblocking = nonblocking or source.nonblocking or target.nonblocking
    while True:
        if not await _wait_filled(source, nonblocking):
            return 0
        await _wait_room(target, nonblocking)
        if source.pipe.slots:  # and not taken by another reader while we waited for room
            break
    was_full = source.pipe.full
    free = target.pipe.capacity - len(target.pipe.slots)
    pieces = source.pipe.peek(length)[:free] if keep else source.pipe.remove(length, free)
    target.pipe.slots.extend(pieces)
    target.pipe.room = 0
    target.pipe.readable.wake(READABLE)
    if was_full and not keep:
        source.pipe.writable.wake(WRITABLE)
    return sum(map(len, pieces))


async def _pipe_to_file(source: PipeFile, target: File, offset: _Offset, length: int, nonblocking: bool) -> int:
    if target.flags & os.O_APPEND or isinstance(target, AnonymousFile):
        raise SyscallError(errno.EINVAL)
    if not await _wait_filled(source, nonblocking):
        return 0
    data = source.taken(length)
    done = 0
    try:
        if offset.pointer:
            done = await target.pwrite(data, offset.value)
        else:
            done = await target.write(data)
    finally:
        # What could not be passed on is still in the pipe, for the next reader.
        if done < len(data):
            source.pipe.unread(data[done:])
            source.pipe.readable.wake(READABLE)
    offset.advance(done)
    return done


async def _file_to_pipe(source: File, offset: _Offset, target: PipeFile, length: int, nonblocking: bool) -> int:
    if isinstance(source, AnonymousFile):
        raise SyscallError(errno.EINVAL)
    room = await _wait_room(target, nonblocking)
    size = min(length, room)
    data = await source.pread(size, offset.value) if offset.pointer else await source.read(size)
    if data:
        if not target.pipe.readers:
            raise SyscallError(errno.EPIPE, signal=SIGPIPE)
        target.pipe.push(data)
        target.pipe.readable.wake(READABLE)
    offset.advance(len(data))
    return len(data)


async def _user_to_pipe(source: UserBuffer, target: PipeFile, nonblocking: bool) -> int:
    """Waits for the first slot only, as Linux does: the rest is for the next call."""
    room = await _wait_room(target, nonblocking)
    data = source.read(min(source.size, room))
    target.pipe.push(data)
    target.pipe.readable.wake(READABLE)
    return len(data)
