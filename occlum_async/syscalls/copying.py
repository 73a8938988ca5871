"""From file to file within the kernel: sendfile(2) and copy_file_range(2). Also memfd_create(2)."""

from __future__ import annotations

import errno
import os
import struct

from ..abi.errors import Interrupted, SyscallError
from ..abi.marshal import Fd, Path, Pointer, Size, UInt
from ..abi.user import UserPointer
from ..fs.memfd import MFD_CLOEXEC, MemoryFiles
from ..fs.pages import Quota
from ..fs.ramfs import RamFs
from ..fs.regular import RegularFile
from ..io.file import File
from ..process.thread import Thread
from .file import MAX_RW_COUNT
from .table import syscall

OFFSET = struct.Struct("<q")
PIECE = 128 * 1024
TURN = 8  # pieces that are copied before others have a turn


async def _copy(thread: Thread, source: File, offset: int, target: File, target_offset: int | None, count: int) -> int:
    """Copy at most ``count`` bytes from ``offset`` on; to the position of ``target`` if it has no offset."""
    done = 0
    try:
        while done < count:
            data = await source.pread(min(PIECE, count - done), offset + done)
            if not data:
                break
            if target_offset is None:
                written = await target.write(data)
            else:
                written = await target.pwrite(data, target_offset + done)
            done += written
            if written < len(data):
                break
            if done % (TURN * PIECE) == 0:
                await thread.scheduler.give_way()
    except (SyscallError, Interrupted):
        if not done:
            raise
    return done


def _offset(pointer: UserPointer, file: File) -> int:
    if not pointer:
        return file.position
    (offset,) = pointer.unpack(OFFSET)
    if offset < 0:
        raise SyscallError(errno.EINVAL)
    return int(offset)


def _advance(pointer: UserPointer, file: File, offset: int, done: int) -> None:
    if pointer:
        pointer.pack(OFFSET, offset + done)
    else:
        file.position = offset + done


@syscall(40)
async def sendfile(thread: Thread, out_fd: Fd, in_fd: Fd, offset: Pointer, count: Size) -> int:
    source, target = thread.files.get(in_fd), thread.files.get(out_fd)
    if not source.readable or not target.writable:
        raise SyscallError(errno.EBADF)
    if not source.seekable:
        raise SyscallError(errno.ESPIPE if offset else errno.EINVAL)
    if target.flags & os.O_APPEND and isinstance(target, RegularFile):
        raise SyscallError(errno.EINVAL)
    start = _offset(offset, source)
    done = await _copy(thread, source, start, target, None, min(count, MAX_RW_COUNT))
    _advance(offset, source, start, done)
    return done


@syscall(326)
async def copy_file_range(
    thread: Thread, fd_in: Fd, off_in: Pointer, fd_out: Fd, off_out: Pointer, count: Size, flags: UInt
) -> int:
    source, target = thread.files.get(fd_in), thread.files.get(fd_out)
    if flags:
        raise SyscallError(errno.EINVAL)
    for file in (source, target):
        if not isinstance(file, RegularFile):
            is_dir = file.location is not None and file.location.inode.is_dir
            raise SyscallError(errno.EISDIR if is_dir else errno.EINVAL)
    if not source.readable or not target.writable or target.flags & os.O_APPEND:
        raise SyscallError(errno.EBADF)
    start, target_start = _offset(off_in, source), _offset(off_out, target)
    count = min(count, MAX_RW_COUNT)
    if source.location.inode is target.location.inode and abs(start - target_start) < count:
        raise SyscallError(errno.EINVAL)
    done = await _copy(thread, source, start, target, target_start, count)
    _advance(off_in, source, start, done)
    _advance(off_out, target, target_start, done)
    return done


@syscall(319)
async def memfd_create(thread: Thread, name: Path, flags: UInt) -> int:
    mounts = thread.kernel.mounts
    if mounts.memory_files is None:
        mounts.memory_files = MemoryFiles(RamFs(quota=Quota(parent=thread.kernel.file_memory)))
    file = await mounts.memory_files.create(thread, name, flags)
    file.acquire()
    try:
        return thread.files.install(file, bool(flags & MFD_CLOEXEC))
    finally:
        file.release()
