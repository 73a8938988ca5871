"""An open file of a terminal: what programs hold."""

from __future__ import annotations

import errno
from typing import Any

from ...abi import termios as tc
from ...abi.errors import SyscallError
from ...abi.signals import SIGTTIN, SIGTTOU
from ...abi.stat import Stat
from ...abi.user import UserPointer
from ..file import File
from .ioctls import terminal_ioctl
from .terminal import ENDED, READABLE, WRITABLE, Terminal

WRITE_CHUNK = 4096


class TerminalFile(File):
    """An open file description of a terminal."""

    def __init__(self, terminal: Terminal, flags: int) -> None:
        super().__init__(terminal.scheduler, flags)
        terminal.opened()
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
        return TerminalFile(self.terminal, flags)

    def close(self) -> None:
        self.terminal.closed()

    async def read(self, size: int) -> bytes:
        """As termios(3) says: a line in canonical mode, else by VMIN and VTIME. b"" after a hangup."""
        terminal, data = self.terminal, bytearray()
        if self.ended or size == 0:
            return b""
        terminal.check_foreground(terminal.jobs.current(), SIGTTIN)
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
            if not await self.wait_for_more(len(data), READABLE, timeout):
                break
        return bytes(data)

    async def write(self, data: bytes | memoryview) -> int:
        """Show ``data``. Blocks while output is stopped or not taken; EIO after a hangup."""
        terminal, done = self.terminal, 0
        if self.ended:
            raise SyscallError(errno.EIO)
        if terminal.termios.lflag & tc.TOSTOP:
            terminal.check_foreground(terminal.jobs.current(), SIGTTOU)
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
            if not await self.wait_for_more(done, WRITABLE):
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
