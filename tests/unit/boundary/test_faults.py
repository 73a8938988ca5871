"""A host that lies and fails: no answer that can't be true is believed, and none ends the kernel."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.errors import HostUnsupported
from occlum_async.io.boundary import Boundary, ocall
from occlum_async.sched.strand import Scheduler
from tests.faults import Liar, faulty_boundary

from .host import address, listening, spawn

NO_ERRNO = (-134, -512, -4096, -(1 << 31))
TOO_MANY = (11, 1 << 30, (1 << 31) - 1)


def opened(kind: str, liar: Liar) -> Boundary:
    try:
        return faulty_boundary(kind, liar)(Scheduler(asyncio.get_running_loop()))
    except HostUnsupported as error:
        pytest.skip(str(error))


async def end(boundary: Boundary, liar: Liar) -> None:
    """Shut down with an honest host, and close what the lies have left open."""
    liar.rate, liar.scripted = 0.0, []
    await boundary.shutdown()
    for fd in list(boundary.descriptors):
        boundary.close(fd)


@pytest.fixture
def liar() -> Liar:
    return Liar()


@pytest.fixture(params=["uring", "ocall"])
async def boundary(request: pytest.FixtureRequest, liar: Liar) -> AsyncIterator[Boundary]:
    made = opened(request.param, liar)
    yield made
    await end(made, liar)


@pytest.fixture
async def ring(liar: Liar) -> AsyncIterator[Boundary]:
    made = opened("uring", liar)
    yield made
    await end(made, liar)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"0123456789")
    return tmp_path


async def believed(boundary: Boundary, liar: Liar, lie: object, call: Awaitable[Any]) -> bool:
    """Whether a lie about ``call`` is taken for the truth: else it is EIO, counted, and told of in the log."""
    before = boundary.counters.refused
    liar.scripted = [lie]
    try:
        await asyncio.wait_for(asyncio.ensure_future(call), 20)
    except SyscallError as error:
        assert error.errno == errno.EIO
        return boundary.counters.refused == before
    return True


@pytest.mark.parametrize("lie", TOO_MANY + NO_ERRNO)
async def test_reads(ring: Boundary, liar: Liar, folder: Path, lie: int) -> None:
    fd = ring.open_start(os.fsencode(folder / "file"), os.O_RDONLY)
    assert not await believed(ring, liar, lie, ring.read(fd, 10, 0))
    assert await ring.read(fd, 10, 0) == b"0123456789"
    ring.close(fd)


@pytest.mark.parametrize("lie", (0, *TOO_MANY, *NO_ERRNO))
async def test_writes(ring: Boundary, liar: Liar, folder: Path, lie: int) -> None:
    fd = ring.open_start(os.fsencode(folder / "file"), os.O_RDWR)
    assert not await believed(ring, liar, lie, ring.write(fd, b"abc", 0))
    ring.close(fd)


@pytest.mark.parametrize("lie", (0, 1 << 20, select.POLLOUT, *NO_ERRNO))
async def test_polls(ring: Boundary, liar: Liar, lie: int) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x")
    assert not await believed(ring, liar, lie, ring.poll(reader, select.POLLIN))
    assert await ring.poll(reader, select.POLLIN) == select.POLLIN
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_file_is_never_waited_for(loop: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that says that a regular file is not ready: no loop can wait until it is."""
    loops = pytest.importorskip(loop)

    async def main() -> None:
        boundary = opened("ocall", Liar())
        fd = boundary.open_start(os.fsencode(folder / "file"), os.O_RDWR)
        with monkeypatch.context() as patch:
            patch.setattr(ocall, "_poll_now", lambda fd, events: 0)
            _, lied = spawn(boundary, lambda: boundary.write(fd, b"abc"))
            assert (await asyncio.wait_for(lied, 20)).errno == errno.EIO
        assert boundary.counters.refused == 1
        _, written = spawn(boundary, lambda: boundary.write(fd, b"abc"))
        assert await asyncio.wait_for(written, 20) == 3
        boundary.close(fd)
        await boundary.shutdown()

    with asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("lie", (1, *TOO_MANY, *NO_ERRNO))
