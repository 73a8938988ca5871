"""Guests that have taken over their shim: what the host refuses, and what hurts nobody but themselves."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator

import pytest

from occlum_async.process import hoststat

from .wall import Wall


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A host process of the same user, outside of the LibOS."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


async def test_no_way_out_through_the_shims_instructions(wall: Wall, victim: subprocess.Popen[bytes]) -> None:
    attack = await wall.attack("refused", str(victim.pid))
    output = await wall.output(attack)
    assert output.endswith(" 0 passed\n"), output
    assert int(output.split()[0]) > 20, "the shim's instructions were not found"
    assert attack.returncode == 0
    assert victim.poll() is None


@pytest.mark.parametrize("how", ["replace", "unmap"])
async def test_rewriting_the_shim_ends_only_the_guest(wall: Wall, how: str) -> None:
    attack = await wall.attack("takeover", how)
    assert await wall.output(attack) == "ready\n"
    assert attack.returncode is not None and attack.returncode < 0


@pytest.mark.parametrize("seed", range(3))
async def test_scribbling_over_the_channel(wall: Wall, seed: int) -> None:
    attack = await wall.attack("takeover", "scribble", str(seed))
    await wall.line(attack)
    await wall.others_go_on()


@pytest.mark.parametrize("seed", range(2))
async def test_scribbling_while_calling(wall: Wall, seed: int) -> None:
    attack = await wall.attack("takeover", "scribble while calling", str(seed))
    await wall.line(attack)
    for _ in range(5):
        await wall.others_go_on()


@pytest.mark.parametrize("seed", range(3))
async def test_nonsense_on_the_ring(wall: Wall, seed: int) -> None:
    attack = await wall.attack("takeover", "nonsense", str(seed))
    await wall.output(attack)


async def test_a_flooded_doorbell(wall: Wall) -> None:
    attack = await wall.attack("takeover", "flood")
    assert await wall.line(attack) == "ready"
    await wall.others_go_on()
    assert await wall.output(attack) == "flooded\n"


async def test_closed_descriptors(wall: Wall) -> None:
    attack = await wall.attack("takeover", "close")
    await wall.line(attack)  # with no doorbell it may wait for ever
    await wall.others_go_on()


async def test_descriptors_that_nobody_takes(wall: Wall) -> None:
    attack = await wall.attack("takeover", "leave descriptors")
    await wall.output(attack)
    assert attack.returncode == -signal.SIGKILL


async def test_a_guest_that_never_answers_can_be_killed(wall: Wall) -> None:
    attack = await wall.attack("takeover", "stubborn")
    assert await wall.line(attack) == "ready"
    await wall.others_go_on()
    attack.kill()
    assert await asyncio.wait_for(attack.wait(), 10) == -signal.SIGKILL


async def test_a_guest_that_leaves_silently_is_missed(wall: Wall) -> None:
    attack = await wall.attack("takeover", "silent")
    assert await wall.output(attack) == "ready\n"
    assert attack.returncode == -signal.SIGKILL


def strangers(wall: Wall) -> list[int]:
    """Host processes of this LibOS that its kernel does not know."""
    supervisor = wall.libos.kernel.supervisor
    known = {host.pid for host in supervisor.hosts}
    return [pid for pid in hoststat.children_of(supervisor.pid) if pid not in known]


async def no_strangers(wall: Wall) -> None:
    while strangers(wall):
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["silent forks", "impostor"])
async def test_children_without_a_hello_are_found(
    make_wall: Callable[..., Awaitable[Wall]], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("occlum_async.process.strays.HELLO_TIMEOUT", 1.0)
    wall = await make_wall()
    attack = await wall.attack("takeover", how, "5")
    assert await wall.line(attack) == "ready"
    if how == "silent forks":
        assert await wall.line(attack) == "forked"
        assert len(strangers(wall)) == 5
    await asyncio.wait_for(no_strangers(wall), 20)
    await wall.finish()
    await asyncio.wait_for(no_strangers(wall), 20)


async def test_lies_about_host_threads(wall: Wall, victim: subprocess.Popen[bytes]) -> None:
    attack = await wall.attack("takeover", "lie", str(victim.pid))
    assert await wall.line(attack) == "ready"
    assert await wall.line(attack) == "lied"
    assert victim.poll() is None


async def test_lies_about_the_neighbours_threads(wall: Wall) -> None:
    pid = wall.neighbour._process.memory.host_pid
    attack = await wall.attack("takeover", "lie", str(pid))
    assert await wall.line(attack) == "ready"
    await wall.others_go_on()


async def test_threads_that_do_not_end_are_counted(wall: Wall) -> None:
    attack = await wall.attack("takeover", "threads", "3000")
    assert await wall.line(attack) == "ready"
    assert await wall.line(attack) == "stopped"
    assert hoststat.thread_count(attack._process.memory.host_pid) < 500


async def test_clones_that_nobody_ordered(wall: Wall) -> None:
    attack = await wall.attack("takeover", "clone")
    assert await wall.output(attack) == "ready\nmade 0\n"
    assert wall.libos.kernel.supervisor.listener.refused == 800, "the rest needs no asking"
