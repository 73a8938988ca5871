"""Python programs: an ``async def main(sys, argv, env)`` that is a process like any other.

It has a pid, descriptors, signals and an exit status, and its system calls go through the handlers that
serve guests. ``sys`` is a ``System``.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import logging
import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..abi import signals as abi
from ..abi.errors import Interrupted, SyscallError
from ..abi.marshal import Argument, Kind
from ..abi.user import PythonBuffer, PythonPointer, UserBuffer, UserPointer, VectorBuffer
from ..sched.strand import TaskStrand
from . import sending
from .siginfo import SigInfo
from .signals import Handler, SigAction, Stop, Terminate, restart_result

if TYPE_CHECKING:
    from .thread import Thread

log = logging.getLogger(__name__)

Main = Callable[["System", list[bytes], dict[bytes, bytes]], Awaitable["int | None"]]
SignalHandler = Callable[[int], Any]
CHUNK = 65536
LINE_LIMIT = 1 << 20  # bytes; a longer line is returned in pieces
# What a disposition holds as the "address" of a Python handler; the handler itself is kept by the System.
PYTHON_HANDLER = 2


class ProgramExit(BaseException):
    """Raised by ``System.exit``: the program ends with ``status``."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class ProgramKilled(BaseException):
    """A signal ended the program, in the middle of a system call."""


class Stream:
    """A descriptor with a buffer for reading lines."""

    def __init__(self, system: System, fd: int) -> None:
        self.fd = fd
        self._system = system
        self._buffer = b""

    async def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, b"" at the end; everything until the end when ``size`` is negative."""
        if size >= 0:
            if not self._buffer:
                return await self._system.read(self.fd, size)
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            return data
        pieces = [self._buffer]
        self._buffer = b""
        while piece := await self._system.read(self.fd, CHUNK):
            pieces.append(piece)
        return b"".join(pieces)

    async def readline(self) -> bytes:
        """The next line with its newline; without one at the end of the file or at ``LINE_LIMIT``."""
        while b"\n" not in self._buffer and len(self._buffer) < LINE_LIMIT:
            piece = await self._system.read(self.fd, CHUNK)
            if not piece:
                break
            self._buffer += piece
        end = self._buffer.find(b"\n", 0, LINE_LIMIT) + 1 or min(len(self._buffer), LINE_LIMIT)
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while line := await self.readline():
            yield line

    async def write(self, data: bytes | str) -> None:
        """Write all of ``data``; text as UTF-8."""
        view = memoryview(data.encode() if isinstance(data, str) else data)
        while view:
            view = view[await self._system.call("write", self.fd, bytes(view[:CHUNK]), min(len(view), CHUNK)) :]

    async def close(self) -> None:
        """Close the descriptor."""
        await self._system.call("close", self.fd)


class System:
    """The LibOS as a Python program sees it. Failing calls raise ``OSError`` with Linux's errno."""

    def __init__(self, thread: Thread) -> None:
        self._thread = thread
        self._calls = {declaration.name: declaration for declaration in thread.kernel.syscall_table.values()}
        self._handlers: dict[int, SignalHandler] = {}
        self._running_handlers: set[asyncio.Future[Any]] = set()
        self.task: asyncio.Task[None] | None = None
        self._calling = False
        self.stdin = Stream(self, 0)
        self.stdout = Stream(self, 1)
        self.stderr = Stream(self, 2)

    # -- what the model asks of a thread's host side, see ``host.GuestThread`` -----

    def kick(self) -> None:
        """A signal waits: outside of system calls the program is looked after as soon as it awaits something."""
        self._thread.kernel.loop.call_soon(self._look)

    def set_identity(self, *identity: int) -> None:
        """It always asks."""

    def cpu_times(self) -> tuple[int, int]:
        """Not known: it runs within the kernel."""
        return 0, 0

    def asleep(self) -> bool:
        """It makes no call by itself."""
        return False

    def stack_pointer(self) -> int:
        """It has none of its own."""
        return 0

    def _look(self) -> None:
        if self._calling or self._thread.exited or self.task is None:
            return
        while (delivery := self._thread.next_delivery()) is not None:
            if isinstance(delivery, Handler):
                outcome = self._run_handler(delivery)
                if inspect.isawaitable(outcome):
                    running = asyncio.ensure_future(outcome, loop=self._thread.kernel.loop)
                    self._running_handlers.add(running)
                    running.add_done_callback(self._running_handlers.discard)
            elif isinstance(delivery, Terminate):
                self.task.cancel()
                return

    def _run_handler(self, delivery: Handler) -> Any:
        self._thread.set_blocked(delivery.restore_mask)
        handler = self._handlers.get(delivery.signo)
        return handler(delivery.signo) if handler is not None else None

    async def _deliver(self, policy: abi.Restart) -> bool:
        """Act upon signals during a call; whether the call is made again."""
        again = restart_result(policy, None)
        while (delivery := self._thread.next_delivery()) is not None:
            if isinstance(delivery, Handler):
                again = again and restart_result(policy, delivery)
                outcome = self._run_handler(delivery)
                if inspect.isawaitable(outcome):
                    await outcome
            elif isinstance(delivery, Stop):
                await self._thread.wait_until_continued()
            else:
                raise ProgramKilled
        return again

    # -- system calls ------------------------------------------------------------

    async def call(self, name: str, *arguments: Any) -> int:
        """Make system call ``name``. Paths are str or bytes; buffers and structs are bytes, or a bytearray to fill.

        A NULL pointer is None, an iovec a list of buffers. ENOSYS when there is no such call.
        """
        declaration = self._calls.get(name)
        if declaration is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name)
        converted = [_convert(*pair) for pair in zip(declaration.arguments, arguments, strict=True)]
        thread = self._thread
        strand = thread.scheduler.current()
        strand.owner = thread
        mine = strand is thread.strand
        while True:
            self._calling = mine
            failure, result = 0, None
            try:
                result = declaration.handler(thread, *converted)
                if declaration.blocking:
                    result = await result
            except SyscallError as error:
                failure = error.errno
                if error.signal:
                    sending.send_to_thread(thread, SigInfo.kernel(error.signal))
            except Interrupted:
                if await self._deliver(declaration.restart):
                    continue
                failure = errno.EINTR
            finally:
                self._calling = False
            if mine and strand.interrupted:
                await self._deliver(declaration.restart)
            if failure:
                raise OSError(failure, os.strerror(failure), name)
            return int(result or 0)

    async def read(self, fd: int, size: int) -> bytes:
        """read(2)."""
        buffer = bytearray(size)
        return bytes(buffer[: await self.call("read", fd, buffer, size)])

    async def open(self, path: str | bytes, flags: int = os.O_RDONLY, mode: int = 0o666) -> Stream:
        """open(2), relative to the working directory."""
        return Stream(self, await self.call("open", path, flags | os.O_CLOEXEC, mode))

    async def pipe(self) -> tuple[Stream, Stream]:
        """pipe(2): the end to read from, and the one to write to."""
        ends = bytearray(8)
        await self.call("pipe2", ends, os.O_CLOEXEC)
        first, second = (int.from_bytes(ends[at : at + 4], "little") for at in (0, 4))
        return Stream(self, first), Stream(self, second)

    def getpid(self) -> int:
        """getpid(2)."""
        return self._thread.process.pid

    def getppid(self) -> int:
        """getppid(2)."""
        return self._thread.process.parent_pid

    async def kill(self, pid: int, signo: int) -> None:
        """kill(2)."""
        await self.call("kill", pid, signo)

    async def sleep(self, seconds: float) -> None:
        """Sleep, as nanosleep(2): a signal's handler ends it early with EINTR."""
        whole = round(seconds * 1e9)
        request = b"".join(part.to_bytes(8, "little") for part in divmod(whole, 10**9))
        await self.call("nanosleep", request, None)

    def signal(self, signo: int, handler: SignalHandler | int) -> None:
        """Handle ``signo`` by ``handler(signo)`` (plain or async), or SIG_DFL (0) or SIG_IGN (1).

        Calls that it interrupts are restarted.
        """
        if not abi.valid_signal(signo) or abi.bit(signo) & abi.UNBLOCKABLE:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        process = self._thread.process
        if callable(handler):
            self._handlers[signo] = handler
            process.dispositions[signo] = SigAction(PYTHON_HANDLER, abi.SA_RESTART)
            return
        self._handlers.pop(signo, None)
        process.dispositions[signo] = SigAction(handler)
        if process.dispositions.ignores(signo):
            process.discard_pending(abi.bit(signo))

    def exit(self, status: int = 0) -> None:
        """End the program."""
        raise ProgramExit(status)