async def test_what_gives_nothing(ring: Boundary, liar: Liar, folder: Path, lie: int) -> None:
    fd = ring.open_start(os.fsencode(folder / "file"), os.O_RDWR)
    assert not await believed(ring, liar, lie, ring.sync(fd))
    assert not await believed(ring, liar, lie, ring.fallocate(fd, 0, 0, 4096))
    await ring.sync(fd)
    ring.close(fd)


async def test_descriptors(boundary: Boundary, liar: Liar, folder: Path) -> None:
    """Neither a standard stream nor one that is open already is a new descriptor."""
    directory = boundary.open_start(os.fsencode(folder), os.O_RDONLY | os.O_DIRECTORY)
    for lie in (0, 1, 2, directory, -5000):
        assert not await believed(boundary, liar, lie, boundary.open(directory, b"file", os.O_RDONLY))
    fd = await boundary.open(directory, b"file", os.O_RDONLY)
    assert fd > 2 and fd in boundary.descriptors
    boundary.close(fd)
    assert boundary.descriptors == {directory}
    boundary.close(directory)


async def test_plain_calls(boundary: Boundary, liar: Liar, folder: Path) -> None:
    """What every boundary asks by plain calls."""
    fd = boundary.open_start(os.fsencode(folder / "file"), os.O_RDWR)
    network = boundary.network
    sock = network.socket(socket.AF_INET, socket.SOCK_DGRAM)
    calls: list[tuple[Callable[[], object], object]] = [
        (lambda: network.socket(socket.AF_INET, socket.SOCK_STREAM), sock),
        (lambda: network.socket(socket.AF_INET, socket.SOCK_STREAM), 0),
        (lambda: network.name(sock), b""),
        (lambda: network.name(sock), bytes(16)),
        (lambda: network.name(sock), socket.AF_INET6.to_bytes(2, "little") + bytes(14)),
        (lambda: network.send_datagram(sock, b"12345", address(9)), 6),
        (lambda: network.send_datagram(sock, b"12345", address(9)), -1),
        (lambda: network.get_option(sock, socket.SOL_SOCKET, socket.SO_TYPE, 4), (bytes(4), 5)),
        (lambda: boundary.getdents(boundary.open_start(os.fsencode(folder), os.O_RDONLY), 0), 32769),
        (lambda: boundary.readlink(-100, os.fsencode(folder / "link")), b""),
    ]
    os.symlink("file", folder / "link")
    for call, lie in calls:
        before = boundary.counters.refused
        with pytest.raises(SyscallError) as caught:
            # Where a call needs several of the host's, the last one lies.
            _scripted_for_last(boundary, liar, call, lie)
        assert caught.value.errno == errno.EIO
        assert boundary.counters.refused == before + 1
    boundary.close(sock)
    boundary.close(fd)


def _scripted_for_last(boundary: Boundary, liar: Liar, call: Callable[[], object], lie: object) -> None:
    """Call once honestly to count the host's answers, and once with the last of them a lie."""
    honest: list[str] = []
    liar.lies, keep = lambda operation: bool(honest.append(operation)), liar.lies  # type: ignore[method-assign]
    try:
        made = call()
        if isinstance(made, int) and made in boundary.descriptors:
            boundary.close(made)
        left = [len(honest)]

        def last(operation: str) -> bool:
            left[0] -= 1
            return not left[0]

        liar.lies = last  # type: ignore[method-assign]
        liar.scripted = [lie]
        call()
    finally:
        liar.lies = keep  # type: ignore[method-assign]


class Told:
    """Collects what an operation of a socket tells, until its end."""

    def __init__(self, ends: Callable[[Any], bool] = lambda results: True) -> None:
        self.results: list[Any] = []
        self.ended = asyncio.Event()
        self._ends = ends

    def __call__(self, *results: Any) -> None:
        assert not self.ended.is_set(), "told after the end"
        self.results.append(results if len(results) > 1 else results[0])
        if self._ends(results):
            self.ended.set()

    async def last(self) -> Any:
        await asyncio.wait_for(self.ended.wait(), 20)
        return self.results[-1]


def _failed(results: Any) -> bool:
    return bool(results[-1])


