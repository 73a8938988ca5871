"""A terminal: the queues between a line discipline and the hardware at the other side.

Programs hold ``TerminalFile``s. The hardware (a pty's master, the console's driver) feeds typed bytes in with
``type`` and takes shown bytes out of ``output``. All of them meet at this object and never at each other.
"""

from __future__ import annotations

import errno
from typing import Any, Protocol

from msgspec.structs import replace

from ...abi import termios as tc
from ...abi.errors import Interrupted, SyscallError
from ...abi.signals import SIGCONT, SIGHUP, SIGTTIN, SIGWINCH
from ...abi.termios import Termios
from ...sched.strand import Scheduler
from ...sched.waitqueue import WaitQueue
from ..file import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from .discipline import LineDiscipline
from .jobs import JobControl
from .output import OutputProcessor

READABLE, WRITABLE = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM
ENDED = READABLE | WRITABLE | POLLERR | POLLHUP
TYPED_LIMIT = 8192  # bytes waiting in front of a full line discipline
OUTPUT_LIMIT = 65536  # bytes that the hardware has not taken; echo may exceed it by ECHO_LIMIT
ECHO_LIMIT = 4096


class Hardware(Protocol):
    """The other side of a terminal. None of these may wait, but ``drain``."""

    def changed(self, events: int) -> None:
        """POLLIN: there is output to take; POLLOUT: there is room for typed bytes; POLLHUP: nobody has the
        terminal open any more."""

    def hung_up(self) -> None:
        """Every file of the terminal has ended, though they may still be open."""

    def packet(self, status: int) -> None:
        """Something that packet mode reports happened (PKT_*)."""

    async def drain(self) -> None:
        """Wait until all output has left."""


