"""process_vm_readv(2) and process_vm_writev(2): one process' memory from another."""

from __future__ import annotations

import errno
import struct

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
MAX_TRANSFER = 1 << 20  # bytes of one call; more is a short transfer


@syscall(310)
def process_vm_readv(
    thread: Thread, pid: Int, local: Vector, local_count: Size, remote: Pointer, remote_count: Size, flags: Size
) -> int:
    done = 0
    memory = _memory(thread, pid, flags)
    for address, size in _pieces(local, remote, remote_count):
        try:
            data = memory.read(address, size)
        except SyscallError:
            if done:
                break
            raise
        local.write(data, done)
        done += size
    return done


@syscall(311)
def process_vm_writev(
    thread: Thread, pid: Int, local: Vector, local_count: Size, remote: Pointer, remote_count: Size, flags: Size
) -> int:
    done = 0
    memory = _memory(thread, pid, flags)
    for address, size in _pieces(local, remote, remote_count):
        try:
            memory.write(address, local.read(size, done))
        except SyscallError:
            if done:
                break
            raise
        done += size
    return done


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
    """(address, size) of what is to be moved, cut where pages end: a page is moved whole or not at all."""
    if count > IOV_MAX:
        raise SyscallError(errno.EINVAL)
    left = min(local.size, MAX_TRANSFER)
    pieces = []
    for base, length in IOV.iter_unpack(remote.read(count * IOV.size) if count else b""):
        end = base + min(length, left)
        left -= end - base
        while base < end:
            step = min(end, (base // PAGE + 1) * PAGE) - base
            pieces.append((base, step))
            base += step
    return pieces
