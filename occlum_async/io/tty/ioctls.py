"""ioctl_tty(2): the requests that every terminal answers. A pty's master passes them on to its slave."""

from __future__ import annotations

import errno
from typing import Any

from msgspec.structs import replace

from ...abi import termios as tc
from ...abi.errors import SyscallError
from ...abi.signals import SIGCONT, SIGHUP, SIGTTOU
from ...abi.termios import Termios
from ...abi.user import UserPointer
from ..file import File
from .terminal import Terminal

CAP_SYS_ADMIN = 21

# How the three families of "set" requests unpack their argument.
SET_NOW = {tc.TCSETS: tc.TERMIOS, tc.TCSETS2: tc.TERMIOS2, tc.TCSETA: tc.TERMIO}
SET_DRAINED = {tc.TCSETSW: tc.TERMIOS, tc.TCSETSW2: tc.TERMIOS2, tc.TCSETAW: tc.TERMIO}
SET_FLUSHED = {tc.TCSETSF: tc.TERMIOS, tc.TCSETSF2: tc.TERMIOS2, tc.TCSETAF: tc.TERMIO}
SETTERS = {**SET_NOW, **SET_DRAINED, **SET_FLUSHED}


async def terminal_ioctl(
    file: File, terminal: Terminal, thread: Any, command: int, argument: UserPointer, own: bool
) -> int:
    """Answer ``command``; ENOTTY for what no terminal knows. ``own`` is False for the master's file: then there is
    no job control."""
    if command in SETTERS:
        await _set_mode(terminal, own, thread, command, argument)
    elif command in (tc.TCSBRK, tc.TCSBRKP, tc.TIOCSBRK, tc.TIOCCBRK):
        _check(terminal, own, thread)
        if terminal.hardware is not None:
            await terminal.hardware.drain()
    elif command in (tc.TCXONC, tc.TCFLSH):
        _check(terminal, own, thread)
        (_flow if command == tc.TCXONC else _flush)(terminal, argument.address)
    elif command in (tc.TIOCSCTTY, tc.TIOCNOTTY, tc.TIOCGPGRP, tc.TIOCSPGRP, tc.TIOCGSID):
        _session_request(file, terminal, own, thread, command, argument)
    elif command == tc.TIOCSLCKTRMIOS:
        if not thread.credentials.capable(CAP_SYS_ADMIN):
            raise SyscallError(errno.EPERM)
        terminal.settings_lock = Termios.unpack(argument.read(tc.TERMIOS.size), terminal.settings_lock)
    elif command in (tc.TIOCEXCL, tc.TIOCNXCL):
        terminal.exclusive = command == tc.TIOCEXCL
    elif command == tc.TIOCSWINSZ:
        terminal.resize(argument.unpack(tc.WINSIZE))
    elif command == tc.TIOCSSOFTCAR:
        carrier = tc.CLOCAL if argument.unpack(tc.INT)[0] else 0
        terminal.configure(replace(terminal.termios, cflag=terminal.termios.cflag & ~tc.CLOCAL | carrier))
    elif command == tc.TIOCSETD:
        if argument.unpack(tc.INT)[0] != 0:
            raise SyscallError(errno.EINVAL)
    elif command == tc.TIOCSTI:
        # Pushing input into a terminal is how a sandboxed program types into its parent's shell.
        raise SyscallError(errno.EIO)
    elif command in (tc.TIOCCONS, tc.TIOCVHANGUP):
        if not thread.credentials.capable(CAP_SYS_ADMIN):
            raise SyscallError(errno.EPERM)
        if command == tc.TIOCVHANGUP:
            terminal.hangup()
    else:
        argument.write(_get(terminal, command))
    return 0


def _get(terminal: Terminal, command: int) -> bytes:
    """The answer to a request that only asks."""
    termios = terminal.termios
    if command == tc.TCGETS:
        return termios.pack()
    if command == tc.TCGETS2:
        return termios.pack2()
    if command == tc.TCGETA:
        return termios.pack_old()
    if command == tc.TIOCGLCKTRMIOS:
        return terminal.settings_lock.pack()
    if command == tc.TIOCGWINSZ:
        return tc.WINSIZE.pack(*terminal.window)
    if command == tc.TIOCINQ:
        return tc.INT.pack(terminal.discipline.count())
    if command == tc.TIOCOUTQ:
        return tc.INT.pack(0)
    if command == tc.TIOCGETD:
        return tc.INT.pack(0)
    if command == tc.TIOCGEXCL:
        return tc.INT.pack(terminal.exclusive)
    if command == tc.TIOCGSOFTCAR:
        return tc.INT.pack(bool(termios.cflag & tc.CLOCAL))
    if command == tc.TIOCGDEV:
        return tc.INT.pack(terminal.number)
    raise SyscallError(errno.ENOTTY)


