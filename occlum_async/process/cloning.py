"""fork(2), vfork(2), clone(2), execve(2) on the model's side: what a child shares, copies and forgets."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..abi.errors import SyscallError
from ..abi.signals import SIGCHLD
from ..fs.credentials import CAP_SYS_ADMIN, CAP_SYS_RESOURCE
from . import family
from .identity import SECBIT_KEEP_CAPS
from .limits import RLIMIT_NPROC
from .process import Process
from .thread import Thread

if TYPE_CHECKING:
    from ..fs.credentials import Credentials

CSIGNAL = 0xFF
CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND = 0x100, 0x200, 0x400, 0x800
CLONE_PIDFD, CLONE_PTRACE, CLONE_VFORK, CLONE_PARENT = 0x1000, 0x2000, 0x4000, 0x8000
CLONE_THREAD, CLONE_NEWNS, CLONE_SYSVSEM, CLONE_SETTLS = 0x10000, 0x20000, 0x40000, 0x80000
CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID, CLONE_DETACHED = 0x100000, 0x200000, 0x400000
CLONE_UNTRACED, CLONE_CHILD_SETTID, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x800000, 0x1000000, 0x2000000, 0x4000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_IO = (
    0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80000000,
)  # fmt: skip
CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP, CLONE_NEWTIME = 1 << 32, 1 << 33, 0x80

_NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET


def check_flags(thread: Thread, flags: int) -> None:
    """EINVAL for combinations that clone(2) forbids, and for namespaces, which are not configured."""
    if flags & (_NAMESPACES | CLONE_INTO_CGROUP):
        raise SyscallError(errno.EINVAL)
    if flags & CLONE_THREAD and not flags & CLONE_SIGHAND:
        raise SyscallError(errno.EINVAL)
    if flags & CLONE_SIGHAND and (not flags & CLONE_VM or flags & CLONE_CLEAR_SIGHAND):
        raise SyscallError(errno.EINVAL)
    if flags & CLONE_PIDFD and flags & CLONE_DETACHED:
        raise SyscallError(errno.EINVAL)
    if flags & CLONE_PARENT and (thread.process.parent is None or thread.process.parent.is_init):
        raise SyscallError(errno.EINVAL)


def clone(thread: Thread, flags: int, exit_signal: int) -> Thread:
    """The child of ``thread``: a thread of the same process (CLONE_THREAD), or the leader of a new one.

    It is entered everywhere but has no strand yet: its owner starts it, or takes it back with ``abandon``.
    EINVAL as ``check_flags``; EAGAIN: RLIMIT_NPROC or the LibOS's limit of tasks.
    """
    check_flags(thread, flags)
    kernel, creds = thread.kernel, thread.credentials
    privileged = creds.uid == 0 or creds.capable(CAP_SYS_RESOURCE) or creds.capable(CAP_SYS_ADMIN)
    if not privileged and kernel.accounts.get(creds.uid).threads >= thread.process.limits.soft(RLIMIT_NPROC):
        raise SyscallError(errno.EAGAIN)
    if thread.process.exiting:
        raise SyscallError(errno.EAGAIN)
    tid = kernel.processes.allocate()
    process = thread.process if flags & CLONE_THREAD else _new_process(thread, tid, flags, exit_signal)
    child = Thread(
        process,
        tid,
        creds,
        thread.files if flags & CLONE_FILES else thread.files.copy(),
        thread.fs if flags & CLONE_FS else thread.fs.copy(),
    )
    child.name = thread.name
    child.scheduling = thread.scheduling.copy()
    child.no_new_privs = thread.no_new_privs
    child.signals.blocked = thread.signals.blocked
    if not flags & CLONE_VM or flags & CLONE_VFORK:
        child.signals.altstack = thread.signals.altstack
    if not flags & CLONE_THREAD:
        process.leader = child
        kernel.processes.by_pid[tid] = process
        process.timers.cpu_limit.update()
    kernel.add_thread(child)
    return child


def _new_process(thread: Thread, pid: int, flags: int, exit_signal: int) -> Process:
    old = thread.process
    if flags & CLONE_PARENT:
        process = Process(old.kernel, pid, old.parent, old.creator)
        process.exit_signal = old.exit_signal
    else:
        process = Process(old.kernel, pid, old, thread)
        process.exit_signal = exit_signal
    process.limits = old.limits.copy()
    if flags & CLONE_SIGHAND:
        process.dispositions = old.dispositions
        process.dispositions.users += 1
    else:
        process.dispositions = old.dispositions.copy()
        if flags & CLONE_CLEAR_SIGHAND:
            process.dispositions = old.dispositions.copy(handlers=False)
    process.run_file(old.executable)
    process.arguments = old.arguments
    process.environment = old.environment
    process.dumpable = old.dumpable
    process.personality = old.personality
    process.huge_pages_disabled = old.huge_pages_disabled
    process.oom_score_adj = old.oom_score_adj
    process.login = old.login
    process.group = old.group
    process.group.members.add(process)
    assert process.parent is not None, "init has no siblings"
    process.parent.children[pid] = process
    if old.kernel.ipc is not None and not flags & CLONE_VM:
        old.kernel.ipc.forked(old, process, pid, process.exit_waiters)
    return process


def abandon(child: Thread) -> None:
    """The child could not be brought to life: take it back, nobody hears of it."""
    process = child.process
    child.files.release()
    child.fs.release()
    child.exited = True
    del process.threads[child.tid]
    del child.kernel.processes.threads[child.tid]
    child.kernel.accounts.add_threads(child.credentials.uid, -1)
    if process.leader is not child:
        child.kernel.processes.release_task()
        process.thread_waiters.wake()
        return
    process.exiting = process.zombie = process.reaped = True
    process.exit_waiters.wake()  # what it inherited of IPC objects
    process.run_file(None)
    process.timers.close()
    process.dispositions.users -= 1
    if process.parent is not None:
        process.parent.children.pop(process.pid, None)
    family.forget(process)


def enter_program(thread: Thread, name: bytes, credentials: Credentials | None = None) -> None:
    """The point of no return of execve(2): ``thread`` is alone, and the old program is forgotten.

    ``credentials``: changed by a set-user-ID program or file capabilities. The caller sets ``arguments``,
    ``environment`` and ``memory``.
    """
    process = thread.process
    assert len(process.threads) == 1, "become_single_threaded comes first"
    shared = process.dispositions
    process.dispositions = shared.copy(handlers=False)
    shared.users -= 1
    if thread.files.users > 1:
        files = thread.files.copy().acquire()
        thread.files.release()
        thread.files = files
    thread.files.close_on_exec()
    if thread.kernel.ipc is not None:
        thread.kernel.ipc.executed(process, process.pid)
    process.timers.delete_posix()
    process.end_aio()
    thread.reset_for_exec()
    thread.set_name(name)
    process.dumpable = True
    credentials = (credentials or thread.credentials).with_(
        securebits=(credentials or thread.credentials).securebits & ~SECBIT_KEEP_CAPS
    )
    if credentials != thread.credentials:
        if (credentials.euid, credentials.egid) != (thread.credentials.euid, thread.credentials.egid):
            process.dumpable = False
            thread.parent_death_signal = 0
        thread.set_credentials(credentials)
    process.executed = True
    process.exit_signal = SIGCHLD
