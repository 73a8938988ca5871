"""Drives a program on a real pseudo-terminal of the host: types, and waits for what must appear."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType

TIMEOUT = 30.0  # seconds that an expected text may take
RUN = (sys.executable, "-m", "occlum_async", "run")


def _become_foreground() -> None:
    """As a login shell starts: with the controlling terminal, and no signal ignored."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for signo in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGHUP):
        signal.signal(signo, signal.SIG_DFL)


class Terminal:
    """A command on a terminal of ``rows`` times ``columns``; ``with`` ends it.

    ``seen`` is all that it has shown, ``mark`` where ``expect`` goes on looking.
    """

    def __init__(
        self,
        *argv: str,
        rows: int = 24,
        columns: int = 80,
        env: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.fd, theirs = pty.openpty()
        self.seen = ""
        self.mark = 0
        self.resize(rows, columns)
        self.saved = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.process = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            cwd=folder, preexec_fn=_become_foreground,
            env={**os.environ, "TERM": "xterm", **(env or {})},
        )  # fmt: skip

    @classmethod
    def inside(cls, *argv: str, options: tuple[str, ...] = (), **keywords: int) -> Terminal:
        """A program in a LibOS of its own, as ``run -it`` starts it."""
        return cls(*RUN, "-it", *options, *argv, **keywords)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)
        os.close(self._theirs)

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size; the kernel sends SIGWINCH."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def modes(self) -> list[object]:
        """The terminal's modes, as tcgetattr(3) gives them."""
        return termios.tcgetattr(self._theirs)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.fd, text.encode())

    def line(self, text: str) -> None:
        """Type a line."""
        self.type(text + "\r")

    def _more(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        self.seen += os.read(self.fd, 65536).decode(errors="replace")
        return True

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until ``pattern`` appears after what was expected last."""
        deadline = time.monotonic() + TIMEOUT
        while (match := re.compile(pattern).search(self.seen, self.mark)) is None:
            if not self._more(deadline):
                raise AssertionError(f"{pattern!r} did not appear after:\n{self.seen[self.mark :]!r}")
        self.mark = match.end()
        return match

    def status(self) -> int:
        """Wait for the end, reading on; the exit status."""
        deadline = time.monotonic() + TIMEOUT
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not end after:\n{self.seen[self.mark :]!r}")
            self._more(time.monotonic() + 0.05)
        return self.process.returncode

    def interrupt(self, signo: int = signal.SIGTERM) -> None:
        """Send the command a signal from the host."""
        self.process.send_signal(signo)
