"""The line discipline: what becomes of the bytes that are typed.

A state machine without waiting. ``receive`` takes typed bytes, edits the line, echoes, and tells the
terminal (``Side``) of signals and flow control; ``take`` hands out what a read(2) may have.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from ...abi import termios as tc
from ...abi.signals import SIGINT, SIGQUIT, SIGTSTP
from ...abi.termios import Termios
from .output import TAB, OutputProcessor, is_word, to_lower

NEWLINE, RETURN, RUBOUT = 10, 13, b"\b \b"


class Side(Protocol):
    """What the discipline asks of the terminal that it serves."""

    cursor: OutputProcessor
    stopped: bool

    def echo(self, data: bytes) -> None:
        """Show ``data``, with output processing."""

    def signal(self, number: int) -> None:
        """Send a signal to the foreground process group."""

    def flow(self, stop: bool) -> None:
        """Stop or start output."""

    def flush_output(self) -> None:
        """Throw unsent output away."""

    def input_flushed(self) -> None:
        """Typed bytes were thrown away: there is room again."""


class LineDiscipline:
    """One terminal's input: at most ``BUFFER`` bytes, of complete lines and the line being edited.

    In canonical mode ``lines`` holds complete lines (an empty one is an end of file) and ``edit`` the one that is
    being typed; in raw mode everything is in ``stream``, and ``lines`` and ``edit`` are empty.
    """

    BUFFER = 4096

    def __init__(self, side: Side) -> None:
        self.side = side
        self.termios = Termios()
        self.lines: deque[bytes] = deque()
        self.edit = bytearray()
        self.stream = bytearray()
        self._stored = 0  # bytes in ``lines``
        self._literal = False  # the next byte was quoted by LNEXT
        self._erasing = False  # within the \.../ of ECHOPRT
        self._echo = bytearray()

    # -- the reader's side -----------------------------------------------------

    @property
    def canonical(self) -> bool:
        """Input comes by lines."""
        return self.termios.lflag & (tc.ICANON | tc.EXTPROC) == tc.ICANON

    def available(self, for_poll: bool = False) -> bool:
        """Whether a read would return something now; for poll(2), raw mode's VMIN counts."""
        if self.canonical:
            return bool(self.lines)
        minimum = self.termios.cc[tc.VMIN] if for_poll and not self.termios.cc[tc.VTIME] else 1
        return len(self.stream) >= max(1, minimum)

    def count(self) -> int:
        """FIONREAD: bytes of complete lines, or all in raw mode."""
        return self._stored if self.canonical else len(self.stream)

    def room(self) -> int:
        """How many typed bytes can be taken; a line that nobody can read yet never blocks its own end."""
        held = self._stored + len(self.edit) + len(self.stream)
        if self.canonical and not self.lines:
            return max(1, self.BUFFER - held)
        return max(0, self.BUFFER - held)

    def take(self, size: int) -> bytes:
        """At most ``size`` bytes, never more than one line in canonical mode; b"" is an end of file."""
        if not self.canonical:
            data = bytes(self.stream[:size])
            del self.stream[:size]
            return data
        line = self.lines.popleft()
        data, rest = line[:size], line[size:]
        if rest:
            self.lines.appendleft(rest)
        self._stored -= len(data)
        return data

    def flush(self) -> None:
        """Throw away all that was typed and not read."""
        self.lines.clear()
        self.edit.clear()
        self.stream.clear()
        self._stored = 0
        self._erasing = False
        self.side.input_flushed()

    def configure(self, termios: Termios) -> None:
        """Change the mode; what was typed before is read in the new one."""
        was_canonical = self.canonical
        self.termios = termios
        if was_canonical == self.canonical:
            return
        self._literal = self._erasing = False
        if self.canonical:
            if self.stream:
                self._push(bytes(self.stream))
                self.stream.clear()
        else:
            self.stream += b"".join(self.lines) + self.edit
            self.lines.clear()
            self.edit.clear()
            self._stored = 0

    # -- the keyboard's side -----------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take typed bytes; the caller has asked for ``room``."""
        termios = self.termios
        plain = not termios.iflag & (tc.IXON | tc.ISTRIP | tc.IUCLC | tc.ICRNL | tc.INLCR | tc.IGNCR | tc.PARMRK)
        if plain and not termios.lflag & (tc.ISIG | tc.ICANON | tc.ECHO | tc.ECHONL):
            self.stream += data
        else:
            for byte in data:
                self._receive(byte)
        self._show()

    def _receive(self, byte: int) -> None:
        flags, local = self.termios.iflag, self.termios.lflag
        if flags & tc.ISTRIP:
            byte &= 0x7F
        if flags & tc.IUCLC and local & tc.IEXTEN:
            byte = to_lower(byte)
        if local & tc.EXTPROC:
            self.stream.append(byte)
        elif self._literal:
            self._literal = False
            self._keep(byte)
        elif not self._control(byte):
            returned = byte == RETURN
            if returned:
                if flags & tc.IGNCR:
                    return
                if flags & tc.ICRNL:
                    byte = NEWLINE
            elif byte == NEWLINE and flags & tc.INLCR:
                byte = RETURN
            if not (local & tc.ICANON and self._canonical(byte)):
                self._keep(byte, returned)

    def _is(self, byte: int, index: int) -> bool:
        """Whether ``byte`` is the control character at ``index``, and that one is switched on."""
        return byte != 0 and self.termios.cc[index] == byte

    def _control(self, byte: int) -> bool:
        """Flow control and signals; True when ``byte`` was one of these."""
        flags, local = self.termios.iflag, self.termios.lflag
        if flags & tc.IXON:
            if self._is(byte, tc.VSTART):
                self.side.flow(False)
                return True
            if self._is(byte, tc.VSTOP):
                self.side.flow(True)
                return True
        if local & tc.ISIG:
            for index, number in ((tc.VINTR, SIGINT), (tc.VQUIT, SIGQUIT), (tc.VSUSP, SIGTSTP)):
                if self._is(byte, index):
                    self._signal(byte, number)
                    return True
        if self.side.stopped and flags & tc.IXON and flags & tc.IXANY:
            self.side.flow(False)
        return False

    def _signal(self, byte: int, number: int) -> None:
        local = self.termios.lflag
        self._show()
        self.side.signal(number)
        if not local & tc.NOFLSH:
            self.side.flush_output()
            self.flush()
        if self.termios.iflag & tc.IXON:
            self.side.flow(False)
        if local & tc.ECHO:
            self._echo_byte(byte)
            self._show()

    def _keep(self, byte: int, returned: bool = False) -> None:
        """A byte becomes input. A newline that was typed as a return is echoed as such, any other as ^J."""
        local = self.termios.lflag
        if local & tc.ECHO:
            self._finish_erasing()
            if byte == NEWLINE and returned:
                self._echo += b"\n"
            else:
                self._mark_start()
                self._echo_byte(byte)
        target = self.edit if local & tc.ICANON else self.stream
        if target is self.edit and len(target) >= self.BUFFER:
            del target[-1:]
        if byte == 0xFF and self.termios.iflag & tc.PARMRK:
            target.append(byte)
        target.append(byte)

    # -- canonical mode ----------------------------------------------------------

    def _canonical(self, byte: int) -> bool:
        """Line editing; True when ``byte`` was an editing character or ended the line."""
        local = self.termios.lflag
        extended = bool(local & tc.IEXTEN)
        if self._is(byte, tc.VERASE) or self._is(byte, tc.VKILL) or (extended and self._is(byte, tc.VWERASE)):
            self._erase(byte)
        elif extended and self._is(byte, tc.VLNEXT):
            self._literal = True
            if local & tc.ECHO:
                self._finish_erasing()
                self._echo += b"^\b" if local & tc.ECHOCTL else b""
        elif extended and local & tc.ECHO and self._is(byte, tc.VREPRINT):
            self._finish_erasing()
            self._echo_byte(byte)
            self._echo += b"\n"
            for kept in self.edit:
                self._echo_byte(kept)
        elif byte == NEWLINE:
            if local & (tc.ECHO | tc.ECHONL):
                self._echo += b"\n"
            self._end_line(b"\n")
        elif self._is(byte, tc.VEOF):
            self._end_line(b"")
        elif self._is(byte, tc.VEOL) or (extended and self._is(byte, tc.VEOL2)):
            if local & tc.ECHO:
                self._mark_start()
                self._echo_byte(byte)
            self._end_line(bytes((byte,)))
        else:
            return False
        return True

    def _end_line(self, terminator: bytes) -> None:
        if len(self.edit) + len(terminator) > self.BUFFER:
            del self.edit[-1:]
        line = bytes(self.edit) + terminator
        self.edit.clear()
        self._push(line)

    def _push(self, line: bytes) -> None:
        self.lines.append(line)
        self._stored += len(line)

    def _erase(self, byte: int) -> None:
        """ERASE, WERASE and KILL, by which of them ``byte`` is."""
        local = self.termios.lflag
        if not self.edit:
            return
        word, whole = False, False
        if self._is(byte, tc.VKILL):
            whole = True
            if not local & tc.ECHO or local & (tc.ECHOK | tc.ECHOKE | tc.ECHOE) != tc.ECHOK | tc.ECHOKE | tc.ECHOE:
                self.edit.clear()
                if local & tc.ECHO:
                    self._finish_erasing()
                    self._echo_byte(byte)
                    self._echo += b"\n" if local & tc.ECHOK else b""
                return
        elif not self._is(byte, tc.VERASE):
            word = True
        seen_word = False
        while self.edit:
            start = self._last_character()
            if start < 0:
                break
            if word:
                if is_word(self.edit[start]):
                    seen_word = True
                elif seen_word:
                    break
            if local & tc.ECHO:
                self._echo_erased(start, byte, single=not (word or whole))
            del self.edit[start:]
            if not (word or whole):
                break
        if not self.edit and local & tc.ECHO:
            self._finish_erasing()

    def _last_character(self) -> int:
        """Where the last character of ``edit`` begins, a byte or a sequence of UTF-8; -1 if that has no beginning."""
        start = len(self.edit) - 1
        if self.termios.iflag & tc.IUTF8:
            while start >= 0 and self.edit[start] & 0xC0 == 0x80:
                start -= 1
        return start

    def _echo_erased(self, start: int, byte: int, single: bool) -> None:
        local, erased = self.termios.lflag, self.edit[start]
        if local & tc.ECHOPRT:
            if not self._erasing:
                self._echo += b"\\"
                self._erasing = True
            self._echo_byte(erased)
            self._echo += self.edit[start + 1 :]
        elif single and not local & tc.ECHOE:
            self._echo_byte(byte)
        elif erased == 9:
            self._echo += b"\b" * self._tab_width(start)
        elif not _is_control(erased):
            self._echo += RUBOUT
        elif local & tc.ECHOCTL:
            self._echo += RUBOUT * 2

    def _tab_width(self, position: int) -> int:
        """How far the tab at ``position`` of ``edit`` moved the cursor."""
        self._show()
        column = self.side.cursor.line_start
        for byte in self.edit[:position]:
            if byte == 9:
                column += TAB - column % TAB
            elif _is_control(byte):
                column += 2 if self.termios.lflag & tc.ECHOCTL else 0
            elif not (self.termios.iflag & tc.IUTF8 and byte & 0xC0 == 0x80):
                column += 1
        return TAB - column % TAB

    # -- echo ----------------------------------------------------------------

    def _mark_start(self) -> None:
        """Note the cursor's column when the first character of a line is about to be echoed."""
        if self.canonical and not self.edit:
            self._show()
            self.side.cursor.line_start = self.side.cursor.column

    def _echo_byte(self, byte: int) -> None:
        if self.termios.lflag & tc.ECHOCTL and _is_control(byte) and byte != 9:
            self._echo += bytes((0x5E, byte ^ 0x40))
        else:
            self._echo.append(byte)

    def _finish_erasing(self) -> None:
        if self._erasing:
            self._echo += b"/"
            self._erasing = False

    def _show(self) -> None:
        if self._echo:
            self.side.echo(bytes(self._echo))
            self._echo.clear()


def _is_control(byte: int) -> bool:
    return byte < 32 or byte == 127
