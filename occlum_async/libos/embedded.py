"""A program in the LibOS as its embedder sees it: the shape of ``asyncio.subprocess.Process``."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ..abi import signals as abi
from ..abi.errors import SyscallError
from ..io.file import File
from ..process import sending
from ..process.siginfo import SigInfo

if TYPE_CHECKING:
    from ..io.tty.console import Console
    from ..process.process import Process as KernelProcess

CHUNK = 65536
LINE_LIMIT = 1 << 20
END_OF_FILE = b"\x04"  # typed: VEOF as terminals have it by default


class ReadStream:
    """The embedder's end of a program's output; like ``asyncio.StreamReader``."""

    def __init__(self, file: File) -> None:
        self._file = file.acquire()
        self._buffer = bytearray()
        self._ended = False

    async def _fill(self) -> bool:
        """Read some more into the buffer; False at the end."""
        if self._ended:
            return False
        try:
            data = await self._file.read(CHUNK)
        except SyscallError:  # a terminal whose other side is gone
            data = b""
        if not data:
            self._ended = True
            self._file.release()
        self._buffer += data
        return bool(data)

    async def read(self, n: int = -1) -> bytes:
        """At most ``n`` bytes, b"" at the end; all until the end when ``n`` is negative."""
        if n < 0:
            while await self._fill():
                pass
            n = len(self._buffer)
        elif not self._buffer and n:
            await self._fill()
        return self._take(n)

    def _take(self, n: int) -> bytes:
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    async def readexactly(self, n: int) -> bytes:
        """Exactly ``n`` bytes; ``asyncio.IncompleteReadError`` when the stream ends before."""
        while len(self._buffer) < n and await self._fill():
            pass
        data = self._take(n)
        if len(data) < n:
            raise asyncio.IncompleteReadError(data, n)
        return data

    async def readline(self) -> bytes:
        """The next line with its newline; without one at the end."""
        while b"\n" not in self._buffer and len(self._buffer) < LINE_LIMIT and await self._fill():
            pass
        end = self._buffer.find(b"\n") + 1 or len(self._buffer)
        return self._take(end)

    def at_eof(self) -> bool:
        """Whether everything has been read."""
        return self._ended and not self._buffer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while line := await self.readline():
            yield line


class WriteStream:
    """The embedder's end of a program's input; like ``asyncio.StreamWriter``.

    ``write`` only collects; ``drain`` waits until the program's side has taken everything.
    """

    def __init__(self, file: File) -> None:
        self._file = file.acquire()
        self._pending = bytearray()
        self._closing = False
        self._closed = False
        self._pump: asyncio.Task[None] | None = None
        self._broken: BrokenPipeError | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue ``data``."""
        if self._closing:
            raise RuntimeError("the stream is closed")
        self._pending += data
        self._start()

    def writelines(self, data: list[bytes]) -> None:
        """Queue several pieces."""
        self.write(b"".join(data))

    def _start(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._pending:
                piece = bytes(self._pending[:CHUNK])
                del self._pending[: await self._file.write(piece)]
        except SyscallError as error:
            self._pending.clear()
            self._broken = BrokenPipeError(error.errno, "the program does not read its input any more")
        if self._closing and not self._closed:
            self._closed = True
            self._file.release()

    async def drain(self) -> None:
        """Wait until all is taken. ``BrokenPipeError`` when the program has closed its end."""
        if self._pump is not None:
            await asyncio.shield(self._pump)
        if self._broken is not None:
            raise self._broken

    def close(self) -> None:
        """Let the program see the end of its input once everything queued is taken."""
        if not self._closing:
            self._closing = True
            self._start()

    write_eof = close

    def can_write_eof(self) -> bool:
        """Always: ``close`` is the end of file."""
        return True

    def is_closing(self) -> bool:
        """Whether ``close`` was called."""
        return self._closing

    async def wait_closed(self) -> None:
        """Wait until the end has been seen."""
        if self._pump is not None:
            await asyncio.shield(self._pump)


class Process:
    """A program that ``LibOS.spawn`` has started.

    ``stdin``, ``stdout``, ``stderr`` are streams where PIPE was asked for, else None. ``returncode`` is None while it
    runs, then the exit status, or the negative number of the signal that killed it.
    """

    def __init__(
        self,
        process: KernelProcess,
        stdin: WriteStream | None,
        stdout: ReadStream | None,
        stderr: ReadStream | None,
        console: Console | None = None,
    ) -> None:
        self._process = process
        self._console = console
        self.pid = process.pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._ended: asyncio.Future[int] = process.kernel.loop.create_future()
        self._waiter = process.exit_waiters.add(self._exited)
        if process.zombie:
            self._exited(0)

    def __repr__(self) -> str:
        return f"<Process {self.pid} returncode={self.returncode}>"

    def _exited(self, _events: int) -> None:
        if not self._ended.done():
            status = self._process.wait_status
            self._ended.set_result(-(status & 0x7F) if status & 0x7F else status >> 8)

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """Wait for its end; the return code."""
        return await asyncio.shield(self._ended)

    async def communicate(self, input: bytes | None = None) -> tuple[bytes | None, bytes | None]:
        """Send ``input``, read all output, wait for the end. (stdout, stderr), None for what is no pipe."""
        _, out, err = await asyncio.gather(
            self._feed(input), _read_all(self.stdout), _read_all(self.stderr)
        )  # fmt: skip
        await self.wait()
        return out, err

    async def _feed(self, data: bytes | None) -> None:
        if self.stdin is None:
            return
        if data:
            self.stdin.write(data)
        if self._console is not None:
            # Closing a terminal hangs up; what ends the input there is its end-of-file character.
            self.stdin.write(END_OF_FILE)
            return
        self.stdin.close()
        await self.stdin.wait_closed()

    def send_signal(self, signo: int) -> None:
        """Send it a signal. ``ProcessLookupError`` when it has ended."""
        if self._process.zombie:
            raise ProcessLookupError(f"process {self.pid} has ended")
        if not abi.valid_signal(signo):
            raise ValueError(f"{signo} is no signal")
        sending.send_to_process(self._process, SigInfo.user(signo, 0, 0))

    def terminate(self) -> None:
        """Ask it to end: SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it: SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def resize(self, rows: int, cols: int) -> None:
        """Tell the program's terminal its size; needs ``tty=True``."""
        if self._console is not None:
            self._console.resize(rows, cols)


async def _read_all(stream: ReadStream | None) -> bytes | None:
    return None if stream is None else await stream.read()
