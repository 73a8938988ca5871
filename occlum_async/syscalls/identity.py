"""Who is who: pids, groups, sessions, and pidfds."""

from __future__ import annotations

import errno
import os

from ..abi.errors import SyscallError
from ..abi.marshal import Fd, Int, UInt
from ..fs.credentials import CAP_SYS_PTRACE
from ..process import sessions
from ..process.pidfd import PidFd, process_of
from ..process.process import Process
from ..process.thread import Thread
from .table import syscall


@syscall(39)
def getpid(thread: Thread) -> int:
    return thread.process.pid


@syscall(186)
def gettid(thread: Thread) -> int:
    return thread.tid


@syscall(110)
def getppid(thread: Thread) -> int:
    return thread.process.parent_pid


def _process(thread: Thread, pid: int) -> Process:
    return thread.kernel.processes.task(pid).process if pid else thread.process


@syscall(109)
def setpgid(thread: Thread, pid: Int, pgid: Int) -> None:
    sessions.set_group(thread.process, pid, pgid)


@syscall(121)
def getpgid(thread: Thread, pid: Int) -> int:
    return _process(thread, pid).group.pgid


@syscall(111)
def getpgrp(thread: Thread) -> int:
    return thread.process.group.pgid


@syscall(112)
def setsid(thread: Thread) -> int:
    return sessions.new_session(thread.process).sid


@syscall(124)
def getsid(thread: Thread, pid: Int) -> int:
    return _process(thread, pid).session.sid


@syscall(434)
def pidfd_open(thread: Thread, pid: Int, flags: UInt) -> int:
    if flags & ~os.O_NONBLOCK or pid <= 0:
        raise SyscallError(errno.EINVAL)
    table = thread.kernel.processes
    process = table.get(pid)
    if process is None:
        # A thread that leads no process is there, but not what a pidfd can refer to.
        raise SyscallError(errno.EINVAL if pid in table.threads else errno.ESRCH)
    file = PidFd(process, flags)
    try:
        return thread.files.install(file, cloexec=True)
    except SyscallError:
        file.close()
        raise


@syscall(438)
def pidfd_getfd(thread: Thread, pidfd: Fd, fd: Fd, flags: UInt) -> int:
    if flags:
        raise SyscallError(errno.EINVAL)
    target = process_of(thread.files.get(pidfd))
    if target.zombie:
        raise SyscallError(errno.ESRCH)
    if target is not thread.process and not may_inspect(thread, target):
        raise SyscallError(errno.EPERM)
    return thread.files.install(target.leader.files.get(fd), cloexec=True)


def may_inspect(thread: Thread, target: Process) -> bool:
    """ptrace(2)'s rule for attaching: the same user in every respect and dumpable, or CAP_SYS_PTRACE."""
    mine, theirs = thread.credentials, target.credentials
    same_user = all(uid == mine.uid for uid in (theirs.uid, theirs.euid, theirs.suid))
    same_group = all(gid == mine.gid for gid in (theirs.gid, theirs.egid, theirs.sgid))
    no_more_rights = not theirs.permitted & ~mine.permitted
    return mine.capable(CAP_SYS_PTRACE) or (same_user and same_group and no_more_rights and target.dumpable)
