"""Birth, new programs and the end: fork, vfork, clone, clone3, execve, execveat, exit, exit_group."""

from __future__ import annotations

import errno
import struct

from ..abi.errors import SyscallError
from ..abi.marshal import Fd, Int, Path, Pointer, Size, UInt
from ..abi.signals import SIGCHLD, exited, valid_signal
from ..abi.user import UserPointer
from ..fs import namei
from ..fs.dentry import Location
from ..fs.regular import PlacedFile
from ..process import cloning, execute, forking
from ..process.dispatch import NewProgram, ThreadExit
from ..process.guest import guest_of
from ..process.guestmemory import read_strings
from ..process.loading import MAX_ARGUMENTS
from ..process.thread import Thread
from .at import start_of
from .table import syscall

AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW = 0x1000, 0x100
CLONE_ARGS = struct.Struct("<11Q")
CLONE_ARGS_MINIMUM = 64
_CLONE3_IGNORED = cloning.CLONE_DETACHED


@syscall(56)
async def clone(thread: Thread, flags: Size, stack: Size, parent_tid: Pointer, child_tid: Pointer, tls: Size) -> int:
    # clone(2) reports the pidfd where clone3(2) has a place of its own for it.
    if flags & cloning.CLONE_PIDFD and flags & cloning.CLONE_PARENT_SETTID:
        raise SyscallError(errno.EINVAL)
    exit_signal = flags & cloning.CSIGNAL
    wanted = flags & 0xFFFFFFFF & ~cloning.CSIGNAL
    return await forking.clone(thread, wanted, exit_signal, stack, tls, parent_tid, child_tid, parent_tid)


@syscall(57)
async def fork(thread: Thread) -> int:
    nothing = _null(thread)
    return await forking.clone(thread, 0, SIGCHLD, 0, 0, nothing, nothing, nothing)


@syscall(58)
async def vfork(thread: Thread) -> int:
    nothing = _null(thread)
    flags = cloning.CLONE_VM | cloning.CLONE_VFORK
    return await forking.clone(thread, flags, SIGCHLD, 0, 0, nothing, nothing, nothing)


def _null(thread: Thread) -> UserPointer:
    from ..process.guestmemory import GuestPointer

    return GuestPointer(guest_of(thread, errno.ENOSYS), 0)


@syscall(435)
async def clone3(thread: Thread, arguments: Pointer, size: Size) -> int:
    if size < CLONE_ARGS_MINIMUM:
        raise SyscallError(errno.EINVAL)
    if size > 4096:
        raise SyscallError(errno.E2BIG)
    raw = arguments.read(size)
    if any(raw[CLONE_ARGS.size :]):
        raise SyscallError(errno.E2BIG)
    fields = CLONE_ARGS.unpack(raw[: CLONE_ARGS.size].ljust(CLONE_ARGS.size, b"\0"))
    flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, _ = fields
    if flags & _CLONE3_IGNORED or flags & cloning.CSIGNAL & ~cloning.CLONE_NEWTIME or exit_signal > cloning.CSIGNAL:
        raise SyscallError(errno.EINVAL)
    if (exit_signal and not valid_signal(exit_signal)) or bool(stack) != bool(stack_size):
        raise SyscallError(errno.EINVAL)
    if set_tid or set_tid_size:
        raise SyscallError(errno.EPERM)
    if flags & (cloning.CLONE_THREAD | cloning.CLONE_PARENT) and exit_signal:
        raise SyscallError(errno.EINVAL)
    top = stack + stack_size
    at = arguments.at
    return await forking.clone(thread, flags, exit_signal, top, tls, at(parent_tid), at(child_tid), at(pidfd))


@syscall(59)
async def execve(thread: Thread, path: Path, argv: Pointer, envp: Pointer) -> int:
    location = await namei.resolve(thread, path)
    await _execute(thread, location, path, argv, envp)
    raise NewProgram


@syscall(322)
async def execveat(thread: Thread, dirfd: Fd, path: Path, argv: Pointer, envp: Pointer, flags: UInt) -> int:
    if flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW):
        raise SyscallError(errno.EINVAL)
    if not path and flags & AT_EMPTY_PATH:
        file = thread.files.get(dirfd)
        if not isinstance(file, PlacedFile):
            raise SyscallError(errno.EACCES)
        location, name = file.location, b"/dev/fd/%d" % dirfd
    else:
        follow = 0 if flags & AT_SYMLINK_NOFOLLOW else namei.FOLLOW
        location = await namei.resolve(thread, path, start_of(thread, dirfd, path), follow)
        if location.inode.is_symlink:
            raise SyscallError(errno.ELOOP)
        name = path if path.startswith(b"/") or dirfd == -100 else b"/dev/fd/%d/%s" % (dirfd, path)
    await _execute(thread, location, name, argv, envp)
    raise NewProgram


async def _execute(thread: Thread, location: Location, name: bytes, argv: UserPointer, envp: UserPointer) -> None:
    guest = guest_of(thread, errno.ENOSYS)
    arguments = read_strings(guest, argv.address, MAX_ARGUMENTS)
    environment = read_strings(guest, envp.address, MAX_ARGUMENTS)
    await execute.execute(thread, thread.kernel.supervisor, location, name, arguments, environment)


@syscall(60)
def exit_(thread: Thread, status: Int) -> None:
    raise ThreadExit(exited(status))


@syscall(231)
def exit_group(thread: Thread, status: Int) -> None:
    thread.process.exit(exited(status))
    raise ThreadExit(exited(status))
