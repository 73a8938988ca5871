"""wait4(2) and waitid(2): which child, which change, what is reported."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from ..abi import signals as abi
from ..abi.errors import SyscallError
from .rusage import ResourceUsage

if TYPE_CHECKING:
    from .process import Process
    from .thread import Thread

WNOHANG, WUNTRACED, WSTOPPED, WEXITED, WCONTINUED, WNOWAIT = 1, 2, 2, 4, 8, 0x01000000
WNOTHREAD, WALL, WCLONE = 0x20000000, 0x40000000, 0x80000000

Chooser = Callable[["Process"], bool]


class ChildState(msgspec.Struct, frozen=True):
    """What a wait found: ``status`` as wait(2) has it, ``code`` (CLD_*) and ``value`` as waitid(2)'s siginfo."""

    pid: int
    uid: int
    status: int
    code: int
    value: int
    usage: ResourceUsage


def _eligible(child: Process, thread: Thread, choose: Chooser, options: int) -> bool:
    if not choose(child):
        return False
    if options & WNOTHREAD and child.creator is not thread:
        return False
    # A "clone child" is one that does not send SIGCHLD.
    return bool(options & WALL) or (child.exit_signal != abi.SIGCHLD) == bool(options & WCLONE)


def _report(child: Process, options: int) -> ChildState | None:
    """What there is to say of ``child``; said once only, unless WNOWAIT."""
    keep = bool(options & WNOWAIT)
    usage = child.own_usage() + child.children_usage
    uid = child.credentials.uid
    if child.zombie:
        if not options & WEXITED:
            return None
        status = child.wait_status
        if not keep:
            child.reap()
        if status & 0x7F:
            code = abi.CLD_DUMPED if status & 0x80 else abi.CLD_KILLED
            return ChildState(child.pid, uid, status, code, status & 0x7F, usage)
        return ChildState(child.pid, uid, status, abi.CLD_EXITED, status >> 8, usage)
    if options & WSTOPPED and child.stop_report:
        signo = child.stop_report
        if not keep:
            child.stop_report = 0
        return ChildState(child.pid, uid, abi.stopped(signo), abi.CLD_STOPPED, signo, usage)
    if options & WCONTINUED and child.continue_report:
        if not keep:
            child.continue_report = False
        return ChildState(child.pid, uid, abi.CONTINUED, abi.CLD_CONTINUED, abi.SIGCONT, usage)
    return None


async def wait_for_child(thread: Thread, choose: Chooser, options: int) -> ChildState | None:
    """Wait for a change of a child that ``choose`` accepts. None: WNOHANG and nothing yet. ECHILD: no such child."""
    process = thread.process
    while True:
        candidates = [child for child in process.children.values() if _eligible(child, thread, choose, options)]
        for child in candidates:
            state = _report(child, options)
            if state is not None:
                return state
        if not candidates:
            raise SyscallError(errno.ECHILD)
        if options & WNOHANG:
            return None
        await process.child_waiters.wait(thread.scheduler)
