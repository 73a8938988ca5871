"""Parents and children: who hears of a death, who inherits the orphans, whose terminal goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..abi import signals as abi
from . import sending, sessions
from .siginfo import SigInfo

if TYPE_CHECKING:
    from .process import Process
    from .sessions import ProcessGroup
    from .thread import Thread


def _child_info(process: Process, signo: int, code: int, status: int) -> SigInfo:
    utime, stime = process.own_usage().ticks()
    return SigInfo.child(signo, code, process.pid, process.credentials.uid, status, utime, stime)


def tell_parent_of_stop(process: Process, code: int, status: int) -> None:
    """CLD_STOPPED or CLD_CONTINUED, unless the parent does not want to know (SA_NOCLDSTOP)."""
    parent = process.parent
    if parent is None:
        return
    if not parent.dispositions[abi.SIGCHLD].flags & abi.SA_NOCLDSTOP:
        sending.send_to_process(parent, _child_info(process, abi.SIGCHLD, code, status))
    parent.child_waiters.wake()


def tell_parent_of_death(process: Process) -> None:
    """Send the exit signal and wake who waits; a parent that ignores SIGCHLD never sees the zombie."""
    parent = process.parent
    if parent is None:
        return
    signo = process.exit_signal
    action = parent.dispositions[abi.SIGCHLD]
    ignored = signo == abi.SIGCHLD and action.handler == abi.SIG_IGN
    unwanted = ignored or (signo == abi.SIGCHLD and bool(action.flags & abi.SA_NOCLDWAIT))
    if signo and not ignored:
        if process.wait_status & 0x7F:
            code = abi.CLD_DUMPED if process.wait_status & 0x80 else abi.CLD_KILLED
            status = process.wait_status & 0x7F
        else:
            code, status = abi.CLD_EXITED, process.wait_status >> 8
        sending.send_to_process(parent, _child_info(process, signo, code, status))
    if unwanted:
        process.reap()
    parent.child_waiters.wake()


def pass_on_children(thread: Thread) -> None:
    """``thread`` ends: its children learn of it (PR_SET_PDEATHSIG) and belong to another thread of the process."""
    process = thread.process
    heir = next(iter(process.threads.values()), None)
    for child in list(process.children.values()):
        if child.creator is not thread:
            continue
        child.creator = heir
        if child.zombie:
            continue
        for member in list(child.threads.values()):
            if member.parent_death_signal:
                sending.send_to_process(child, SigInfo.kernel(member.parent_death_signal))


def reaper_of(process: Process) -> Process:
    """Who inherits the children of ``process``: the nearest living ancestor that asked for it, else init."""
    ancestor = process.parent
    while ancestor is not None:
        if ancestor.child_subreaper and not ancestor.exiting:
            return ancestor
        ancestor = ancestor.parent
    return process.kernel.init


def give_away_children(process: Process) -> None:
    """Children of the dead go to their reaper. Zombies among them are reported to it."""
    if not process.children:
        return
    reaper = reaper_of(process)
    heir = next(iter(reaper.threads.values()), None)
    children = list(process.children.values())
    process.children.clear()
    for child in children:
        child.parent = reaper
        child.creator = heir
        child.exit_signal = abi.SIGCHLD
        reaper.children[child.pid] = child
        for member in child.threads.values():
            member.publish_identity()
    for child in children:
        if child.zombie:
            tell_parent_of_death(child)
        else:
            _release_if_orphaned(child.group, process)


def release_orphaned_groups(process: Process) -> None:
    """Where ``process`` was the last that could have continued its stopped siblings, they are hung up on."""
    parent = process.parent
    if parent is not None and parent.group is not process.group and parent.session is process.session:
        _release_if_orphaned(process.group, process)


def _release_if_orphaned(group: ProcessGroup, leaving: Process) -> None:
    if group.is_orphaned(leaving) and group.has_stopped_member():
        sending.signal_group(group, abi.SIGHUP)
        sending.signal_group(group, abi.SIGCONT)


def leave_terminal(process: Process) -> None:
    """A session's leader takes the controlling terminal with it."""
    session = process.session
    if session.leader is not process:
        return
    session.leader = None
    if session.terminal is not None:
        session.terminal.hangup(leader_exits=True)
    elif session.hung_up is not None:
        group, session.hung_up = session.hung_up, None
        sending.signal_group(group, abi.SIGHUP)
        sending.signal_group(group, abi.SIGCONT)


def promote(survivor: Thread) -> None:
    """After an exec by a thread other than the first: it takes the pid over. The old leader has ended."""
    process = survivor.process
    table = process.kernel.processes
    del process.threads[survivor.tid]
    del table.threads[survivor.tid]
    table.release_task()
    survivor.tid = process.pid
    process.threads[survivor.tid] = survivor
    table.threads[survivor.tid] = survivor
    survivor.start_time = process.leader.start_time
    process.leader = survivor
    survivor.publish_identity()


def forget(process: Process) -> None:
    """Take a reaped process out of every table."""
    sessions.leave_group(process)
    table = process.kernel.processes
    del table.by_pid[process.pid]
    table.release_task()
