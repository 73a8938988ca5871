"""All terminals of one LibOS: the numbers of /dev/pts, the console, and how device nodes find them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from ...abi.errors import SyscallError
from ...abi.stat import makedev
from ...sched.strand import Scheduler
from .console import Console, ConsoleDriver
from .file import TerminalFile
from .jobs import JobControl
from .pty import PtyMaster
from .terminal import Terminal

PTS_MAJOR = 136
# What only the opening itself looks at, and fcntl(F_GETFL) does not show.
OPEN_ONLY = os.O_CREAT | os.O_EXCL | os.O_NOCTTY | os.O_TRUNC | os.O_CLOEXEC
MAX_TERMINALS = 4096  # /proc/sys/kernel/pty/max
CAP_SYS_ADMIN = 21


class Terminals:
    """``by_index`` are the terminals that /dev/pts shows.

    ``make_node`` makes the node of a new terminal that belongs to a uid and a gid; devpts sets it.
    """

    def __init__(self, scheduler: Scheduler, control: JobControl, limit: int = MAX_TERMINALS) -> None:
        self.scheduler = scheduler
        self.jobs = control
        self.limit = limit
        self.by_index: dict[int, Terminal] = {}
        self.make_node: Callable[[Terminal, int, int], Any] | None = None
        self.console: Console | None = None

    def _create(self, uid: int, gid: int) -> Terminal:
        if len(self.by_index) >= self.limit:
            raise SyscallError(errno.ENOSPC)
        index = next(index for index in range(self.limit) if index not in self.by_index)
        terminal = Terminal(self.scheduler, self.jobs, index, makedev(PTS_MAJOR, index))
        if self.make_node is not None:
            terminal.node = self.make_node(terminal, uid, gid)
        self.by_index[index] = terminal
        return terminal

    def _forget(self, terminal: Terminal) -> None:
        if self.by_index.get(terminal.index) is terminal:
            del self.by_index[terminal.index]
        if self.console is not None and self.console.terminal is terminal:
            self.console = None

    def open_master(self, flags: int, uid: int = 0, gid: int = 0) -> PtyMaster:
        """A new pty; ENOSPC at the limit. Its slave is locked and belongs to ``uid``."""
        terminal = self._create(uid, gid)
        terminal.locked = True
        return PtyMaster(terminal, flags & ~OPEN_ONLY, self._forget)

    def create_console(self, driver: ConsoleDriver, uid: int = 0, gid: int = 0) -> Console:
        """A terminal that stands for one outside. The latest is /dev/console; all have numbers in /dev/pts."""
        self.console = Console(self._create(uid, gid), driver, self._forget)
        return self.console

    def open(self, terminal: Terminal, flags: int, thread: Any, controlling: bool = True) -> TerminalFile:
        """Open a terminal. It becomes the caller's controlling terminal by the rule of open(2)'s O_NOCTTY."""
        if terminal.locked or self.by_index.get(terminal.index) is not terminal:
            raise SyscallError(errno.EIO)
        if terminal.exclusive and (thread is None or not thread.credentials.capable(CAP_SYS_ADMIN)):
            raise SyscallError(errno.EBUSY)
        file = TerminalFile(terminal, flags & ~OPEN_ONLY)
        if isinstance(terminal.hardware, PtyMaster):
            terminal.hardware.slave_opened()
        process = getattr(thread, "process", None)
        if process is not None and controlling and not flags & os.O_NOCTTY and file.readable:
            session = process.session
            if session.leader is process and session.terminal is None and terminal.session is None:
                terminal.take_control(process)
        return file

    def open_slave(self, index: int, flags: int, thread: Any) -> TerminalFile:
        """Open /dev/pts/``index``; ENXIO if there is none."""
        terminal = self.by_index.get(index)
        if terminal is None:
            raise SyscallError(errno.ENXIO)
        return self.open(terminal, flags, thread)

    def open_current(self, flags: int, thread: Any) -> TerminalFile:
        """Open /dev/tty: the caller's controlling terminal; ENXIO if it has none."""
        process = getattr(thread, "process", None)
        terminal = process.session.terminal if process is not None else None
        if terminal is None:
            raise SyscallError(errno.ENXIO)
        return self.open(terminal, flags | os.O_NOCTTY, thread)

    def open_console(self, flags: int, thread: Any) -> TerminalFile:
        """Open /dev/console, which never becomes a controlling terminal by that; ENXIO if there is none."""
        if self.console is None:
            raise SyscallError(errno.ENXIO)
        return self.open(self.console.terminal, flags, thread, controlling=False)
