"""The host's terminal while a program inside owns it: raw, resized with it, and restored whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import termios
import tty
from types import TracebackType
from typing import Protocol

from ..errors import ConfigError

CHUNK = 65536


class Writer(Protocol):
    """The end that bytes typed on the host go to."""

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def close(self) -> None: ...


class Reader(Protocol):
    """The end that the program's output comes from."""

    async def read(self, n: int = -1, /) -> bytes: ...


class Resizable(Protocol):
    """What has a window size."""

    def resize(self, rows: int, cols: int) -> None: ...


class RawTerminal:
    """Puts the terminal ``fd`` into raw mode for the time of a ``with`` block.

    In raw mode Ctrl-C and Ctrl-Z are bytes, which the line discipline inside turns into signals.
    """

    def __init__(self, fd: int) -> None:
        if not os.isatty(fd):
            raise ConfigError("-t: the input is not a terminal", "leave out -t, or run it from a terminal")
        self.fd = fd
        self._saved = termios.tcgetattr(fd)

    def __enter__(self) -> RawTerminal:
        tty.setraw(self.fd, termios.TCSADRAIN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def restore(self) -> None:
        """Give the terminal its old modes back; harmless when it is gone."""
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(self.fd, termios.TCSADRAIN, self._saved)


def window_size() -> tuple[int, int]:
    """Rows and columns of the terminal that we talk to; 24 x 80 where there is none."""
    for fd in (0, 1, 2):
        try:
            size = os.get_terminal_size(fd)
        except OSError:
            continue
        if size.lines and size.columns:
            return size.lines, size.columns
    return 24, 80


def follow_window_size(loop: asyncio.AbstractEventLoop, target: Resizable) -> None:
    """Give ``target`` each new size."""
    loop.add_signal_handler(signal.SIGWINCH, lambda: target.resize(*window_size()))


async def pump_input(fd: int, writer: Writer) -> None:
    """Pass what is typed on ``fd`` to ``writer`` until the end of file. Cancel it to stop."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        while True:
            await ready.wait()
            ready.clear()
            data = os.read(fd, CHUNK)
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()
    except OSError:
        writer.close()
    finally:
        loop.remove_reader(fd)


async def pump_output(reader: Reader, fd: int) -> None:
    """Pass the program's output to ``fd`` until its end.

    The host's terminal is shared with the shell that started us, so it is never made non-blocking;
    a thread waits where it is slow (Ctrl-S), not the kernel.
    """
    loop = asyncio.get_running_loop()
    while data := await reader.read(CHUNK):
        view = memoryview(data)
        while view:
            written = await loop.run_in_executor(None, os.write, fd, view)
            view = view[written:]