@pytest.mark.parametrize("lie", (1, *TOO_MANY, *NO_ERRNO))
async def test_connects(ring: Boundary, liar: Liar, lie: int) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        fd = ring.network.socket(socket.AF_INET, socket.SOCK_STREAM)
        told = Told()
        ring.network.connect(fd, address(listener.getsockname()[1]), told)
        liar.scripted = [lie]
        assert await told.last() == errno.EIO
        assert ring.counters.refused == 1
        ring.network.close(fd)


@pytest.mark.parametrize("lie", (0, *TOO_MANY, *NO_ERRNO))
@pytest.mark.parametrize("pieces", ([b"0123456789"], [b"01234", b"56789"]))
async def test_sends(ring: Boundary, liar: Liar, lie: int, pieces: list[bytes]) -> None:
    one, other = socket.socketpair()
    told = Told()
    ring.network.send(one.fileno(), pieces, told)
    liar.scripted = [lie]
    assert await told.last() == (0, errno.EIO)
    assert (ring.counters.refused, ring.counters.bytes_out) == (1, 0)
    one.close()
    other.close()


@pytest.mark.parametrize("lie", NO_ERRNO)
async def test_receives(ring: Boundary, liar: Liar, lie: int) -> None:
    one, other = socket.socketpair()
    told = Told(lambda results: not results[0])
    liar.scripted = [lie]
    ring.network.receive(one.fileno(), told)
    other.close()
    assert await told.last() == (b"", errno.EIO)
    one.close()


@pytest.mark.parametrize("size", ((66 << 10) + 1, (1 << 31) - 1))
async def test_bytes_that_are_lost_end_a_stream(ring: Boundary, liar: Liar, size: int) -> None:
    """What follows a hole is never taken for what belongs there."""
    one, other = socket.socketpair()
    told = Told(lambda results: not results[0])
    ring.network.receive(one.fileno(), told)
    liar.scripted = [size]
    other.send(b"first")
    while liar.scripted:
        await asyncio.sleep(0)
        ring.turn()
    with suppress(OSError):
        other.send(b"second")
    assert await told.last() == (b"", errno.EIO)
    assert len(told.results) == 1
    one.close()
    other.close()


async def test_accepts_what_is_a_descriptor(boundary: Boundary, liar: Liar) -> None:
    """A lie costs that connection; the next one is accepted."""
    network = boundary.network
    fd, port = listening(boundary, 10)
    told = Told(_failed)
    pending = network.accept(fd, told)
    for lie in (0, 2, fd):
        liar.scripted = [lie]
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(20)
            assert await asyncio.get_running_loop().run_in_executor(None, _is_dropped, client)
    assert boundary.counters.refused == 3 and not told.results
    with socket.create_connection(("127.0.0.1", port)):
        while not told.results:
            await asyncio.sleep(0.001)
    ((new, error),) = told.results
    assert new > 2 and not error
    network.close(new)
    pending.cancel()
    assert await told.last() == (-1, errno.ECANCELED)
    network.close(fd)


