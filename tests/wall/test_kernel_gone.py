"""When the kernel is killed, every guest ends: the ordinary, the daemon, the stubborn and the stopped."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from occlum_async.process.hoststat import children_of

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
PROGRAMS = """
sleep 1000 &
setsid sleep 1000 &
(trap '' HUP INT TERM; while :; do :; done) &
sh -c 'kill -STOP $$' &
/attack/takeover stubborn &
/attack/takeover 'silent forks' 3 &
read line
"""


@pytest.fixture
def kernel(attackers: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A LibOS in a process of its own, with guests of every kind in it."""
    command = ["run", "-i", "-v", f"{attackers}:/attack:ro", "/bin/bash", "-c", PROGRAMS]
    process = subprocess.Popen(
        [sys.executable, "-m", "occlum_async", *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("victim", ["the kernel", "the supervisor"])
def test_no_guest_survives(kernel: subprocess.Popen[bytes], victim: str) -> None:
    assert kernel.stdout is not None
    said = b"".join(kernel.stdout.readline() for _ in range(3))
    assert sorted(said) == sorted(b"forked\nready\nready\n"), "each of the three has written its line"
    (supervisor,) = children_of(kernel.pid)
    guests = [supervisor, *children_of(supervisor)]
    assert len(guests) >= 11, "the supervisor, the zygote, bash and what it started, three silent children"
    pidfds = []
    for pid in guests:
        with suppress(ProcessLookupError):
            pidfds.append(os.pidfd_open(pid))
    os.kill(kernel.pid if victim == "the kernel" else supervisor, signal.SIGKILL)
    assert kernel.wait(PATIENCE) != 0
    _wait_for_the_end(pidfds)


def _wait_for_the_end(pidfds: list[int]) -> None:
    ended = select.poll()
    for fd in pidfds:
        ended.register(fd, select.POLLIN)
    while pidfds:
        ready = ended.poll(PATIENCE * 1000)
        assert ready, f"{len(pidfds)} guests are still there"
        for fd, _ in ready:
            ended.unregister(fd)
            os.close(fd)
            pidfds.remove(fd)
