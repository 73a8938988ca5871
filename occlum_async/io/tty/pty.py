"""The master's end of a pseudo-terminal: hardware that is a file."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from ...abi import termios as tc
from ...abi.errors import SyscallError
from ...abi.user import UserPointer
from ..file import POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM, File
from .file import TerminalFile
from .ioctls import terminal_ioctl
from .terminal import Terminal

O_CLOEXEC = 0o2000000
# A packet status takes back the one that says the opposite.
OPPOSITES = {
    tc.PKT_STOP: tc.PKT_START, tc.PKT_START: tc.PKT_STOP, tc.PKT_NOSTOP: tc.PKT_DOSTOP, tc.PKT_DOSTOP: tc.PKT_NOSTOP,
}  # fmt: skip


class PtyMaster(File):
    """What opening /dev/ptmx gives. Closing it hangs the slave up; ``forget`` then frees its number."""

    def __init__(self, terminal: Terminal, flags: int, forget: Callable[[Terminal], None]) -> None:
        super().__init__(terminal.scheduler, flags)
        self.terminal = terminal
        self.forget = forget
        self.packet_mode = False
        self.status = tc.PKT_DATA  # the PKT_* that packet mode has not reported yet
        self.slave_gone = False
        terminal.hardware = self

    def describe(self) -> str:
        return "/dev/ptmx"

    def reopen(self, flags: int) -> File:
        """The node is /dev/ptmx: opening it makes another pty, which is not this file's to do."""
        raise SyscallError(errno.EIO)

    def close(self) -> None:
        self.terminal.hardware = None
        self.forget(self.terminal)
        self.terminal.hangup()

    # -- what the terminal tells its hardware ----------------------------------------

    def changed(self, events: int) -> None:
        if events & POLLHUP:
            self.slave_gone = True
        self.waiters.wake(_with_norms(events))

    def hung_up(self) -> None:
        """The master sees the end of the slave's files only when they are closed."""

    def packet(self, status: int) -> None:
        if self.packet_mode:
            self.status = self.status & ~OPPOSITES.get(status, 0) | status
            self.waiters.wake(POLLPRI | POLLIN | POLLRDNORM)

    async def drain(self) -> None:
        """A pty has no line on which bytes could still be under way."""

    def slave_opened(self) -> None:
        """Somebody opened the slave (again)."""
        self.slave_gone = False

    # -- the file -----------------------------------------------------------------

    async def read(self, size: int) -> bytes:
        """What the slave's programs have shown; EIO when nobody has the slave open any more.

        In packet mode one byte of status comes first: PKT_DATA, or else nothing but the status.
        """
        terminal = self.terminal
        while size:
            if self.packet_mode and self.status:
                status, self.status = self.status, tc.PKT_DATA
                return bytes((status,))
            if terminal.output:
                if self.packet_mode:
                    return bytes((tc.PKT_DATA,)) + terminal.take_output(size - 1)
                return terminal.take_output(size)
            if self.slave_gone:
                raise SyscallError(errno.EIO)
            await self.wait_for(POLLIN)
        return b""

    async def write(self, data: bytes | memoryview) -> int:
        """Type ``data``. Blocks while nobody reads what was typed before."""
        terminal, done = self.terminal, 0
        while True:
            while done < len(data) and (room := terminal.typing_room()) > 0:
                done += terminal.type(bytes(data[done : done + room]))
            if done == len(data) or not await self.wait_for_more(done, POLLOUT):
                return done

    def poll(self) -> int:
        events = 0
        if self.terminal.output or (self.packet_mode and self.status):
            events |= POLLIN | POLLRDNORM
        if self.packet_mode and self.status:
            events |= POLLPRI
        if self.slave_gone:
            events |= POLLHUP
        if self.terminal.typing_room() > 0:
            events |= POLLOUT | POLLWRNORM
        return events

    async def ioctl(self, thread: Any, command: int, argument: UserPointer) -> int:
        terminal = self.terminal
        if command == tc.TIOCGPTN:
            argument.pack(tc.INT, terminal.index)
        elif command == tc.TIOCSPTLCK:
            terminal.locked = bool(argument.unpack(tc.INT)[0])
        elif command == tc.TIOCGPTLCK:
            argument.pack(tc.INT, terminal.locked)
        elif command == tc.TIOCGPTPEER:
            flags = argument.address
            file = TerminalFile(terminal, flags & ~O_CLOEXEC)
            self.slave_opened()
            try:
                fd: int = thread.files.install(file, cloexec=bool(flags & O_CLOEXEC))
            except SyscallError:
                file.acquire().release()
                raise
            return fd
        elif command == tc.TIOCPKT:
            self.packet_mode, self.status = bool(argument.unpack(tc.INT)[0]), tc.PKT_DATA
        elif command == tc.TIOCGPKT:
            argument.pack(tc.INT, self.packet_mode)
        elif command == tc.TIOCSIG:
            if not 1 <= argument.address <= 64:
                raise SyscallError(errno.EINVAL)
            terminal.signal(argument.address)
        elif command == tc.TIOCINQ:
            argument.pack(tc.INT, len(terminal.output))
        else:
            return await terminal_ioctl(self, terminal, thread, command, argument, own=False)
        return 0


def _with_norms(events: int) -> int:
    """``events`` with poll(2)'s older names for the same."""
    return events | (POLLRDNORM if events & POLLIN else 0) | (POLLWRNORM if events & POLLOUT else 0)