def _is_dropped(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


async def test_unknown_and_repeated_completions(ring: Boundary, liar: Liar, caplog: pytest.LogCaptureFixture) -> None:
    one, other = socket.socketpair()
    told = Told()
    ring.network.send(one.fileno(), [b"x"], told)
    number = max(ring._ring.pending)  # type: ignore[attr-defined]
    assert await told.last() == (1, 0)
    for _ in range(2):
        ring._ring.complete(number, 1, 0)  # type: ignore[attr-defined]
    assert ring.counters.refused == 2
    # One result is all that a send without its own notification has, whatever the flags say.
    again = Told()
    ring.network.send(one.fileno(), [b"y"], again)
    number = max(ring._ring.pending)  # type: ignore[attr-defined]
    ring._ring.complete(number, 1, ring._lib.IORING_CQE_F_MORE)  # type: ignore[attr-defined]
    assert again.results == [(1, 0)]
    assert ring.counters.refused == 3
    assert "cannot be true" in caplog.text
    one.close()
    other.close()


async def test_a_close_that_fails_in_an_impossible_way(ring: Boundary, caplog: pytest.LogCaptureFixture) -> None:
    """Neither it nor an error in whoever takes a result holds up the results that came along."""
    network = ring.network
    pairs = [socket.socketpair() for _ in range(3)]

    def broken(count: int, error: int) -> None:
        raise OverflowError("of the test's own")

    told = Told()
    network.close(pairs[0][0].detach())
    number = max(ring._ring.pending)  # type: ignore[attr-defined]
    network.send(pairs[1][0].fileno(), [b"x"], broken)
    network.send(pairs[2][0].fileno(), [b"y"], told)
    ring._ring.complete(number, -(1 << 31), 0)  # type: ignore[attr-defined]
    assert await told.last() == (1, 0)
    assert "close" in caplog.text and "of the test's own" in caplog.text
    for pair in pairs:
        for end in pair:
            end.close()


async def test_a_ring_that_takes_nothing_loses_nothing(ring: Boundary, liar: Liar) -> None:
    """While the queue is full and the host is busy, operations wait in order, and a close with them."""
    pairs = [socket.socketpair() for _ in range(30)]
    copies = [os.dup(one.fileno()) for one, _ in pairs]
    liar.rate = 1.0
    order: list[int] = []
    for number, (one, _) in enumerate(pairs):
        ring.network.send(one.fileno(), [b"x%d" % number], lambda count, error, number=number: order.append(number))  # type: ignore[misc]
    for copy in copies:
        ring.close(copy)
    for _ in range(5):
        await asyncio.sleep(0.001)
    assert not order
    assert all(os.fstat(copy) for copy in copies)
    liar.rate = 0.0
    async with asyncio.timeout(20):
        while len(order) < len(pairs):
            await asyncio.sleep(0.001)
    assert order == sorted(order)
    for number, (_, other) in enumerate(pairs):
        assert other.recv(10) == b"x%d" % number
    for copy in copies:
        with pytest.raises(OSError):
            os.fstat(copy)
    for pair in pairs:
        for end in pair:
            end.close()


async def test_reads_wait_for_room(ring: Boundary, liar: Liar, folder: Path) -> None:
    fd = ring.open_start(os.fsencode(folder / "file"), os.O_RDONLY)
    liar.rate = 1.0
    readings = [asyncio.ensure_future(ring.read(fd, 10, 0)) for _ in range(5)]
    await asyncio.wait(readings, timeout=0.01)
    liar.rate = 0.0
    assert await asyncio.wait_for(asyncio.gather(*readings), 20) == [b"0123456789"] * 5
    ring.close(fd)


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_breaks_whatever_the_host_says(boundary: Boundary, liar: Liar, folder: Path, seed: int) -> None:
    """Operations of all kinds under lies at random: each ends or waits, and later everything works."""
    liar.random.seed(seed)
    loop = asyncio.get_running_loop()
    problems: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    directory = boundary.open_start(os.fsencode(folder), os.O_RDONLY | os.O_DIRECTORY)
    fd = boundary.open_start(os.fsencode(folder / "file"), os.O_RDWR)
    liar.rate = 0.3
    tasks = [
        asyncio.ensure_future(call)
        for _ in range(20)
        for call in (
            boundary.read(fd, 100, 0), boundary.write(fd, b"abc", 0), boundary.sync(fd),
            boundary.open(directory, b"file", os.O_RDONLY), boundary.fallocate(fd, 0, 0, 100),
        )
    ]  # fmt: skip
    _, waiting = await asyncio.wait(tasks, timeout=0.5)
    pairs = [socket.socketpair() for _ in range(10)]
    for one, other in pairs:
        one.setblocking(boundary.name == "uring")
        with suppress(SyscallError):
            boundary.network.receive(one.fileno(), lambda data, error: None)
            boundary.network.send(one.fileno(), [b"abc", b"def"], lambda count, error: None)
        other.send(b"0123456789")
    for _ in range(20):
        await asyncio.sleep(0.001)
        boundary.turn()
    liar.rate = 0.0
    for task in waiting:
        task.cancel()
    for task in tasks:
        if task not in waiting and (error := task.exception()) is not None:
            assert isinstance(error, SyscallError) and error.errno in errno.errorcode
    assert (await asyncio.wait_for(boundary.read(fd, 3, 0), 20)) in (b"012", b"abc")
    assert not problems
    for pair in pairs:
        for end in pair:
            end.close()
