"""What terminals must know of processes, and the rules of job control that follow from it.

The process model hands a ``JobControl`` over at boot. The protocols here name exactly what is used of it.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Protocol

from ...abi.errors import Interrupted, SyscallError
from ...abi.signals import SIGTTIN

if TYPE_CHECKING:
    from .terminal import Terminal


class Group(Protocol):
    """A process group."""

    pgid: int
    session: Any

    def is_orphaned(self) -> bool:
        """Whether no member has a parent in another group of the same session."""
        ...


class Session(Protocol):
    """A session. ``terminal`` and ``foreground`` are set and cleared by the terminal alone.

    ``hung_up`` is the group that was in the foreground when the terminal hung up: it gets its SIGHUP when
    the leader exits.
    """

    sid: int
    leader: Any
    terminal: Any
    foreground: Any
    hung_up: Any


class JobControl(Protocol):
    """The process model, as far as terminals may see it. ``Any`` stands for its threads and processes."""

    def current(self) -> Any:
        """The calling thread; None when the embedder itself calls."""
        ...

    def refuses(self, thread: Any, signo: int) -> bool:
        """Whether ``thread`` blocks or ignores the signal."""
        ...

    def signal_group(self, group: Any, signo: int) -> None:
        """Send a signal of the kernel to every member."""
        ...

    def signal_process(self, process: Any, signo: int) -> None:
        """Send a signal of the kernel to one process."""
        ...

    def find_group(self, thread: Any, pgid: int) -> Any:
        """The process group of that number as ``thread`` sees it; None if there is none."""
        ...


def is_controlling(terminal: Terminal, thread: Any) -> bool:
    """Whether ``terminal`` is the controlling terminal of the caller."""
    return terminal.session is not None and thread.process.session is terminal.session


def check_foreground(terminal: Terminal, thread: Any, signo: int) -> None:
    """Let a thread of the foreground group pass; stop one of the background with SIGTTIN or SIGTTOU.

    EIO when the signal could not stop it: for reading when it is blocked or ignored, for both when the
    group is orphaned (nobody could continue it).
    """
    if thread is None or not is_controlling(terminal, thread):
        return
    foreground, group = terminal.session.foreground, thread.process.group
    if foreground is None or foreground is group:
        return
    if terminal.jobs.refuses(thread, signo):
        if signo == SIGTTIN:
            raise SyscallError(errno.EIO)
        return
    if group.is_orphaned():
        raise SyscallError(errno.EIO)
    terminal.jobs.signal_group(group, signo)
    raise Interrupted


def take_control(terminal: Terminal, process: Any) -> None:
    """Make ``terminal`` the controlling terminal of the session that ``process`` leads."""
    session = process.session
    terminal.session = session
    session.terminal = terminal
    session.foreground = process.group


def lose_control(terminal: Terminal) -> None:
    """No session is controlled by ``terminal`` any more."""
    session = terminal.session
    if session is not None:
        terminal.session = None
        session.terminal = session.foreground = None
