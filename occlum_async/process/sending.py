"""Sending signals: to a thread, a process, a group; who may, and who is woken."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..abi import signals as abi
from ..abi.errors import SyscallError
from ..fs.credentials import CAP_KILL
from .limits import RLIMIT_SIGPENDING
from .siginfo import SigInfo

if TYPE_CHECKING:
    from .process import Process
    from .sessions import ProcessGroup
    from .signals import PendingSignals
    from .thread import Thread


def send_to_process(process: Process, info: SigInfo) -> bool:
    """Send ``info`` to whichever thread will take it. False when it is ignored. EAGAIN, see ``PendingSignals.add``."""
    if process.zombie or not _prepare(process, process.leader, info.signo):
        return False
    _queue(process, process.pending, info)
    _wake(process, info.signo, [process.leader, *process.threads.values()])
    return True


def send_to_thread(thread: Thread, info: SigInfo) -> bool:
    """Send ``info`` to ``thread`` alone. False when it is ignored."""
    process = thread.process
    if thread.exited or not _prepare(process, thread, info.signo):
        return False
    _queue(process, thread.signals.pending, info)
    _wake(process, info.signo, [thread])
    return True


def send_to_group(group: ProcessGroup, info: SigInfo) -> None:
    """Send ``info`` to every process of ``group``."""
    for process in sorted(group.members, key=lambda member: member.pid):
        send_to_process(process, info)


def signal_group(group: ProcessGroup, signo: int) -> None:
    """The kernel's own signal to a group: what terminals send."""
    send_to_group(group, SigInfo.kernel(signo))


def _prepare(process: Process, target: Thread, signo: int) -> bool:
    """Stop and continue signals cancel one another; False when there is nothing to queue."""
    if process.exiting:
        return False
    mask = abi.bit(signo)
    if mask & abi.STOP_SIGNALS:
        process.discard_pending(abi.bit(abi.SIGCONT))
    elif signo == abi.SIGCONT:
        process.discard_pending(abi.STOP_SIGNALS)
        process.resume()
    if process.is_init and process.dispositions[signo].handler == abi.SIG_DFL:
        return False
    return bool(target.signals.blocked & mask) or not process.dispositions.ignores(signo)


def _queue(process: Process, pending: PendingSignals, info: SigInfo) -> None:
    account = process.kernel.accounts.get(process.leader.credentials.uid)
    pending.add(info, account, process.limits.soft(RLIMIT_SIGPENDING))
    process.signal_waiters.wake()


def _wake(process: Process, signo: int, candidates: list[Thread]) -> None:
    """Have one thread look that takes ``signo``, preferably one that has nothing else to do."""
    if signo == abi.SIGKILL:
        process.exit(abi.killed(abi.SIGKILL))
        return
    mask = abi.bit(signo)
    takers = [
        thread
        for thread in candidates
        if not thread.exited and not thread.stopped and not thread.signals.blocked & mask
    ]
    if not takers:
        return
    default = process.dispositions[signo].handler == abi.SIG_DFL
    if default and abi.default_action(signo) is abi.Default.TERMINATE:
        process.exit(abi.killed(signo))
        return
    for thread in takers:
        if thread.strand is None or not thread.strand.interrupted:
            thread.interrupt()
            return
    takers[0].interrupt()


# -- who may -----------------------------------------------------------------


def may_signal(sender: Thread, target: Process, signo: int) -> bool:
    """kill(2)'s rule: the same user, CAP_KILL, or SIGCONT within a session."""
    if target is sender.process:
        return True
    mine, theirs = sender.credentials, target.leader.credentials
    if mine.euid in (theirs.suid, theirs.uid) or mine.uid in (theirs.suid, theirs.uid) or mine.capable(CAP_KILL):
        return True
    return signo == abi.SIGCONT and sender.process.session is target.session


def kill(sender: Thread, pid: int, info: SigInfo, signo: int) -> None:
    """kill(2): ``pid`` > 0 a process, 0 the own group, -1 everyone else, < -1 a group. ``signo`` 0 only asks."""
    table = sender.kernel.processes
    if pid > 0:
        _check_and_send(sender, table.find(pid), info, signo)
        return
    if pid == -1:
        targets = [process for process in table if not process.is_init and process is not sender.process]
    else:
        group = sender.process.group if pid == 0 else table.groups.get(-pid)
        targets = [] if group is None else sorted(group.members, key=lambda member: member.pid)
    if not targets:
        raise SyscallError(errno.ESRCH)
    failure = 0
    successes = 0
    for target in targets:
        try:
            _check_and_send(sender, target, info, signo)
            successes += 1
        except SyscallError as error:
            # kill(-1) reports no EPERM: whom it may not reach is none of its business.
            if pid != -1 or error.errno != errno.EPERM:
                failure = error.errno
    if failure and (pid == -1 or not successes):
        raise SyscallError(failure)


def _check_and_send(sender: Thread, target: Process, info: SigInfo, signo: int) -> None:
    if not may_signal(sender, target, signo):
        raise SyscallError(errno.EPERM)
    if signo:
        send_to_process(target, info)
