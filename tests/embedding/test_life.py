"""LibOSes begin and end: several at once, in other threads, and nothing of them stays behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from asyncio.subprocess import PIPE

import pytest

from occlum_async.errors import ConfigError, LibOSError
from occlum_async.libos import Bind, LibOS
from occlum_async.process.process import Process

from .conftest import Run, children, descriptors


def test_two_know_nothing_of_each_other(run: Run) -> None:
    async def main() -> None:
        async with LibOS(hostname="one") as one, LibOS(hostname="two", grants=False) as two:
            await one.fs.write_bytes("/tmp/mine", b"1")
            assert not await two.fs.exists("/tmp/mine")
            sleeper = await one.spawn("sleep", "1000")
            process = await two.spawn("sh", "-c", f"hostname; kill -0 {sleeper.pid + 100}; ps -e | grep -c sleep",
                                      stdout=PIPE, stderr=PIPE)  # fmt: skip
            out, _ = await process.communicate()
            assert out == b"two\n0\n"
            await one.close()
            assert await (await two.spawn("true")).wait() == 0

    run(main())


def test_in_threads_at_once(run: Run) -> None:
    found: list[bytes | None] = []

    async def main() -> None:
        async with LibOS() as libos:
            for _ in range(10):
                process = await libos.spawn("bash", "-c", "sleep 0.01 & wait; echo ok", stdout=PIPE)
                found.append((await process.communicate())[0])

    threads = [threading.Thread(target=lambda: run(main())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"ok\n"] * 30


def test_nothing_stays_behind(run: Run) -> None:
    """Also while the object is kept, and without the collector's help."""

    async def once() -> LibOS:
        async with LibOS() as libos:
            quick = await libos.spawn("sh", "-c", "echo a | cat", stdin=PIPE, stdout=PIPE, stderr=PIPE)
            await quick.communicate()
            await libos.spawn("sleep", "1000", stdin=PIPE, stdout=PIPE)  # left running
            await libos.spawn("cat", tty=True)
            sharing = "import mmap; mmap.mmap(-1, 4096); print(flush=True); input()"
            shares = await libos.spawn("python3", "-c", sharing, stdin=PIPE, stdout=PIPE)
            assert shares.stdout is not None
            await shares.stdout.readline()
            await libos.fs.write_bytes("/tmp/x", bytes(1_000_000))
        return libos

    async def main() -> None:
        await once()  # what is opened once and for all
        gc.collect()
        before = descriptors()
        gc.disable()
        try:
            kept = [await once() for _ in range(3)]
            assert len(kept) == 3 and descriptors() == before
        finally:
            gc.enable()
        assert children() == set()

    run(main())


def test_processes_that_ended_are_forgotten(run: Run) -> None:
    """Whatever has shown or served them: /proc, threads, shared memory, terminals, signals."""
    works = (
        "ls -l /proc/self/fd; cat /proc/$$/maps /proc/self/status; cd /proc/self/task; ps aux",
        "(sleep 1000 & kill -9 $!; wait) | sort; kill -SEGV $$",
        "python3 -c 'import mmap, tempfile, threading\nt = threading.Thread(target=print)\nt.start()\nt.join()\n"
        "file = tempfile.TemporaryFile()\nfile.truncate(4096)\nmmap.mmap(file.fileno(), 4096)'",
    )

    async def main() -> None:
        async with LibOS() as libos:
            for work in works:
                for tty in False, True:
                    process = await libos.spawn("bash", "-c", work, stdout=None if tty else PIPE, stderr=PIPE, tty=tty)
                    await process.communicate()
                    del process
            async with asyncio.timeout(10):
                while _processes(libos) != [1]:  # the host reports the last ends a moment later
                    await asyncio.sleep(0.01)

    run(main())


def test_children_killed_at_birth_leave_no_host_process(run: Run) -> None:
    """Also those that are killed before their host process has said who it is."""
    work = (
        "import os, signal\n"
        "for _ in range(200):\n"
        "    if not (pid := os.fork()):\n"
        "        signal.pause()\n"
        "    os.kill(pid, signal.SIGKILL)\n"
        "    os.waitpid(pid, 0)\n"
    )

    async def main() -> None:
        async with LibOS() as libos:
            supervisor = libos.kernel.supervisor
            assert await (await libos.spawn("python3", "-c", work)).wait() == 0
            async with asyncio.timeout(20):
                while any(not host.pid for host in supervisor.hosts):
                    await asyncio.sleep(0.01)
            assert supervisor.strays.killed == 0

    run(main())


def _processes(libos: LibOS) -> list[int]:
    gc.collect()
    return [found.pid for found in gc.get_objects() if type(found) is Process and found.kernel is libos.kernel]


def test_an_error_within_ends_everything(run: Run) -> None:
    async def main() -> None:
        libos = LibOS()
        with pytest.raises(RuntimeError, match="mine"):
            async with libos:
                process = await libos.spawn("sleep", "1000")
                waiting = asyncio.ensure_future(process.wait())
                raise RuntimeError("mine")
        assert await waiting == -9
        assert children() == set()
        await libos.close()  # harmless
        with pytest.raises(LibOSError, match="not running"):
            libos.stats()

    run(main())


def test_what_cannot_begin(run: Run) -> None:
    async def main() -> None:
        wrong = [
            lambda: LibOS("/nope"), lambda: LibOS(user="nope"), lambda: LibOS(memory="1k"), lambda: LibOS(memory="x"),
            lambda: LibOS(boundary="magic"), lambda: LibOS(binds=[Bind("/nope", "/x")]),
            lambda: LibOS(binds=[Bind("/usr", "x")]), lambda: LibOS(tmpfs={"/": None}),
        ]  # fmt: skip
        before = descriptors()
        for make in wrong:
            with pytest.raises(ConfigError):
                async with make():
                    pass
        assert descriptors() == before
        assert children() == set()

    run(main())


def test_a_cancelled_start_leaves_nothing(run: Run) -> None:
    async def begin() -> None:
        async with LibOS():
            pass

    async def main() -> None:
        before = descriptors()
        for turns in range(12):
            task = asyncio.ensure_future(begin())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert descriptors() == before
        assert children() == set()

    run(main())


def test_a_cancelled_spawn_leaves_no_process(run: Run) -> None:
    async def main() -> None:
        async with LibOS() as libos:
            for turns in range(12):
                task = asyncio.ensure_future(libos.spawn("sleep", "1000"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                if task.cancel():
                    await asyncio.gather(task, return_exceptions=True)
                else:
                    task.result().kill()
                    await task.result().wait()
            assert await (await libos.spawn("true")).wait() == 0
            async with asyncio.timeout(10):  # the host takes a moment to end them
                while libos.stats()["processes"] > 1:
                    await asyncio.sleep(0.01)
            assert libos.stats()["oopses"] == 0

    run(main())
