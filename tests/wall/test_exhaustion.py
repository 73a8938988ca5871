"""Guests that take all they can get: limits answer with Linux's errno, and nobody else goes short."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import pytest

from occlum_async.process import hoststat
from occlum_async.process.memorylimit import MemoryWatch

from .wall import Wall

MEGABYTE = 1 << 20


@pytest.mark.parametrize("what, status", [("crash", -signal.SIGSEGV), ("wild jump", -signal.SIGSEGV)])
async def test_crashes(wall: Wall, what: str, status: int) -> None:
    attack = await wall.attack("exhaust", what)
    assert await wall.output(attack) == ""
    assert attack.returncode == status


async def test_endless_loops(wall: Wall) -> None:
    attack = await wall.attack("exhaust", "loops")
    assert await wall.line(attack) == "looping"
    await wall.others_go_on()


async def test_a_fork_bomb(make_wall: Callable[..., Awaitable[Wall]]) -> None:
    wall = await make_wall(pids=40)
    attack = await wall.attack("exhaust", "forks")
    assert await wall.line(attack) == "fork: EAGAIN"
    # The neighbour lives on; a new program has a place again when the bomb is gone.
    assert wall.neighbour.returncode is None
    assert len(wall.libos.kernel.processes.threads) == 40
    wall.libos.kernel.processes.limit = 60
    shell = await wall.libos.spawn("/bin/sh", "-c", "kill -9 -1")
    await asyncio.wait_for(shell.wait(), 30)
    assert await asyncio.wait_for(attack.wait(), 30) == -signal.SIGKILL


async def test_threads_without_end(wall: Wall) -> None:
    attack = await wall.attack("exhaust", "threads")
    assert await wall.output(attack) == "pthread_create: EAGAIN\n"


async def test_descriptors_without_end(wall: Wall) -> None:
    attack = await wall.attack("exhaust", "descriptors")
    expected = "open: EMFILE\npipe: EMFILE\nsocketpair: EMFILE\ndup: EMFILE\nsetrlimit: EPERM\n"
    assert await wall.output(attack) == expected


async def test_everything_open_in_many_processes(wall: Wall) -> None:
    attack = await wall.attack("exhaust", "everything open")
    assert set((await wall.output(attack)).splitlines()) == {"open: EMFILE"}


@pytest.mark.parametrize("what", ["memory", "shared memory", "sparse file", "unlinked files"])
async def test_memory_is_limited(wall: Wall, what: str) -> None:
    attack = await wall.attack("exhaust", what)
    output = await wall.output(attack)
    assert attack.returncode == -signal.SIGKILL or "ENOMEM" in output or "ENOSPC" in output
    assert wall.neighbour.returncode is None


async def test_memory_that_processes_share_counts_once(wall: Wall) -> None:
    attack = await wall.attack("exhaust", "borrowed memory")
    assert await wall.line(attack) == "borrowed"
    assert 96 * MEGABYTE < wall.libos.kernel.memory_in_use() < 192 * MEGABYTE
    watch = MemoryWatch(wall.libos.kernel)
    assert watch.look() > 64 * MEGABYTE and attack.returncode is None
    # Above the limit all of them go: without any one of them nothing would be free.
    wall.libos.kernel.config.memory = 64 * MEGABYTE
    assert watch.look() < 0
    watch.close()
    assert await asyncio.wait_for(attack.wait(), 30) == -signal.SIGKILL
    assert await wall.output(attack) == ""


async def test_no_memory_is_lost(wall: Wall) -> None:
    account = wall.libos.kernel.file_memory
    before = account.pages_used
    attack = await wall.attack("exhaust", "shared memory")
    await wall.output(attack)

    async def given_back() -> None:
        while account.pages_used > before + 16:
            wall.libos.kernel.shared_memory.collect(wall.libos.kernel.supervisor.hosts, True)
            await asyncio.sleep(0.01)

    await asyncio.wait_for(given_back(), 20)


async def test_a_full_upper_layer(wall: Wall) -> None:
    attack = await wall.attack("exhaust", "upper layer")
    assert await wall.output(attack) == "write: ENOSPC\nmkdir: ENOSPC\nafter unlink: ok\n"


async def test_names_without_end(make_wall: Callable[..., Awaitable[Wall]]) -> None:
    wall = await make_wall(memory="24m")
    attack = await wall.attack("exhaust", "names")
    assert await wall.output(attack) == "mkdir: ENOSPC\n"


async def test_a_long_write_takes_no_memory_of_the_kernels(wall: Wall) -> None:
    before = hoststat.memory_usage(os.getpid())[1]
    attack = await wall.attack("exhaust", "long write")
    assert (await wall.output(attack)).startswith("write: 2047\n")
    assert hoststat.memory_usage(os.getpid())[1] - before < 64 * MEGABYTE


async def test_pipes_without_end(wall: Wall) -> None:
    before = hoststat.memory_usage(os.getpid())[1]
    attack = await wall.attack("exhaust", "pipes")
    assert await wall.line(attack) == "filled"
    await wall.others_go_on()
    assert hoststat.memory_usage(os.getpid())[1] - before < 512 * MEGABYTE, "twice the limit"


async def test_signals_without_end(wall: Wall) -> None:
    attack = await wall.attack("exhaust", "signals")
    assert await wall.output(attack) == "sending\nsigqueue: EAGAIN\n"
