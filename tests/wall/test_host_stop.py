"""The host stops a guest and lets it go on, as a terminal's ^Z and fg do: its sleeps and timed waits go on, too."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

import pytest

from occlum_async.libos import LibOS

PATIENCE = 20.0
# Waits of 0.7 seconds.
WAITS = {
    "a relative sleep": "import ctypes; assert ctypes.CDLL(None).usleep(700_000) == 0",
    "an absolute sleep": "import time; time.sleep(0.7)",
    "a futex": "import threading; assert not threading.Event().wait(0.7)",
}
# Prints a line when it is about to wait, and another one when it has waited: whether as long as it should.
PROGRAM = """
import time
start = time.monotonic()
print("begun", flush=True)
{wait}
print(0.7 <= time.monotonic() - start < 10)
"""


def states(pid: int) -> set[str]:
    """The states of the threads of a process of the host's."""
    return {(task / "stat").read_text().rpartition(") ")[2][0] for task in Path(f"/proc/{pid}/task").iterdir()}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("grants", [True, False], ids=["grants", "strict"])
@pytest.mark.parametrize("name", WAITS)
async def test_a_wait_goes_on(name: str, grants: bool) -> None:
    async with LibOS(grants=grants) as libos:
        process = await libos.spawn(
            "/usr/bin/python3", "-c", PROGRAM.format(wait=WAITS[name]), stdout=PIPE, stderr=PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"begun\n"
        pid = process._process.memory.host_pid
        await until(lambda: states(pid) == {"S"})
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: states(pid) == {"T"})
        os.kill(pid, signal.SIGCONT)
        output, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert (output, errors, process.returncode) == (b"True\n", b"", 0)
