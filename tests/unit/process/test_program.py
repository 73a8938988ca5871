"""Python programs as processes."""

from __future__ import annotations

import asyncio
import errno

import pytest

from occlum_async.abi import signals as abi
from occlum_async.abi.marshal import Argument, Fd, In, Kind, Out
from occlum_async.io.pipe import make_pipe
from occlum_async.process import sending
from occlum_async.process.kernel import Kernel
from occlum_async.process.program import System, start_program
from occlum_async.process.siginfo import SigInfo
from occlum_async.syscalls.table import Declaration

from .conftest import spawn


async def run(kernel: Kernel, main: object, *argv: bytes) -> int:
    """Run ``main`` to its end: its wait status."""
    thread = spawn(kernel)
    await start_program(thread, main, list(argv), {})  # type: ignore[arg-type]
    assert thread.exited and thread.process.zombie
    return thread.process.wait_status


async def test_exit_statuses(kernel: Kernel) -> None:
    async def returns(sys: System, argv: list[bytes], env: dict[bytes, bytes]) -> int:
        return len(argv)

    async def nothing(sys: System, argv: list[bytes], env: dict[bytes, bytes]) -> None:
        assert sys.getpid() > 1 and sys.getppid() == 1

    async def exits(sys: System, argv: list[bytes], env: dict[bytes, bytes]) -> None:
        sys.exit(7)

    async def fails(sys: System, argv: list[bytes], env: dict[bytes, bytes]) -> None:
        raise ValueError("on purpose")

    assert await run(kernel, returns, b"a", b"b") == abi.exited(2)
    assert await run(kernel, nothing) == 0
    assert await run(kernel, exits) == abi.exited(7)
    assert await run(kernel, fails) == abi.exited(1)


async def test_errors_are_oserrors(kernel: Kernel) -> None:
    async def main(sys: System, argv: list[bytes], env: dict[bytes, bytes]) -> None:
        for name, arguments, error in (("kill", (4242, 0), errno.ESRCH), ("nosuchcall", (), errno.ENOSYS)):
            with pytest.raises(OSError) as caught:
                await sys.call(name, *arguments)
            assert caught.value.errno == error

    assert await run(kernel, main) == 0


async def test_signals_kill_a_program_wherever_it_waits(kernel: Kernel) -> None:
    async def in_a_call(sys: System, argv: list[bytes], env: dict[bytes, bytes]) -> None:
        started.set()
        await sys.sleep(1000)

    async def outside(sys: System, argv: list[bytes], env: dict[bytes, bytes]) -> None:
        started.set()
        await asyncio.Event().wait()

    for main in (in_a_call, outside):
        started = asyncio.Event()
        thread = spawn(kernel)
        task = start_program(thread, main, [], {})
        await started.wait()
        await asyncio.sleep(0)
        sending.send_to_process(thread.process, SigInfo.kernel(abi.SIGINT))
        await task
        assert thread.process.wait_status == abi.SIGINT


async def test_handlers_run_and_calls_go_on(kernel: Kernel) -> None:
    seen: list[int] = []

    async def main(sys: System, argv: list[bytes], env: dict[bytes, bytes]) -> int:
        async def later(signo: int) -> None:
            seen.append(-signo)

        sys.signal(abi.SIGUSR1, seen.append)
        sys.signal(abi.SIGUSR2, later)
        sys.signal(abi.SIGTERM, abi.SIG_IGN)
        for signo in (abi.SIGUSR1, abi.SIGUSR2, abi.SIGTERM):
            await sys.kill(sys.getpid(), signo)
        with pytest.raises(OSError):
            sys.signal(abi.SIGKILL, seen.append)
        return 5

    assert await run(kernel, main) == abi.exited(5)
    assert seen == [abi.SIGUSR1, -abi.SIGUSR2]


async def test_streams_read_lines_and_write_all(kernel: Kernel) -> None:
    async def read(thread: object, fd: Fd, buf: object, count: int) -> int:
        data = await files[fd].read(count)
        buf.write(data)  # type: ignore[attr-defined]
        return len(data)

    async def write(thread: object, fd: Fd, buf: object, count: int) -> int:
        return await files[fd].write(buf.read(min(count, 3)))  # type: ignore[attr-defined]

    async def main(sys: System, argv: list[bytes], env: dict[bytes, bytes]) -> None:
        async for line in sys.stdin:
            await sys.stdout.write(line.upper())

    value = Argument(Kind.VALUE)
    kernel.syscall_table = {
        0: Declaration(0, "read", read, (value, Out("count"), value), ("fd", "buf", "count"), abi.Restart.SYS, True),
        1: Declaration(1, "write", write, (value, In("count"), value), ("fd", "buf", "count"), abi.Restart.SYS, True),
    }
    source, feed = make_pipe(kernel.scheduler, 0)
    sink, out = make_pipe(kernel.scheduler, 0)
    files = {0: source.acquire(), 1: out.acquire()}
    feed.acquire()
    await feed.write(b"one\ntwo\nthree")
    feed.release()
    assert await run(kernel, main) == 0
    out.release()
    assert await sink.read(100) == b"ONE\nTWO\nTHREE"
