"""O_ASYNC: the signal that an open file sends to its owner when it becomes ready (F_SETOWN, F_SETSIG)."""

from __future__ import annotations

import errno

from ..abi.errors import SyscallError
from ..abi.signals import POLL_ERR, POLL_HUP, POLL_IN, POLL_OUT, POLL_PRI, SIGIO, SIGURG
from ..io.file import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, File
from ..io.sockets.socket import Socket
from ..process.process import Process
from ..process.sending import may_signal, send_to_process, send_to_thread
from ..process.siginfo import SigInfo
from ..process.thread import Thread
from ..sched.waitqueue import ANY, Waiter

OWNER_TID, OWNER_PID, OWNER_GROUP = 0, 1, 2
BANDS = ((POLLERR, POLL_ERR), (POLLHUP, POLL_HUP), (POLLPRI, POLL_PRI), (POLLIN, POLL_IN), (POLLOUT, POLL_OUT))

# Of every file with O_ASYNC, until it is closed.
_waiters: dict[File, Waiter] = {}
# Of every socket with an owner.
_urgent_waiters: dict[File, Waiter] = {}


def set_owner(thread: Thread, file: File, kind: int, number: int) -> None:
    """F_SETOWN, F_SETOWN_EX: who gets the signals; 0 for nobody. ESRCH."""
    if number and not _owners(thread, kind, number):
        raise SyscallError(errno.ESRCH)
    file.owner = (kind, number)
    if isinstance(file, Socket):
        _watch_urgent(thread, file, number != 0)


def _watch_urgent(thread: Thread, file: File, on: bool) -> None:
    """Urgent data is told to a socket's owner by SIGURG, whether it wants O_ASYNC or not."""
    waiter = _urgent_waiters.pop(file, None)
    if waiter is not None:
        file.waiters.remove(waiter)
    if not on:
        return

    def urgent(events: int) -> None:
        if events != ANY:
            _signal(thread, file, SIGURG, SigInfo.kernel(SIGURG))

    if waiter is None:
        file.on_close.append(lambda closed: _watch_urgent(thread, closed, False))
    _urgent_waiters[file] = file.waiters.add(urgent, POLLPRI)


def set_async(thread: Thread, file: File, on: bool) -> None:
    """Start or stop to send signals; they are sent with the rights of ``thread``."""
    waiter = _waiters.pop(file, None)
    if waiter is not None:
        file.waiters.remove(waiter)
    if not on:
        return
    if waiter is None:
        file.on_close.append(lambda closed: set_async(thread, closed, False))
    _waiters[file] = file.waiters.add(lambda events: _send(thread, file, events))


def _owners(thread: Thread, kind: int, number: int) -> list[Thread | Process]:
    processes = thread.kernel.processes
    if kind == OWNER_TID:
        target = processes.threads.get(number)
        return [target] if target is not None else []
    if kind == OWNER_PID:
        process = processes.by_pid.get(number)
        return [process] if process is not None else []
    group = processes.groups.get(number)
    return list(group.members) if group is not None else []


def _send(thread: Thread, file: File, events: int) -> None:
    if not file.owner[1]:
        return
    band = next((code for bit, code in BANDS if events & bit), POLL_IN)
    signo = file.owner_signal or SIGIO
    info = SigInfo.poll(signo, band, events & 0xFFFF, 0) if file.owner_signal else SigInfo.kernel(SIGIO)
    _signal(thread, file, signo, info)


def _signal(thread: Thread, file: File, signo: int, info: SigInfo) -> None:
    """Send a signal to the owner of ``file``, with the rights of ``thread``."""
    for target in _owners(thread, *file.owner):
        process = target.process if isinstance(target, Thread) else target
        if not may_signal(thread, process, signo):
            continue
        if isinstance(target, Thread):
            send_to_thread(target, info)
        else:
            send_to_process(target, info)
