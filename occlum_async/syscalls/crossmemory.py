"""process_vm_readv(2) and process_vm_writev(2): one process' memory from another."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

from ..abi.errors import SyscallError
from ..abi.marshal import Int, Pointer, Size, Vector
from ..abi.user import UserBuffer, UserPointer
from ..process.host import GuestProcess
from ..process.thread import Thread
from .identity import may_inspect
from .table import syscall

IOV = struct.Struct("<QQ")
IOV_MAX = 1024
PAGE = 4096
MAX_TRANSFER = 1 << 28  # bytes of one call; more is a short transfer
PIECE = 1 << 20


@syscall(310)
def process_vm_readv(
    thread: Thread, pid: Int, local: Vector, local_count: Size, remote: Pointer, remote_count: Size, flags: Size
) -> int:
    memory = _memory(thread, pid, flags)

    def move(address: int, size: int, done: int) -> None:
        local.write(memory.read(address, size), done)

    return _transfer(_pieces(local, remote, remote_count), move)


@syscall(311)
def process_vm_writev(
    thread: Thread, pid: Int, local: Vector, local_count: Size, remote: Pointer, remote_count: Size, flags: Size
) -> int:
    memory = _memory(thread, pid, flags)

    def move(address: int, size: int, done: int) -> None:
        memory.write(address, local.read(size, done))

    return _transfer(_pieces(local, remote, remote_count), move)


def _memory(thread: Thread, pid: int, flags: int) -> GuestProcess:
    """The memory of ``pid``; EINVAL, ESRCH, EPERM."""
    if flags:
        raise SyscallError(errno.EINVAL)
    target = thread.kernel.processes.task(pid).process
    if target is not thread.process and not may_inspect(thread, target):
        raise SyscallError(errno.EPERM)
    if target.memory is None or target.zombie:
        raise SyscallError(errno.ESRCH)
    return target.memory


def _pieces(local: UserBuffer, remote: UserPointer, count: int) -> list[tuple[int, int]]:
    """(address, size) of what is to be moved. EINVAL, EFAULT."""
    if count > IOV_MAX:
        raise SyscallError(errno.EINVAL)
    left = min(local.size, MAX_TRANSFER)
    pieces = []
    for address, length in IOV.iter_unpack(remote.read(count * IOV.size) if count else b""):
        size = min(length, left)
        pieces += [(address + at, min(PIECE, size - at)) for at in range(0, size, PIECE)]
        left -= size
    return pieces


def _transfer(pieces: list[tuple[int, int]], move: Callable[[int, int, int], None]) -> int:
    """``move`` piece by piece; where one fails, page by page: a page is moved whole or not at all."""
    done = 0
    for address, size in pieces:
        try:
            move(address, size, done)
        except SyscallError:
            return _transfer_pages(address, address + size, move, done)
        done += size
    return done


def _transfer_pages(address: int, end: int, move: Callable[[int, int, int], None], done: int) -> int:
    while address < end:
        step = min(end, (address // PAGE + 1) * PAGE) - address
        try:
            move(address, step, done)
        except SyscallError:
            if done == 0:
                raise
            break
        address += step
        done += step
    return done
