"""Waiting for children."""

from __future__ import annotations

import errno
from typing import Annotated

from ..abi import signals as abi
from ..abi.errors import SyscallError
from ..abi.marshal import Int, StructOut, UInt
from ..abi.user import UserPointer
from ..process.pidfd import process_of
from ..process.process import Process
from ..process.siginfo import SigInfo
from ..process.thread import Thread
from ..process.wait import (
    WALL,
    WCLONE,
    WCONTINUED,
    WEXITED,
    WNOHANG,
    WNOTHREAD,
    WNOWAIT,
    WSTOPPED,
    WUNTRACED,
    Chooser,
    wait_for_child,
)
from .table import syscall

P_ALL, P_PID, P_PGID, P_PIDFD = 0, 1, 2, 3
INT_MIN = -(1 << 31)


def _any_child(_: Process) -> bool:
    return True


def _of_pid(pid: int) -> Chooser:
    return lambda child: child.pid == pid


def _of_group(pgid: int) -> Chooser:
    return lambda child: child.group.pgid == pgid


@syscall(61)
async def wait4(
    thread: Thread,
    pid: Int,
    status: Annotated[UserPointer, StructOut(4)],
    options: UInt,
    usage: Annotated[UserPointer, StructOut(144)],
) -> int:
    if options & ~(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WCLONE | WALL):
        raise SyscallError(errno.EINVAL)
    if pid == INT_MIN:
        raise SyscallError(errno.ESRCH)
    if pid > 0:
        choose = _of_pid(pid)
    elif pid == -1:
        choose = _any_child
    else:
        choose = _of_group(-pid if pid else thread.process.group.pgid)
    state = await wait_for_child(thread, choose, options | WEXITED)
    if state is None:
        return 0
    if status:
        status.write(state.status.to_bytes(4, "little"))
    if usage:
        usage.write(state.usage.pack())
    return state.pid


@syscall(247)
async def waitid(
    thread: Thread,
    kind: Int,
    number: Int,
    info: Annotated[UserPointer, StructOut(abi.SIGINFO_SIZE)],
    options: UInt,
    usage: Annotated[UserPointer, StructOut(144)],
) -> int:
    if options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | WNOTHREAD | WCLONE | WALL):
        raise SyscallError(errno.EINVAL)
    if not options & (WEXITED | WSTOPPED | WCONTINUED):
        raise SyscallError(errno.EINVAL)
    choose, nonblocking = _chooser(thread, kind, number)
    state = await wait_for_child(thread, choose, options | (WNOHANG if nonblocking else 0))
    if state is None and nonblocking and not options & WNOHANG:
        raise SyscallError(errno.EAGAIN)
    if usage and state is not None:
        usage.write(state.usage.pack())
    if info:
        if state is None:
            info.write(bytes(28))  # si_pid 0 says that nothing was found
        else:
            found = SigInfo.child(abi.SIGCHLD, state.code, state.pid, state.uid, state.value)
            info.write(found.pack()[:28])
    return 0


def _chooser(thread: Thread, kind: int, number: int) -> tuple[Chooser, bool]:
    """Which children waitid(2) means, and whether a non-blocking pidfd forbids to wait for them."""
    if kind == P_ALL:
        return _any_child, False
    if kind == P_PID and number > 0:
        return _of_pid(number), False
    if kind == P_PGID and number >= 0:
        return _of_group(number or thread.process.group.pgid), False
    if kind == P_PIDFD and number >= 0:
        file = thread.files.get(number)
        target = process_of(file)
        return (lambda child: child is target), file.nonblocking
    raise SyscallError(errno.EINVAL)
