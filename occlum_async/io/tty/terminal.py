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
from ...abi.signals import SIGCONT, SIGHUP, SIGTTIN, SIGTTOU, SIGWINCH
from ...abi.stat import Stat
from ...abi.termios import Termios
from ...abi.user import UserPointer
from ...sched.strand import Scheduler
from ...sched.waitqueue import WaitQueue
from ..file import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, File
from . import jobs
from .discipline import LineDiscipline
from .ioctls import terminal_ioctl
from .output import OutputProcessor

READABLE, WRITABLE = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM
ENDED = READABLE | WRITABLE | POLLERR | POLLHUP
TYPED_LIMIT = 8192  # bytes waiting in front of a full line discipline
OUTPUT_LIMIT = 65536  # bytes that the hardware has not taken; echo may exceed it by ECHO_LIMIT
ECHO_LIMIT = 4096
WRITE_CHUNK = 4096


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

    def __init__(self, scheduler: Scheduler, control: jobs.JobControl, index: int, number: int) -> None:
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
        jobs.lose_control(self)
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

    def open(self, flags: int) -> TerminalFile:
        """A new open file of this terminal."""
        self.opens += 1
        return TerminalFile(self, flags)

    def closed(self) -> None:
        """A file is closed. With the last one the session loses the terminal."""
        self.opens -= 1
        if self.opens == 0:
            jobs.lose_control(self)
            self.exclusive = False
            self._tell(POLLHUP)


def _stops_by_keys(termios: Termios) -> bool:
    """Whether ^S and ^Q stop and start output: what packet mode tells a remote terminal."""
    return bool(termios.iflag & tc.IXON) and termios.cc[tc.VSTOP] == 0x13 and termios.cc[tc.VSTART] == 0x11


class TerminalFile(File):
    """An open file description of a terminal."""

    def __init__(self, terminal: Terminal, flags: int) -> None:
        super().__init__(terminal.scheduler, flags)
        self.terminal = terminal
        self.generation = terminal.generation
        self.waiters = terminal.waiters

    @property
    def ended(self) -> bool:
        """The terminal was hung up since this file was opened."""
        return self.generation != self.terminal.generation

    def describe(self) -> str:
        return f"/dev/pts/{self.terminal.index}"

    async def stat(self) -> Stat:
        """The node's attributes, also for a file that was opened without a path (TIOCGPTPEER, /dev/tty)."""
        if self.location is None and self.terminal.node is not None:
            stat: Stat = await self.terminal.node.getattr()
            return stat
        return await super().stat()

    def reopen(self, flags: int) -> File:
        """Another description of the same terminal."""
        if self.ended:
            raise SyscallError(errno.EIO)
        return self.terminal.open(flags)

    def close(self) -> None:
        self.terminal.closed()

    async def read(self, size: int) -> bytes:
        """As termios(3) says: a line in canonical mode, else by VMIN and VTIME. b"" after a hangup."""
        terminal, data = self.terminal, bytearray()
        if self.ended or size == 0:
            return b""
        jobs.check_foreground(terminal, terminal.jobs.current(), SIGTTIN)
        while not self.ended:
            discipline = terminal.discipline
            if discipline.available():
                data += terminal.take_input(size - len(data))
                if discipline.canonical:
                    break
            timeout = None
            if not discipline.canonical:
                minimum, tenths = terminal.termios.cc[tc.VMIN], terminal.termios.cc[tc.VTIME]
                if len(data) >= min(size, minimum) and (data or (minimum == 0 and tenths == 0)):
                    break
                if tenths and (data or minimum == 0):
                    timeout = tenths / 10
            elif data:
                break
            try:
                if not await self.wait_for(READABLE, timeout):
                    break
            except (Interrupted, SyscallError):
                if not data:
                    raise
                break
        return bytes(data)

    async def write(self, data: bytes | memoryview) -> int:
        """Show ``data``. Blocks while output is stopped or not taken; EIO after a hangup."""
        terminal, done = self.terminal, 0
        if self.ended:
            raise SyscallError(errno.EIO)
        if terminal.termios.lflag & tc.TOSTOP:
            jobs.check_foreground(terminal, terminal.jobs.current(), SIGTTOU)
        while done < len(data):
            if self.ended:
                if not done:
                    raise SyscallError(errno.EIO)
                break
            room = min(terminal.room(), WRITE_CHUNK)
            if room > 0:
                chunk = bytes(data[done : done + room])
                terminal.show(chunk)
                done += len(chunk)
                continue
            try:
                await self.wait_for(WRITABLE)
            except (Interrupted, SyscallError):
                if not done:
                    raise
                break
        return done

    def poll(self) -> int:
        if self.ended:
            return ENDED
        events = READABLE if self.terminal.discipline.available(for_poll=True) else 0
        return events | (WRITABLE if self.terminal.room() > 0 else 0)

    async def ioctl(self, thread: Any, command: int, argument: UserPointer) -> int:
        if self.ended:
            raise SyscallError(errno.EIO)
        return await terminal_ioctl(self, self.terminal, thread, command, argument, own=True)
