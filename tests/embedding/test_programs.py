"""Python coroutines as programs of the LibOS."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from asyncio.subprocess import PIPE
from typing import Any

import pytest

from occlum_async.libos import LibOS

from .conftest import Run

Env = dict[bytes, bytes]


async def shout(sys: Any, argv: list[bytes], env: Env) -> int:
    async for line in sys.stdin:
        await sys.stdout.write(line.upper())
    return 0


async def output(libos: LibOS, command: str, status: int = 0) -> str:
    process = await libos.spawn("bash", "-c", command, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    assert process.returncode == status, (out, err)
    return ((out or b"") + (err or b"")).decode()


def test_in_pipelines_with_elf_programs(run: Run) -> None:
    async def main() -> None:
        libos = LibOS()
        libos.program("/usr/bin/shout")(shout)
        async with libos:
            assert await output(libos, "printf 'a\\nb\\nc\\n' | shout | head -2") == "A\nB\n"
            assert await output(libos, "ls / | shout | grep -x USR") == "USR\n"

            @libos.program("/usr/bin/countdown")
            async def countdown(sys: Any, argv: list[bytes], env: Env) -> int:
                for number in range(int(argv[1]), 0, -1):
                    await sys.stdout.write(f"{number}\n")
                return int(env.get(b"STATUS", b"0"))

            assert await output(libos, "countdown 3 | tac; STATUS=7 countdown 1", 7) == "1\n2\n3\n1\n"
            assert await output(libos, "countdown 1000000 | head -1; echo ${PIPESTATUS[0]}") == "1000000\n141\n"
            process = await libos.spawn("shout", stdin=PIPE, stdout=PIPE)
            assert await process.communicate(b"direct\n") == (b"DIRECT\n", None)
            assert process.returncode == 0

    run(main())


def test_its_surroundings(run: Run) -> None:
    async def main() -> None:
        async with LibOS(env={"A": "1"}) as libos:

            @libos.program("/bin/about")
            async def about(sys: Any, argv: list[bytes], env: Env) -> int:
                cwd = bytearray(100)
                length = await sys.call("getcwd", cwd, len(cwd))
                ids = [await sys.call(name) for name in ("getuid", "getgid")]
                await sys.stdout.write(f"{argv} {env[b'A'].decode()} {bytes(cwd[: length - 1]).decode()} {ids}\n")
                await sys.stdout.write(f"{sys.getpid()} {sys.getppid()}\n")
                file = await sys.open("/tmp/made", os.O_CREAT | os.O_RDWR, 0o600)
                await file.write(b"first\nsecond")
                await sys.call("lseek", file.fd, 0, os.SEEK_SET)
                await sys.stdout.write(await file.readline() + await file.read())
                await file.close()
                with pytest.raises(FileNotFoundError) as failure:
                    await sys.open("/does/not/exist")
                assert failure.value.errno == errno.ENOENT
                with pytest.raises(OSError):
                    await sys.call("no_such_call")
                sys.exit(6)
                raise AssertionError("never reached")

            told = await output(libos, "cd /usr; echo $$; about x y", 6)
            pid, line, ids, *rest = told.splitlines()
            assert line == "[b'about', b'x', b'y'] 1 /usr [0, 0]"
            assert int(ids.split()[0]) >= int(pid) and rest == ["first", "second"]
            assert await libos.fs.read_bytes("/tmp/made") == b"first\nsecond"

    run(main())


def test_signals(run: Run) -> None:
    async def main() -> None:
        async with LibOS() as libos:

            @libos.program("/bin/patient")
            async def patient(sys: Any, argv: list[bytes], env: Env) -> int:
                got: list[int] = []
                sys.signal(signal.SIGUSR1, got.append)
                sys.signal(signal.SIGINT, signal.SIG_IGN)
                await sys.stdout.write("ready\n")
                while not got:
                    try:
                        await sys.sleep(100)
                    except InterruptedError:
                        await sys.stdout.write("woken\n")
                return got[0]

            process = await libos.spawn("patient", stdout=PIPE)
            assert process.stdout is not None and await process.stdout.readline() == b"ready\n"
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGUSR1)
            assert await process.communicate() == (b"woken\n", None)
            assert process.returncode == signal.SIGUSR1
            for signo in (signal.SIGTERM, signal.SIGKILL):
                process = await libos.spawn("patient", stdout=PIPE)
                assert process.stdout is not None and await process.stdout.readline() == b"ready\n"
                process.send_signal(signo)
                assert await process.wait() == -signo
            assert await output(libos, "patient & while ! kill -USR1 $!; do :; done; wait $!; echo $?")

    run(main())


def test_stopping_and_its_own_awaits(run: Run) -> None:
    async def main() -> None:
        async with LibOS() as libos:
            gate = asyncio.Event()

            @libos.program("/bin/awaits")
            async def awaits(sys: Any, argv: list[bytes], env: Env) -> int:
                await sys.stdout.write("waiting\n")
                await gate.wait()  # the embedder's own things, not a system call
                await sys.stdout.write("through\n")
                return 0

            process = await libos.spawn("awaits", stdout=PIPE)
            assert process.stdout is not None and await process.stdout.readline() == b"waiting\n"
            gate.set()
            assert await process.communicate() == (b"through\n", None)
            gate.clear()
            process = await libos.spawn("awaits", stdout=PIPE)
            assert process.stdout is not None and await process.stdout.readline() == b"waiting\n"
            process.kill()
            assert await process.wait() == -signal.SIGKILL

    run(main())


def test_an_exception_is_a_traceback_on_its_stderr(run: Run) -> None:
    async def main() -> None:
        async with LibOS() as libos:

            @libos.program("/bin/broken")
            async def broken(sys: Any, argv: list[bytes], env: Env) -> int:
                raise ValueError("as it happens")

            told = await output(libos, "broken; echo status $?")
            assert told.startswith("status 1\n") and "ValueError: as it happens" in told
            assert await output(libos, "broken 2>&-; echo $?") == "1\n"
            assert libos.stats()["oopses"] == 0
            assert await (await libos.spawn("true")).wait() == 0

    run(main())


def test_it_starts_others_through_its_embedder(run: Run) -> None:
    async def main() -> None:
        async with LibOS() as libos:

            @libos.program("/bin/starts")
            async def starts(sys: Any, argv: list[bytes], env: Env) -> int:
                with pytest.raises(OSError) as failure:  # there is no host process to fork or to replace
                    await sys.call("execve", "/bin/true", [b"true"], [])
                assert failure.value.errno == errno.ENOSYS
                other = await libos.spawn("echo", "started", stdout=PIPE)
                out, _ = await other.communicate()
                await sys.stdout.write(out or b"")
                return 0

            assert await output(libos, "starts") == "started\n"

    run(main())
