"""``LibOS.spawn`` has the shape of ``asyncio.create_subprocess_exec``."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT

import pytest

from occlum_async.errors import ConfigError, LibOSError, ProgramNotExecutable, ProgramNotFound
from occlum_async.libos import LibOS

from .conftest import Run


def test_communicate(run: Run) -> None:
    async def main() -> None:
        async with LibOS() as libos:
            process = await libos.spawn("sh", "-c", "sort; echo err >&2; exit 3", stdin=PIPE, stdout=PIPE, stderr=PIPE)
            assert process.returncode is None and process.pid > 1
            assert await process.communicate(b"b\na\n") == (b"a\nb\n", b"err\n")
            assert process.returncode == 3 == await process.wait()
            process = await libos.spawn("cat", stdin=PIPE, stdout=PIPE)
            big = os.urandom(3_000_000)
            assert await process.communicate(big) == (big, None)
            process = await libos.spawn("sh", "-c", "echo out; echo err >&2", stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
            assert await process.communicate() == (b"out\nerr\n", None)
            process = await libos.spawn("true", stdin=PIPE, stdout=DEVNULL)
            assert await process.communicate(b"x" * 1_000_000) == (None, None)  # it does not read: no error

    run(main())


def test_streams(run: Run) -> None:
    async def main() -> None:
        async with LibOS() as libos:
            process = await libos.spawn("cat", stdin=PIPE, stdout=PIPE)
            assert process.stdin is not None and process.stdout is not None and process.stderr is None
            process.stdin.write(b"one\ntw")
            process.stdin.writelines([b"o\n", b"rest"])
            await process.stdin.drain()
            assert await process.stdout.readline() == b"one\n"
            assert await process.stdout.readexactly(3) == b"two"
            assert not process.stdout.at_eof()
            process.stdin.close()
            await process.stdin.wait_closed()
            assert process.stdin.is_closing()
            with pytest.raises(RuntimeError):
                process.stdin.write(b"late")
            assert await process.stdout.read() == b"\nrest"
            assert await process.stdout.read(5) == b"" and process.stdout.at_eof()
            with pytest.raises(asyncio.IncompleteReadError):
                await process.stdout.readexactly(1)
            assert await process.wait() == 0

            process = await libos.spawn("seq", "3", stdout=PIPE)
            assert process.stdout is not None
            assert [line async for line in process.stdout] == [b"1\n", b"2\n", b"3\n"]

            process = await libos.spawn("true", stdin=PIPE)
            await process.wait()
            assert process.stdin is not None
            with pytest.raises(BrokenPipeError):
                process.stdin.write(b"x" * 100_000)
                await process.stdin.drain()

    run(main())


def test_a_slow_reader_stops_the_writer(run: Run) -> None:
    async def main() -> None:
        async with LibOS() as libos:
            process = await libos.spawn("yes", stdout=PIPE)
            assert process.stdout is not None
            assert await process.stdout.readexactly(20_000_000) == b"y\n" * 10_000_000
            process.kill()
            assert await process.wait() == -signal.SIGKILL
            assert len(await process.stdout.read()) < 1_000_000

    run(main())


def test_host_descriptors_and_files(run: Run) -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as errors:
            source.write(b"from a file\n")
            source.seek(0)
            async with LibOS() as libos:
                command = "cat; echo bad >&2"
                process = await libos.spawn("sh", "-c", command, stdin=source, stdout=writer, stderr=errors)
                assert await process.wait() == 0
            os.close(writer)
            assert os.read(reader, 100) == b"from a file\n"
            assert os.read(reader, 100) == b""
            errors.seek(0)
            assert errors.read() == b"bad\n"
        os.close(reader)

    run(main())


def test_signals_and_ends(run: Run) -> None:
    async def main() -> None:
        async with LibOS() as libos:
            process = await libos.spawn("sleep", "1000")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), 0.05)
            waiting = asyncio.ensure_future(process.wait())
            await asyncio.sleep(0)
            waiting.cancel()  # one who gives up waiting does not disturb the others
            assert process.returncode is None
            process.terminate()
            assert await process.wait() == -signal.SIGTERM == process.returncode
            for action in (process.terminate, process.kill, lambda: process.send_signal(0)):
                with pytest.raises(ProcessLookupError):
                    action()
            process = await libos.spawn("bash", "-c", "trap 'echo usr; exit 5' USR1; echo; while :; do sleep .01; done",
                                        stdout=PIPE)  # fmt: skip
            assert process.stdout is not None and await process.stdout.readline() == b"\n"
            with pytest.raises(ValueError):
                process.send_signal(77)
            process.send_signal(signal.SIGUSR1)
            assert await process.communicate() == (b"usr\n", None)
            assert process.returncode == 5

    run(main())


def test_what_cannot_be_spawned(run: Run) -> None:
    async def main() -> None:
        async with LibOS(pids=20) as libos:
            before = libos.stats()["processes"]
            for program in ("nope", "/nope", "/etc/passwd/x"):
                with pytest.raises(ProgramNotFound):
                    await libos.spawn(program)
            for program in ("/etc", "/etc/passwd"):
                with pytest.raises(ProgramNotExecutable):
                    await libos.spawn(program)
            with pytest.raises(ConfigError):
                await libos.spawn("true", cwd="/nope")
            with pytest.raises(ConfigError):
                await libos.spawn("true", user="nope")
            with pytest.raises(ConfigError):
                await libos.spawn("true", stdout=STDOUT)
            with pytest.raises(ValueError):
                await libos.spawn("echo", "a\0b")
            assert libos.stats()["processes"] == before
            sleepers = [await libos.spawn("sleep", "1000") for _ in range(19)]
            with pytest.raises(LibOSError, match="temporarily unavailable"):
                await libos.spawn("true")
            sleepers[0].kill()
            await sleepers[0].wait()
            assert await (await libos.spawn("true")).wait() == 0
        with pytest.raises(LibOSError, match="not running"):
            await libos.spawn("true")

    run(main())


def test_surroundings_of_a_program(run: Run) -> None:
    async def main() -> None:
        async with LibOS(env={"A": "1", "B": "2"}, hostname="box") as libos:
            process = await libos.spawn(
                "sh", "-c", "pwd; echo $A$B$C $HOME; hostname; id -u",
                cwd="/usr", env={"B": "3", "C": "4"}, user="nobody", stdout=PIPE,
            )  # fmt: skip
            assert await process.communicate() == (b"/usr\n134 /nonexistent\nbox\n65534\n", None)

    run(main())


def test_a_terminal(run: Run) -> None:
    async def main() -> None:
        async with LibOS() as libos:
            process = await libos.spawn("bash", "--norc", "-i", tty=True, env={"PS1": "> ", "TERM": "dumb"})
            assert process.stdin is not None and process.stdout is not None

            async def until(text: bytes) -> bytes:
                assert process.stdout is not None
                seen = b""
                while text not in seen:
                    piece = await process.stdout.read(4096)
                    assert piece, seen
                    seen += piece
                return seen

            await until(b"> ")
            process.resize(12, 34)
            process.stdin.write(b"stty size; sh -c 'echo no\"\"w; exec cat'\n")
            assert b"12 34" in await until(b"now")
            process.stdin.write(b"\x03")
            await until(b"> ")
            process.stdin.write(b"exit 4\n")
            assert await process.wait() == 4
            await process.stdout.read()  # the terminal ends with its session
            process = await libos.spawn("cat", tty=True)
            assert process.stdin is not None
            process.stdin.close()  # hanging up
            assert await process.wait() == -signal.SIGHUP

    run(main())


def test_many_at_once(run: Run) -> None:
    async def main() -> None:
        async def one(number: int) -> None:
            process = await libos.spawn("echo", str(number), stdout=PIPE)
            assert await process.communicate() == (b"%d\n" % number, None)
            assert process.returncode == 0

        async with LibOS() as libos:
            await asyncio.gather(*(one(number) for number in range(200)))
            assert libos.stats()["processes"] == 1 and libos.stats()["oopses"] == 0

    run(main())
