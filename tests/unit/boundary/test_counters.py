"""What leaving costs is counted exactly, and the same each time."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from pathlib import Path

import pytest

from occlum_async.io.boundary import Boundary

from ..conftest import opened

# open_start, reopen, 3 reads, 1 write, sync, poll, 2 closes; the ring's sync and poll leave at the end of a turn.
EXPECTED = {
    "exits": 10, "bytes_in": 14, "bytes_out": 5, "refused": 0,
    "operation.open": 2, "operation.read": 3, "operation.write": 1, "operation.sync": 1, "operation.poll": 1,
    "operation.close": 2,
}  # fmt: skip
BY_KIND = {"uring": {"submissions": 6, "copies": 14}, "ocall": {"submissions": 0, "copies": 0}}


async def _work(boundary: Boundary, folder: Path) -> tuple[dict[str, int], int]:
    """The same little work each time; what it has cost, and how many exits of that fetched what a worker had done.

    A thread of the host writes (on some file systems) and syncs: when it is faster than the loop, which then need not
    sleep, one exit more fetches the completion.
    """
    path = folder / "file"
    path.write_bytes(b"0123456789")
    counters = boundary.counters
    fd = boundary.open_start(os.fsencode(path), os.O_RDWR)
    again = boundary.reopen(fd, os.O_RDONLY)
    assert await boundary.read(fd, 4, 0) == b"0123"
    assert await boundary.read(again, 100, 0) == b"0123456789"
    assert await boundary.read(again, 100, 10) == b""
    before = counters.exits
    assert await boundary.write(fd, b"abcde", 0) == 5
    await boundary.sync(fd)
    fetches = counters.exits - before - 2
    one, other = socket.socketpair()
    assert await boundary.poll(one.fileno(), select.POLLOUT) == select.POLLOUT
    one.close()
    other.close()
    boundary.close(again)
    boundary.close(fd)
    figures = counters.snapshot()
    await boundary.shutdown()
    return figures, fetches


@pytest.mark.parametrize("kind", ["uring", "ocall"])
async def test_figures(kind: str, tmp_path: Path) -> None:
    for _ in range(3):
        figures, fetches = await _work(opened(kind), tmp_path)
        assert 0 <= fetches <= (2 if kind == "uring" else 0)
        figures["exits"] -= fetches
        assert figures == EXPECTED | BY_KIND[kind]


async def test_what_is_complete_is_taken_without_leaving() -> None:
    """One exit hands over all that is ready; completions that are there cost none."""
    boundary = opened("uring")
    network = boundary.network
    pairs = [socket.socketpair() for _ in range(30)]
    ears: list[bytes] = []
    for one, _ in pairs:
        network.receive(one.fileno(), lambda data, error: ears.append(data))
    before = boundary.counters.exits
    boundary.turn()
    assert boundary.counters.exits - before == 1
    for _, other in pairs:
        other.send(b"x")
    before = boundary.counters.exits
    async with asyncio.timeout(20):
        while len(ears) < len(pairs):
            await asyncio.sleep(0)
    # The host may have held completions back until it was entered once: see uring_entered.
    assert boundary.counters.exits - before <= 1
    assert boundary.counters.copies == boundary.counters.bytes_in == len(pairs)
    await boundary.shutdown()
    for pair in pairs:
        for end in pair:
            end.close()
