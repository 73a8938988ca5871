"""Both boundaries do the same; the io_uring one in fewer exits, and without losing bytes or memory."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import gc
import logging
import os
import pty
import select
import socket
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from occlum_async.abi.errors import Interrupted, SyscallError
from occlum_async.errors import ConfigError, HostUnsupported
from occlum_async.io.boundary import Boundary, choose, open_boundary
from occlum_async.io.boundary import ring as ring_module
from occlum_async.io.boundary.base import MAX_TRANSFER
from occlum_async.io.boundary.calls import AT_FDCWD
from occlum_async.io.boundary.counters import EXIT_COST_MAX, clock_rate
from occlum_async.io.boundary.uring import LONG_READ, UringBoundary
from occlum_async.sched.strand import Scheduler

from ..conftest import opened
from .host import spawn


@pytest.fixture
async def ring(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[UringBoundary]:
    made = opened("uring")
    assert isinstance(made, UringBoundary)
    yield made
    await made.shutdown()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(fd)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"0123456789")
    yield fd
    os.close(fd)


async def settle(boundary: Boundary) -> None:
    """Let everything run that can: strands, flushes, completions."""
    for _ in range(5):
        await asyncio.sleep(0)
        boundary.turn()


async def test_files(boundary: Boundary, file: int) -> None:
    assert await boundary.read(file, 4, 3) == b"3456"
    assert await boundary.read(file, 100, 8) == b"89"
    assert await boundary.read(file, 100, 100) == b""
    assert await boundary.write(file, b"ab", 1) == 2
    assert await boundary.write(file, memoryview(bytearray(b"cd")), 20) == 2
    assert os.pread(file, 100, 0) == b"0ab3456789" + bytes(10) + b"cd"
    await boundary.fallocate(file, 0, 0, 4096)
    assert os.fstat(file).st_size == 4096
    await boundary.sync(file)
    await boundary.sync(file, data_only=True)


async def test_writing_back_early_is_a_hint(boundary: Boundary, file: int, pipe: tuple[int, int]) -> None:
    for fd in (file, pipe[1], -1):  # the last two can't, and nobody is told
        boundary.begin_writeback(fd, 0, 1 << 20)
    await settle(boundary)
    assert boundary.counters.operations["begin_writeback"] == (3 if boundary.name == "uring" else 0)
    assert await boundary.read(file, 100, 0) == b"0123456789"


async def test_streams(boundary: Boundary, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    assert await boundary.write(writer, b"hello") == 5
    assert await boundary.read(reader, 100) == b"hello"
    _, reading = spawn(boundary, lambda: boundary.read(reader, 100))
    await settle(boundary)
    assert not reading.done()
    os.write(writer, b"later")
    assert await reading == b"later"
    os.close(writer)
    assert await boundary.read(reader, 100) == b""


async def test_write_waits_for_room(boundary: Boundary, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    os.set_blocking(writer, True)
    _, writing = spawn(boundary, lambda: boundary.write(writer, b"x" * 100))
    await settle(boundary)
    assert not writing.done()
    os.read(reader, 65536)
    async with asyncio.timeout(20):
        assert await writing == 100
    assert fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK == 0


async def test_terminal(boundary: Boundary) -> None:
    master, slave = pty.openpty()
    _, reading = spawn(boundary, lambda: boundary.read(slave, 100))
    await settle(boundary)
    os.write(master, b"line\n")
    assert await reading == b"line\n"
    assert await boundary.write(slave, b"out") == 3
    os.close(master)
    os.close(slave)


async def test_poll(boundary: Boundary) -> None:
    one, other = socket.socketpair()
    assert await boundary.poll(one.fileno(), select.POLLOUT) & select.POLLOUT
    _, polling = spawn(boundary, lambda: boundary.poll(one.fileno(), select.POLLIN))
    await settle(boundary)
    assert not polling.done()
    other.close()
    assert (await polling) & (select.POLLIN | select.POLLHUP)
    one.close()


async def test_two_wait_for_one_stream(boundary: Boundary, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    readings = [spawn(boundary, lambda: boundary.read(reader, 1))[1] for _ in range(2)]
    await settle(boundary)
    os.write(writer, b"ab")
    assert sorted(await asyncio.gather(*readings)) == [b"a", b"b"]


async def test_errors_carry_the_hosts_number(boundary: Boundary, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    for call, number in [
        (lambda: boundary.write(writer, b"x"), errno.EPIPE),
        (lambda: boundary.read(99999, 1, 0), errno.EBADF),
        (lambda: boundary.read(writer, 1, 0), errno.ESPIPE),
        (lambda: boundary.open(writer, b"x", os.O_RDONLY), errno.ENOTDIR),
    ]:
        with pytest.raises(SyscallError) as caught:
            await call()
        assert caught.value.errno in (number, errno.EBADF)


async def test_one_transfer_is_bounded(boundary: Boundary, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "big", os.O_RDWR | os.O_CREAT)
    os.truncate(fd, 4 * MAX_TRANSFER)
    assert len(await boundary.read(fd, 1 << 40, 0)) == MAX_TRANSFER
    assert await boundary.write(fd, bytes(2 * MAX_TRANSFER), 0) == MAX_TRANSFER
    os.close(fd)


async def test_interrupted_read_loses_nothing(boundary: Boundary, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    strand, reading = spawn(boundary, lambda: boundary.read(reader, 100))
    await settle(boundary)
    strand.interrupt()
    assert isinstance(await reading, Interrupted)
    os.write(writer, b"still there")
    assert await boundary.read(reader, 100) == b"still there"


async def test_data_beats_the_interrupt(ring: UringBoundary, pipe: tuple[int, int]) -> None:
    """The completion is there when the signal comes: the read has happened and says so."""
    reader, writer = pipe
    strand, reading = spawn(ring, lambda: ring.read(reader, 100))
    await settle(ring)
    os.write(writer, b"taken")
    strand.interrupt()
    outcome = await reading
    if isinstance(outcome, Interrupted):
        assert await ring.read(reader, 100) == b"taken"
    else:
        assert outcome == b"taken"
    assert not ring._ring.pending


async def test_cancelled_task_leaves_the_data(boundary: Boundary, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    task = asyncio.create_task(boundary.read(reader, 100))
    await settle(boundary)
    os.write(writer, b"for the next")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await boundary.read(reader, 3) == b"for"
    assert await boundary.read(reader, 100) == b" the next"


async def test_destroyed_strand_keeps_its_memory(ring: UringBoundary, pipe: tuple[int, int]) -> None:
    reader, _ = pipe
    strand, _ = spawn(ring, lambda: ring.read(reader, 100))
    await settle(ring)
    assert ring._ring.pending
    strand.coroutine.close()
    del strand
    gc.collect()
    await settle(ring)
    assert not ring._ring.pending


async def test_cached_read_is_one_exit_and_no_turn(ring: UringBoundary, file: int) -> None:
    await ring.read(file, 4, 0)
    turns = []
    ring.loop.call_soon(turns.append, 1)
    before = ring.counters.snapshot()
    assert await ring.read(file, 4, 0) == b"0123"
    after = ring.counters.snapshot()
    assert after["exits"] - before["exits"] == 1
    assert after["bytes_in"] - before["bytes_in"] == 4
    assert not turns
    assert not select.select([ring._ring.event], [], [], 0)[0]


async def test_one_exit_for_a_batch(ring: UringBoundary, pipe: tuple[int, int]) -> None:
    pairs = [socket.socketpair() for _ in range(20)]
    before = ring.counters.exits
    polls = [spawn(ring, partial(ring.poll, one.fileno(), select.POLLIN))[1] for one, _ in pairs]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ring.counters.exits - before == 1
    for _, other in pairs:
        other.send(b"x")
    await asyncio.gather(*polls)
    assert ring.counters.exits - before < 20
    for one, other in pairs:
        one.close()
        other.close()


async def test_close_flushes_what_names_the_descriptor(ring: UringBoundary, file: int) -> None:
    copy = os.dup(file)
    _, syncing = spawn(ring, lambda: ring.sync(copy))
    ring.scheduler.run_ready()
    ring.close(copy)
    assert await syncing is None


async def test_more_operations_than_the_queue_holds(ring: UringBoundary) -> None:
    pairs = [socket.socketpair() for _ in range(ring.options.entries + 50)]
    polls = [spawn(ring, partial(ring.poll, one.fileno(), select.POLLIN))[1] for one, _ in pairs]
    await settle(ring)
    for _, other in pairs:
        other.send(b"x")
    async with asyncio.timeout(10):
        assert all(events == select.POLLIN for events in await asyncio.gather(*polls))
    for one, other in pairs:
        one.close()
        other.close()


async def test_shutdown_takes_back_what_is_under_way(pipe: tuple[int, int]) -> None:
    ring = opened("uring")
    assert isinstance(ring, UringBoundary)
    reader, _ = pipe
    _, reading = spawn(ring, lambda: ring.read(reader, 100))
    await settle(ring)
    await ring.shutdown()
    assert not ring._ring.pending
    error = await reading
    assert isinstance(error, SyscallError) and error.errno == errno.ECANCELED


async def test_impossible_answers_are_refused(
    ring: UringBoundary, file: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ring._ring, "start", lambda *_: (None, 5000))
    for call in (ring.read(file, 4, 0), ring.write(file, b"1234")):
        with pytest.raises(SyscallError, match="EIO"):
            await call
    assert ring.counters.refused == 2
    assert "cannot be true" in caplog.text
    ring._ring.complete(1 << 40, 7)
    assert ring.counters.refused == 3


async def test_impossible_directory_entries(boundary: Boundary) -> None:
    good = (1).to_bytes(8, "little") + (9).to_bytes(8, "little") + (24).to_bytes(2, "little") + b"\x08name\0"
    assert boundary._parse_entries(good)[0].name == b"name"
    for bad in (
        good.replace(b"name", b"a/me"),
        good.replace(b"name\0", b"names"),
        good.replace((24).to_bytes(2, "little"), (3).to_bytes(2, "little")),
        good.replace((24).to_bytes(2, "little"), (999).to_bytes(2, "little")),
    ):
        with pytest.raises(SyscallError, match="EIO"):
            boundary._parse_entries(bad)


async def test_auto_falls_back(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object) -> None:
        raise HostUnsupported("the host refuses io_uring (Operation not permitted)")

    monkeypatch.setattr(choose, "UringBoundary", refuse)
    scheduler = Scheduler(asyncio.get_running_loop())
    with caplog.at_level(logging.WARNING):
        fallback = open_boundary("auto", scheduler)
    assert fallback.name == "ocall"
    assert len(caplog.records) == 1
    with pytest.raises(HostUnsupported):
        open_boundary("uring", scheduler)
    with pytest.raises(ConfigError):
        open_boundary("carrier pigeon", scheduler)


@pytest.mark.parametrize("kind", ["uring", "ocall"])
async def test_exits_cost_what_was_asked_for(kind: str, tmp_path: Path) -> None:
    boundary = opened(kind, exit_cost=100_000)
    least = 90_000 / clock_rate()
    begin, before = time.perf_counter(), boundary.counters.exits
    with pytest.raises(SyscallError):
        await boundary.open(AT_FDCWD, bytes(tmp_path / "nothing"), os.O_RDONLY, resolve=0)
    exits = boundary.counters.exits - before
    assert exits >= 1
    assert time.perf_counter() - begin >= exits * least
    await boundary.shutdown()


def test_exit_cost_is_bounded() -> None:
    scheduler = Scheduler(asyncio.new_event_loop())
    for cost in (-1, EXIT_COST_MAX + 1):
        with pytest.raises(ConfigError, match="cycles"):
            open_boundary("ocall", scheduler, exit_cost=cost)
    scheduler.loop.close()


async def test_missing_module_is_a_clear_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ImportError("liburing.so.2: cannot open shared object file")

    monkeypatch.setattr(ring_module.importlib, "import_module", missing)
    with pytest.raises(HostUnsupported, match=r"liburing\.so\.2"):
        ring_module.load()


def test_uvloop(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> bytes:
        boundary = opened("uring")
        reader, writer = os.pipe()
        _, reading = spawn(boundary, lambda: boundary.read(reader, 10))
        await asyncio.sleep(0)
        boundary.loop.call_soon(os.write, writer, b"uv")
        data: bytes = await asyncio.wait_for(reading, 20)
        await boundary.shutdown()
        os.close(reader)
        os.close(writer)
        return data

    assert uvloop.run(main()) == b"uv"


async def test_who_waits_alone_for_the_disk_is_known(
    ring: UringBoundary, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow: list[ring_module.Operation] = []

    def start(self: ring_module.Ring, *_: object) -> tuple[ring_module.Operation, int]:
        slow.append(ring_module.Operation(None))
        return slow[-1], 0

    def done(operation: ring_module.Operation) -> None:
        operation.done = True
        operation.completed(0, 0)

    monkeypatch.setattr(ring_module.Ring, "start", start)
    assert not ring.brief()
    first = asyncio.create_task(ring.read(file, 10, 0))
    await asyncio.sleep(0)
    assert ring.brief()
    second = asyncio.create_task(ring.read(file, 10, 0))
    await asyncio.sleep(0)
    assert not ring.brief(), "two would take the processors from each other"
    for operation, task in zip(slow, (first, second), strict=True):
        done(operation)
        assert await task == b""
    assert not ring.brief()


async def test_a_long_read_is_left_to_a_worker(ring: UringBoundary, file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("on one processor there is nobody to leave it to")
    content = os.urandom(LONG_READ)
    os.pwrite(file, content, 0)
    waited: list[ring_module.Operation] = []
    finish = ring_module.Ring.finish

    async def finishing(self: ring_module.Ring, operation: ring_module.Operation, interruptible: bool) -> int:
        waited.append(operation)
        assert not ring.brief()
        return await finish(self, operation, interruptible)

    monkeypatch.setattr(ring_module.Ring, "finish", finishing)
    assert await ring.read(file, LONG_READ - 1, 0) == content[:-1]
    assert not waited, "what is in the host's memory is read at once"
    assert await ring.read(file, LONG_READ, 0) == content
    assert len(waited) == 1
