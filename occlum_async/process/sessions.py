"""Process groups and sessions: who gets the terminal's signals. See setpgid(2), setsid(2), credentials(7)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

from ..abi.errors import SyscallError

if TYPE_CHECKING:
    from .process import Process


class Terminal(Protocol):
    """What a session needs of its controlling terminal (``io/tty``)."""

    def hangup(self, leader_exits: bool = False) -> None:
        """The session's leader is gone: readers see the end, and the terminal is free for another session."""
        ...


class Session:
    """A set of process groups with (maybe) one controlling terminal."""

    def __init__(self, leader: Process) -> None:
        self.sid = leader.pid
        self.leader: Process | None = leader
        self.terminal: Terminal | None = None
        self.foreground: ProcessGroup | None = None
        # The group that was in the foreground when the terminal hung up: signalled when the leader exits.
        self.hung_up: ProcessGroup | None = None
        self.groups: set[ProcessGroup] = set()


class ProcessGroup:
    """A job: the processes that a terminal's signals reach together."""

    def __init__(self, pgid: int, session: Session) -> None:
        self.pgid = pgid
        self.session = session
        self.members: set[Process] = set()
        session.groups.add(self)

    def is_orphaned(self, leaving: Process | None = None) -> bool:
        """No member (but ``leaving``, which is about to go) has a living parent in another group of the session.

        Nobody could continue such a group, so the terminal must not stop it.
        """
        for member in self.members:
            parent = member.parent
            if member is leaving or member.zombie or parent is None or parent.is_init:
                continue
            if parent.group is not self and parent.session is self.session:
                return False
        return True

    def has_stopped_member(self) -> bool:
        """Whether a job of the group is stopped."""
        return any(member.stopped for member in self.members)


def join_group(process: Process, group: ProcessGroup) -> None:
    """Move ``process`` into ``group``; an emptied group ceases to be."""
    leave_group(process)
    process.group = group
    group.members.add(process)


def leave_group(process: Process) -> None:
    """Take ``process`` out of its group; the last one out ends the group, and with the last group the session."""
    group = process.group
    group.members.discard(process)
    if group.members:
        return
    table = process.kernel.processes
    if table.groups.get(group.pgid) is group:
        del table.groups[group.pgid]
    session = group.session
    if session.foreground is group:
        session.foreground = None
    if session.hung_up is group:
        session.hung_up = None
    session.groups.discard(group)
    if not session.groups and table.sessions.get(session.sid) is session:
        del table.sessions[session.sid]


def new_session(process: Process) -> Session:
    """setsid(2): EPERM when the process leads a group already (or another still bears its number)."""
    table = process.kernel.processes
    if process.pid in table.groups:
        raise SyscallError(errno.EPERM)
    session = Session(process)
    group = ProcessGroup(process.pid, session)
    table.sessions[session.sid] = session
    table.groups[group.pgid] = group
    join_group(process, group)
    return session


def set_group(caller: Process, pid: int, pgid: int) -> None:
    """setpgid(2). EINVAL, ESRCH, EPERM, EACCES as setpgid(2) lists them."""
    if pgid < 0:
        raise SyscallError(errno.EINVAL)
    table = caller.kernel.processes
    target = table.get(pid) if pid else caller
    if target is None or (target is not caller and target.parent is not caller):
        raise SyscallError(errno.ESRCH)
    if target is not caller:
        if target.session is not caller.session:
            raise SyscallError(errno.EPERM)
        if target.executed:
            raise SyscallError(errno.EACCES)
    if target.session.leader is target:
        raise SyscallError(errno.EPERM)
    number = pgid or target.pid
    group = table.groups.get(number)
    if group is None or group.session is not caller.session:
        if number != target.pid or group is not None:
            raise SyscallError(errno.EPERM)
        group = table.groups[number] = ProcessGroup(number, target.session)
    if target.group is not group:
        join_group(target, group)
