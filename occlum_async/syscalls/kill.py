"""Sending signals: kill(2), tgkill(2), sigqueue(3), pidfd_send_signal(2)."""

from __future__ import annotations

import errno
from typing import Annotated

from ..abi import signals as abi
from ..abi.errors import SyscallError
from ..abi.marshal import Fd, Int, StructIn, UInt
from ..abi.user import UserPointer
from ..process import sending
from ..process.pidfd import signalled_by
from ..process.siginfo import SigInfo
from ..process.thread import Thread
from .table import syscall

_INFO = StructIn(abi.SIGINFO_SIZE)


def _check_signal(signo: int) -> None:
    """0 only asks whether the signal could be sent."""
    if signo and not abi.valid_signal(signo):
        raise SyscallError(errno.EINVAL)


def _user_info(thread: Thread, signo: int, code: int = abi.SI_USER) -> SigInfo:
    return SigInfo.user(signo, thread.process.pid, thread.credentials.uid, code)


@syscall(62)
def kill(thread: Thread, pid: Int, signo: Int) -> None:
    _check_signal(signo)
    if pid == -(1 << 31):
        raise SyscallError(errno.ESRCH)
    sending.kill(thread, pid, _user_info(thread, signo), signo)


@syscall(200)
def tkill(thread: Thread, tid: Int, signo: Int) -> None:
    if tid <= 0:
        raise SyscallError(errno.EINVAL)
    _send_to_thread(thread, None, tid, signo, _user_info(thread, signo, abi.SI_TKILL))


@syscall(234)
def tgkill(thread: Thread, tgid: Int, tid: Int, signo: Int) -> None:
    if tgid <= 0 or tid <= 0:
        raise SyscallError(errno.EINVAL)
    _send_to_thread(thread, tgid, tid, signo, _user_info(thread, signo, abi.SI_TKILL))


def _send_to_thread(thread: Thread, tgid: int | None, tid: int, signo: int, info: SigInfo) -> None:
    target = thread.kernel.processes.task(tid)
    if tgid is not None and target.process.pid != tgid:
        raise SyscallError(errno.ESRCH)
    _check_signal(signo)
    if not sending.may_signal(thread, target.process, signo):
        raise SyscallError(errno.EPERM)
    if signo:
        sending.send_to_thread(target, info)


def _queued_info(thread: Thread, pointer: UserPointer, signo: int, own: bool) -> SigInfo:
    """The siginfo of a sigqueueinfo call. EPERM: to others it may not look like the kernel's or kill's."""
    info = SigInfo.unpack(pointer.read(abi.SIGINFO_SIZE))
    info.signo = signo
    if (info.code >= 0 or info.code == abi.SI_TKILL) and not own:
        raise SyscallError(errno.EPERM)
    return info


@syscall(129)
def rt_sigqueueinfo(thread: Thread, pid: Int, signo: Int, info: Annotated[UserPointer, _INFO]) -> None:
    queued = _queued_info(thread, info, signo, own=pid == thread.process.pid)
    _check_signal(signo)
    # Unlike kill(2), a negative pid or 0 names nobody.
    target = thread.kernel.processes.find(pid)
    if not sending.may_signal(thread, target, signo):
        raise SyscallError(errno.EPERM)
    if signo:
        sending.send_to_process(target, queued)


@syscall(297)
def rt_tgsigqueueinfo(thread: Thread, tgid: Int, tid: Int, signo: Int, info: Annotated[UserPointer, _INFO]) -> None:
    queued = _queued_info(thread, info, signo, own=tgid == thread.process.pid)
    if tgid <= 0 or tid <= 0:
        raise SyscallError(errno.EINVAL)
    _send_to_thread(thread, tgid, tid, signo, queued)


@syscall(424)
def pidfd_send_signal(thread: Thread, pidfd: Fd, signo: Int, info: Annotated[UserPointer, _INFO], flags: UInt) -> None:
    if flags:
        raise SyscallError(errno.EINVAL)
    target = signalled_by(thread.files.get(pidfd))
    if info:
        queued = SigInfo.unpack(info.read(abi.SIGINFO_SIZE))
        if queued.signo != signo:
            raise SyscallError(errno.EINVAL)
        if target is not thread.process and (queued.code >= 0 or queued.code == abi.SI_TKILL):
            raise SyscallError(errno.EPERM)
    else:
        queued = _user_info(thread, signo)
    _check_signal(signo)
    if target.reaped:
        raise SyscallError(errno.ESRCH)
    if not sending.may_signal(thread, target, signo):
        raise SyscallError(errno.EPERM)
    if signo:
        sending.send_to_process(target, queued)