class Terminal:
    """One terminal device. ``number`` is its device number, ``index`` its name in /dev/pts."""

    def __init__(self, scheduler: Scheduler, control: JobControl, index: int, number: int) -> None:
        self.scheduler = scheduler
        self.jobs = control
        self.index = index
        self.number = number
        self.hardware: Hardware | None = None
        self.node: Any = None  # the inode of /dev/pts/N
        self.session: Any = None
        self.window = (0, 0, 0, 0)  # rows, columns, width and height in pixels
        self.cursor = OutputProcessor()
        self.discipline = LineDiscipline(self)
        self.typed = bytearray()
        self.output = bytearray()
        self.stopped = False
        self.exclusive = False
        self.settings_lock = Termios.nothing()  # what TIOCSLCKTRMIOS has locked
        self.locked = False  # a pty's slave can't be opened before unlockpt(3)
        self.waiters = WaitQueue()
        self.opens = 0
        # A hangup starts a new generation: the files of earlier ones are dead for ever.
        self.generation = 0

    @property
    def termios(self) -> Termios:
        """The settings; change them with ``configure``."""
        return self.discipline.termios

    # -- the hardware's side --------------------------------------------------------

    def typing_room(self) -> int:
        """How many bytes ``type`` will take now."""
        return TYPED_LIMIT - len(self.typed)

    def type(self, data: bytes) -> int:
        """Bytes from the keyboard; how many were taken."""
        taken = min(len(data), self.typing_room())
        self.typed += data[:taken]
        self._pump()
        return taken

    def take_output(self, size: int) -> bytes:
        """At most ``size`` bytes for the screen."""
        was_full = self.room() <= 0
        data = bytes(self.output[:size])
        del self.output[:size]
        if was_full and self.room() > 0:
            self.waiters.wake(WRITABLE)
        return data

    def hangup(self, leader_exits: bool = False) -> None:
        """The line is gone, or the session's leader exits: every open file has ended.

        The line's end is told to the leader by SIGHUP and SIGCONT; the leader's end to the foreground group.
        (After both, the group hears of it when the leader exits, see ``Session.hung_up``.)
        """
        session = self.session
        foreground = session.foreground if session is not None else None
        self._end()
        if session is None:
            return
        if leader_exits:
            if foreground is not None:
                self.jobs.signal_group(foreground, SIGHUP)
                self.jobs.signal_group(foreground, SIGCONT)
            return
        session.hung_up = foreground
        if session.leader is not None:
            self.jobs.signal_process(session.leader, SIGHUP)
            self.jobs.signal_process(session.leader, SIGCONT)

    def _end(self) -> None:
        """Start a new generation, without a session and with nothing typed."""
        self.lose_control()
        self.generation += 1
        self.stopped = self.exclusive = False
        self.typed.clear()
        self.discipline.flush()
        self.waiters.wake(ENDED)
        if self.hardware is not None:
            self.hardware.hung_up()

    def resize(self, window: tuple[int, int, int, int]) -> None:
        """A new window size (rows, columns, pixels): the foreground group gets SIGWINCH if it differs."""
        if window != self.window:
            self.window = window
            self.signal(SIGWINCH)

    def _tell(self, events: int) -> None:
        if self.hardware is not None:
            self.hardware.changed(events)

    def _pump(self) -> None:
        """Move typed bytes into the line discipline, as far as there is room."""
        while self.typed and (room := self.discipline.room()) > 0:
            chunk = bytes(self.typed[:room])
            del self.typed[:room]
            self.discipline.receive(chunk)
        if self.discipline.available():
            self.waiters.wake(READABLE)

    # -- what the line discipline asks for ---------------------------------------------

    def echo(self, data: bytes) -> None:
        """Show ``data`` even if programs must wait; too much of it is dropped."""
        if len(self.output) + len(data) <= OUTPUT_LIMIT + ECHO_LIMIT:
            self.show(data)

    def signal(self, number: int) -> None:
        """Signal the foreground group."""
        if self.session is not None and self.session.foreground is not None:
            self.jobs.signal_group(self.session.foreground, number)

    def flow(self, stop: bool) -> None:
        """Stop or go on with the output of programs."""
        if stop == self.stopped:
            return
        self.stopped = stop
        self._report(tc.PKT_STOP if stop else tc.PKT_START)
        if not stop:
            self.waiters.wake(WRITABLE)

    def flush_output(self) -> None:
        """Throw away what the hardware has not taken."""
        self.output.clear()
        self._report(tc.PKT_FLUSHWRITE)
        self.waiters.wake(WRITABLE)

    def input_flushed(self) -> None:
        """The line discipline is empty."""
        self._report(tc.PKT_FLUSHREAD)

    def _report(self, status: int) -> None:
        if self.hardware is not None:
            self.hardware.packet(status)

    # -- the programs' side ----------------------------------------------------------

    def room(self) -> int:
        """How many bytes a program may show now."""
        return 0 if self.stopped else OUTPUT_LIMIT - len(self.output)

    def show(self, data: bytes) -> None:
        """Send ``data`` through output processing to the hardware."""
        self.send(self.cursor.process(data, self.termios))

    def send(self, data: bytes) -> None:
        """Send ``data`` to the hardware as it is."""
        self.output += data
        self._tell(POLLIN)

    def take_input(self, size: int) -> bytes:
        """What a read gets, see ``LineDiscipline.take``; makes room for typed bytes."""
        data = self.discipline.take(size)
        if self.typed:
            self._pump()
        self._tell(POLLOUT)
        return data

    def flush_input(self) -> None:
        """Throw away what was typed and not read."""
        self.typed.clear()
        self.discipline.flush()
        self._tell(POLLOUT)

    def configure(self, termios: Termios) -> None:
        """Set the terminal's mode. A line of this kind has always eight bits and no parity."""
        old = self.termios
        termios = termios.keeping(old, self.settings_lock)
        cflag = termios.cflag & ~(tc.CSIZE | tc.PARENB) | tc.CS8 | tc.CREAD
        termios = replace(termios, cflag=cflag)
        self.discipline.configure(termios)
        if self.stopped and old.iflag & tc.IXON and not termios.iflag & tc.IXON:
            self.flow(False)
        if (old.lflag ^ termios.lflag) & tc.EXTPROC or termios.lflag & tc.EXTPROC:
            self._report(tc.PKT_IOCTL)
        if _stops_by_keys(old) != _stops_by_keys(termios):
            self._report(tc.PKT_DOSTOP if _stops_by_keys(termios) else tc.PKT_NOSTOP)
        if (old.lflag ^ termios.lflag) & (tc.ICANON | tc.ECHO) or self.typed:
            self._pump()
        # Readers look at the mode that they wait in.
        self.waiters.wake(READABLE)

    # -- job control ---------------------------------------------------------------------------------

    def is_controlling(self, thread: Any) -> bool:
        """Whether this is the controlling terminal of the caller."""
        return self.session is not None and thread.process.session is self.session

    def check_foreground(self, thread: Any, signo: int) -> None:
        """Let a thread of the foreground group pass; stop one of the background with SIGTTIN or SIGTTOU.

        EIO when the signal could not stop it: for reading when it is blocked or ignored, for both when the
        group is orphaned (nobody could continue it).
        """
        if thread is None or not self.is_controlling(thread):
            return
        foreground, group = self.session.foreground, thread.process.group
        if foreground is None or foreground is group:
            return
        if self.jobs.refuses(thread, signo):
            if signo == SIGTTIN:
                raise SyscallError(errno.EIO)
            return
        if group.is_orphaned():
            raise SyscallError(errno.EIO)
        self.jobs.signal_group(group, signo)
        raise Interrupted

    def take_control(self, process: Any) -> None:
        """Become the controlling terminal of the session that ``process`` leads."""
        session = process.session
        self.session = session
        session.terminal = self
        session.foreground = process.group

    def lose_control(self) -> None:
        """Control no session any more."""
        session = self.session
        if session is not None:
            self.session = None
            session.terminal = session.foreground = None

    # -- open files ----------------------------------------------------------------------------------

    def opened(self) -> None:
        """There is one more file of it."""
        self.opens += 1

    def closed(self) -> None:
        """A file is closed. With the last one the session loses the terminal."""
        self.opens -= 1
        if self.opens == 0:
            self.lose_control()
            self.exclusive = False
            self._tell(POLLHUP)


def _stops_by_keys(termios: Termios) -> bool:
    """Whether ^S and ^Q stop and start output: what packet mode tells a remote terminal."""
    return bool(termios.iflag & tc.IXON) and termios.cc[tc.VSTOP] == 0x13 and termios.cc[tc.VSTART] == 0x11
