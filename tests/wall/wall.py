"""A LibOS with an attacker's programs in it, and a healthy neighbour that must go on whatever happens."""

from __future__ import annotations

import asyncio
import subprocess
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from occlum_async.libos import Bind, LibOS, Process

HERE = Path(__file__).parent
BUILD = HERE / "build"
PATIENCE = 30.0  # seconds within which a neighbour must have been served, however loaded the machine is
FLAGS = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-static", "-pthread"]


@pytest.fixture(scope="session")
def attackers() -> Path:
    """The folder of the attackers' programs, built from their present sources."""
    BUILD.mkdir(exist_ok=True)
    for source in sorted(HERE.glob("*.c")):
        subprocess.run(["gcc", *FLAGS, "-o", str(BUILD / source.stem), str(source)], check=True)
    return BUILD


class Wall:
    """One LibOS: attacks inside it, and the neighbour."""

    def __init__(self, libos: LibOS, neighbour: Process) -> None:
        self.libos = libos
        self.neighbour = neighbour
        self._attacks: list[Process] = []

    async def attack(self, *argv: str) -> Process:
        """Start an attacker's program, its output in ``stdout``."""
        process = await self.libos.spawn(f"/attack/{argv[0]}", *argv[1:], stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
        self._attacks.append(process)
        return process

    async def output(self, process: Process) -> str:
        """All that an attacker has to say; it must come to an end."""
        text, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        return (text or b"").decode(errors="replace")

    async def line(self, process: Process) -> str:
        """The next line that an attacker says."""
        assert process.stdout is not None
        return (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode(errors="replace").rstrip()

    async def others_go_on(self) -> None:
        """The neighbour answers, and a new program can be run that forks, reads files and ends well."""
        assert self.neighbour.stdin is not None and self.neighbour.stdout is not None
        self.neighbour.stdin.write(b"are you there?\n")
        answer = await asyncio.wait_for(self.neighbour.stdout.readline(), PATIENCE)
        assert answer == b"are you there?\n"
        shell = await self.libos.spawn("/bin/sh", "-c", "cat /etc/hostname | wc -l", stdin=DEVNULL, stdout=PIPE)
        output, _ = await asyncio.wait_for(shell.communicate(), PATIENCE)
        assert (output or b"").strip() == b"1" and shell.returncode == 0

    async def finish(self) -> None:
        """End the attackers. Nobody else suffered, and the kernel made no mistake."""
        for process in self._attacks:
            if process.returncode is None:
                process.kill()
            await asyncio.wait_for(process.wait(), PATIENCE)
        await self.others_go_on()
        assert self.libos.stats()["oopses"] == 0


@pytest.fixture
async def make_wall(attackers: Path) -> AsyncIterator[Callable[..., Awaitable[Wall]]]:
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Wall:
            libos = await stack.enter_async_context(LibOS(binds=[Bind(str(attackers), "/attack", True)], **options))
            neighbour = await libos.spawn("/bin/cat", stdin=PIPE, stdout=PIPE)
            wall = Wall(libos, neighbour)
            await wall.others_go_on()
            return wall

        yield make


@pytest.fixture
async def wall(make_wall: Callable[..., Awaitable[Wall]]) -> AsyncIterator[Wall]:
    wall = await make_wall(memory="256m", pids=200)
    yield wall
    await wall.finish()