def _convert(argument: Argument, value: Any) -> int | bytes | UserBuffer | UserPointer | None:
    """A Python value as the handler expects its argument."""
    if argument.vector:
        return VectorBuffer([PythonBuffer(part) for part in value])
    if argument.kind is Kind.VALUE:
        return int(value)
    if argument.kind is Kind.STRING:
        if value is not None:
            return os.fsencode(value)
        if not argument.optional:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        return None
    if argument.length:
        return PythonBuffer(b"" if value is None else value)
    if isinstance(value, int):
        return PythonPointer(address=value)
    return PythonPointer(bytearray(value) if isinstance(value, bytes) else value)


def start_program(thread: Thread, main: Main, argv: list[bytes], env: dict[bytes, bytes]) -> asyncio.Task[None]:
    """Let ``thread`` (of a fresh process, or one that has just executed the program's path) run ``main``."""
    system = System(thread)
    loop = thread.kernel.loop
    task = loop.create_task(_live(thread, system, main, argv, env), name=f"{thread.name.decode()} {thread.tid}")
    system.task = task
    thread.guest = system
    thread.strand = thread.scheduler.adopt(task, TaskStrand(thread.scheduler))
    return task


async def _live(thread: Thread, system: System, main: Main, argv: list[bytes], env: dict[bytes, bytes]) -> None:
    status = abi.exited(1)
    try:
        status = abi.exited(await main(system, argv, env) or 0)
    except ProgramExit as end:
        status = abi.exited(end.status)
    except (ProgramKilled, asyncio.CancelledError):
        status = abi.killed(abi.SIGTERM)  # unless a signal has set the true status already
    except Exception as error:
        log.warning("%r ended by %r", thread, error)
        await _report(system, error)
    finally:
        thread.process.exit(status)
        thread.exit()


async def _report(system: System, error: Exception) -> None:
    """Show the traceback where the program's errors go, if they still go anywhere."""
    try:
        await system.stderr.write("".join(traceback.format_exception(error)))
    except (OSError, ProgramKilled):
        log.debug("nobody reads the errors of %d", system.getpid())