def _check(terminal: Terminal, own: bool, thread: Any) -> None:
    """Changing a terminal from the background stops the caller with SIGTTOU."""
    if own:
        terminal.check_foreground(thread, SIGTTOU)


async def _set_mode(terminal: Terminal, own: bool, thread: Any, command: int, argument: UserPointer) -> None:
    _check(terminal, own, thread)
    layout = SETTERS[command]
    data = argument.read(layout.size)
    if command not in SET_NOW and terminal.hardware is not None:
        await terminal.hardware.drain()
    if command in SET_FLUSHED:
        terminal.flush_input()
    if layout is tc.TERMIOS:
        termios = Termios.unpack(data, terminal.termios)
    elif layout is tc.TERMIOS2:
        termios = Termios.unpack2(data)
    else:
        termios = Termios.unpack_old(data, terminal.termios)
    terminal.configure(termios)


def _flow(terminal: Terminal, action: int) -> None:
    """tcflow(3)."""
    if action in (tc.TCOOFF, tc.TCOON):
        terminal.flow(action == tc.TCOOFF)
    elif action in (tc.TCIOFF, tc.TCION):
        byte = terminal.termios.cc[tc.VSTOP if action == tc.TCIOFF else tc.VSTART]
        if byte:
            terminal.send(bytes((byte,)))
    else:
        raise SyscallError(errno.EINVAL)


def _flush(terminal: Terminal, queue: int) -> None:
    """tcflush(3)."""
    if queue not in (tc.TCIFLUSH, tc.TCOFLUSH, tc.TCIOFLUSH):
        raise SyscallError(errno.EINVAL)
    if queue != tc.TCOFLUSH:
        terminal.flush_input()
    if queue != tc.TCIFLUSH:
        terminal.flush_output()


def _session_request(
    file: File, terminal: Terminal, own: bool, thread: Any, command: int, argument: UserPointer
) -> None:
    if command == tc.TIOCSCTTY:
        # A master is a terminal that no session can be controlled by.
        if not own:
            raise SyscallError(errno.ENOTTY)
        _set_controlling(file, terminal, thread, argument.address)
    elif command == tc.TIOCNOTTY:
        if not own or not terminal.is_controlling(thread):
            raise SyscallError(errno.ENOTTY)
        if thread.process.session.leader is thread.process:
            release_control(terminal)
    elif command == tc.TIOCSPGRP:
        _set_foreground(terminal, own, thread, argument)
    else:
        if own and not terminal.is_controlling(thread):
            raise SyscallError(errno.ENOTTY)
        if command == tc.TIOCGPGRP:
            foreground = terminal.session.foreground if terminal.session is not None else None
            argument.write(tc.INT.pack(0 if foreground is None else foreground.pgid))
        elif terminal.session is None:
            raise SyscallError(errno.ENOTTY)
        else:
            argument.write(tc.INT.pack(terminal.session.sid))


def release_control(terminal: Terminal) -> None:
    """The leader gives its terminal up (TIOCNOTTY): the foreground group gets SIGHUP and SIGCONT."""
    foreground = terminal.session.foreground
    terminal.lose_control()
    if foreground is not None:
        terminal.jobs.signal_group(foreground, SIGHUP)
        terminal.jobs.signal_group(foreground, SIGCONT)


def _set_controlling(file: File, terminal: Terminal, thread: Any, steal: int) -> None:
    """TIOCSCTTY. EPERM for who does not lead a session, has a terminal, or would take another session's."""
    session, process = thread.process.session, thread.process
    is_leader = session.leader is process
    if is_leader and terminal.session is session:
        return
    if not is_leader or session.terminal is not None:
        raise SyscallError(errno.EPERM)
    privileged = thread.credentials.capable(CAP_SYS_ADMIN)
    if terminal.session is not None:
        if steal != 1 or not privileged:
            raise SyscallError(errno.EPERM)
        terminal.lose_control()
    if not file.readable and not privileged:
        raise SyscallError(errno.EPERM)
    terminal.take_control(process)


def _set_foreground(terminal: Terminal, own: bool, thread: Any, argument: UserPointer) -> None:
    """TIOCSPGRP: put another group of the caller's session into the foreground."""
    try:
        _check(terminal, own, thread)
    except SyscallError:
        raise SyscallError(errno.ENOTTY) from None
    pgid = argument.unpack(tc.INT)[0]
    if not terminal.is_controlling(thread):
        raise SyscallError(errno.ENOTTY)
    if pgid < 0:
        raise SyscallError(errno.EINVAL)
    group = terminal.jobs.find_group(thread, pgid)
    if group is None:
        raise SyscallError(errno.ESRCH)
    if group.session is not thread.process.session:
        raise SyscallError(errno.EPERM)
    terminal.session.foreground = group
