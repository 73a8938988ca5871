"""The host's sockets through both boundaries: nothing is lost, nothing comes twice, whatever is cancelled."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import struct

import pytest

from occlum_async.io.boundary import Boundary
from occlum_async.io.boundary.network import Datagram, reset_on_close
from occlum_async.io.boundary.options import RingOptions

from ..conftest import opened
from .host import Ear, address, listening, port_of


def listener() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


async def connected(boundary: Boundary) -> tuple[int, socket.socket]:
    """A host's descriptor, made through the boundary, and the other end."""
    network = boundary.network
    with listener() as other:
        fd = network.socket(socket.AF_INET, socket.SOCK_STREAM)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        network.connect(fd, address(other.getsockname()[1]), done.set_result)
        assert await asyncio.wait_for(done, 10) == 0
        peer, name = other.accept()
        assert port_of(network.name(fd)) == name[1]
        assert port_of(network.peer(fd)) == other.getsockname()[1]
        return fd, peer


async def test_connect_refused(boundary: Boundary) -> None:
    with listener() as gone:
        port = gone.getsockname()[1]
    network = boundary.network
    fd = network.socket(socket.AF_INET, socket.SOCK_STREAM)
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    network.connect(fd, address(port), done.set_result)
    assert await asyncio.wait_for(done, 10) == errno.ECONNREFUSED
    network.close(fd)


async def test_connect_takes_no_longer_than_allowed(boundary: Boundary) -> None:
    """A listener whose queue is full answers nobody."""
    network = boundary.network
    loop = asyncio.get_running_loop()
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            for wait, cancelled in ((0.05, errno.ETIMEDOUT), (60.0, errno.ECANCELED)):
                fd = network.socket(socket.AF_INET, socket.SOCK_STREAM)
                done: asyncio.Future[int] = loop.create_future()
                pending = network.connect(fd, address(port), done.set_result, wait)
                if cancelled == errno.ECANCELED:
                    await asyncio.sleep(0)
                    pending.cancel()
                assert await asyncio.wait_for(done, 10) == cancelled
                network.close(fd)
        one = network.socket(socket.AF_INET, socket.SOCK_STREAM)
        full.accept()[0].close()
        done = loop.create_future()
        network.connect(one, address(port), done.set_result, 60.0)
        assert await asyncio.wait_for(done, 10) == 0
        network.close(one)


async def test_stream_is_whole_in_both_directions(boundary: Boundary) -> None:
    fd, peer = await connected(boundary)
    network = boundary.network
    blob = os.urandom(3 << 20)
    ear = Ear()
    network.receive(fd, ear)
    loop = asyncio.get_running_loop()

    def answer() -> bytes:
        peer.sendall(blob)
        digest = hashlib.sha256()
        left = len(blob)
        while left:
            piece = peer.recv(65536)
            digest.update(piece)
            left -= len(piece)
        peer.shutdown(socket.SHUT_WR)
        return digest.digest()

    answering = loop.run_in_executor(None, answer)
    done = 0
    while done < len(blob):
        pieces = [memoryview(blob)[done + at : done + at + 65536] for at in range(0, 1 << 20, 65536)]
        pieces = [piece for piece in pieces if piece]
        result: asyncio.Future[tuple[int, int]] = loop.create_future()
        network.send(fd, pieces, lambda count, error, result=result: result.set_result((count, error)))  # type: ignore[misc]
        count, error = await asyncio.wait_for(result, 10)
        assert error == 0
        done += count
    assert await answering == hashlib.sha256(blob).digest()
    await ear.ended()
    assert (ear.error, hashlib.sha256(ear.data).digest()) == (0, hashlib.sha256(blob).digest())
    assert boundary.counters.bytes_in == boundary.counters.bytes_out == len(blob)
    network.close(fd)
    peer.close()


async def test_cancelled_receive_keeps_what_came(boundary: Boundary) -> None:
    fd, peer = await connected(boundary)
    network = boundary.network
    sent = b""
    got = b""
    for round in range(20):
        ear = Ear()
        pending = network.receive(fd, ear)
        piece = bytes([round]) * (round * 100 + 1)
        if round % 3:
            await asyncio.sleep(0)
        peer.sendall(piece)
        sent += piece
        if round % 2:
            await asyncio.sleep(0)
        pending.cancel()
        pending.cancel()
        await ear.ended()
        assert ear.error == errno.ECANCELED
        assert pending.over
        got += ear.data
    ear = Ear()
    network.receive(fd, ear)
    peer.close()
    await ear.ended()
    assert got + ear.data == sent
    network.close(fd)


async def test_accept_many(boundary: Boundary) -> None:
    network = boundary.network
    fd, port = listening(boundary, 100)
    taken: list[int] = []
    errors: list[int] = []
    changed = asyncio.Event()

    def accepted(new: int, error: int) -> None:
        (errors if error else taken).append(error or new)
        changed.set()

    pending = network.accept(fd, accepted)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    while len(taken) < 50:
        changed.clear()
        await asyncio.wait_for(changed.wait(), 10)
    assert {port_of(network.peer(new)) for new in taken} == {client.getsockname()[1] for client in clients}
    pending.cancel()
    while not errors:
        changed.clear()
        await asyncio.wait_for(changed.wait(), 10)
    assert errors == [errno.ECANCELED]
    for client in clients:
        client.close()
    for new in [*taken, fd]:
        network.close(new)


async def test_datagrams(boundary: Boundary) -> None:
    network = boundary.network
    fd = network.socket(socket.AF_INET, socket.SOCK_DGRAM)
    network.bind(fd, address(0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        arrived: asyncio.Queue[tuple[Datagram | None, int]] = asyncio.Queue()
        pending = network.receive_datagrams(fd, lambda datagram, error: arrived.put_nowait((datagram, error)))
        for data in (b"one", b"", bytes(65507)):
            other.sendto(data, ("127.0.0.1", port_of(network.name(fd))))
            datagram, error = await asyncio.wait_for(arrived.get(), 10)
            assert datagram is not None
            assert (datagram.data, port_of(datagram.sender), error) == (data, other.getsockname()[1], 0)
        assert network.send_datagram(fd, b"back", address(other.getsockname()[1])) == 4
        assert other.recv(100) == b"back"
        pending.cancel()
        assert await asyncio.wait_for(arrived.get(), 10) == (None, errno.ECANCELED)
    network.close(fd)


async def test_urgent_byte_and_options(boundary: Boundary) -> None:
    fd, peer = await connected(boundary)
    network = boundary.network
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    done: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
    network.send(fd, [b"!"], lambda count, error: done.set_result((count, error)), int(socket.MSG_OOB))
    assert await asyncio.wait_for(done, 10) == (1, 0)
    assert peer.recv(1) == b"!"
    network.set_option(fd, socket.IPPROTO_TCP, socket.TCP_NODELAY, struct.pack("<i", 1))
    assert network.get_option(fd, socket.IPPROTO_TCP, socket.TCP_NODELAY, 4) == struct.pack("<i", 1)
    reset_on_close(network, fd)
    network.close(fd)
    await asyncio.sleep(0)
    boundary.turn()
    with pytest.raises(ConnectionResetError):
        peer.recv(1)
    peer.close()


async def test_a_turn_costs_one_exit(boundary: Boundary) -> None:
    """Forty answers on forty connections leave the ring together; plain calls leave one by one."""
    network = boundary.network
    pairs = [socket.socketpair() for _ in range(40)]
    for one, _ in pairs:
        one.setblocking(boundary.name == "uring")
    before = boundary.counters.exits
    done: list[int] = []
    for one, _ in pairs:
        network.send(one.fileno(), [b"answer"], lambda count, error: done.append(count))
    while len(done) < 40:
        await asyncio.sleep(0)
    assert boundary.counters.exits - before <= (2 if boundary.name == "uring" else 40)
    assert all(other.recv(10) == b"answer" for _, other in pairs)
    for pair in pairs:
        for end in pair:
            end.close()


@pytest.mark.parametrize(
    "options",
    [
        RingOptions(buffers=2), RingOptions(entries=4, completions=8), RingOptions(rings=3),
        RingOptions(rings=2, entries=2, completions=2, buffers=1), RingOptions(poll=10),
        RingOptions(poll=10, entries=2, completions=2),
    ],
    ids=["buffers", "completions", "three", "tiny", "polled", "tiny-polled"],
)  # fmt: skip
async def test_full_rings_lose_nothing(options: RingOptions) -> None:
    """With too few buffers, or a completion queue that overflows, or several rings, everything arrives all the same."""
    boundary = opened("uring", ring=options)
    pairs = [socket.socketpair() for _ in range(40)]
    blobs = [os.urandom(150_000) for _ in pairs]
    ears = [Ear() for _ in pairs]
    for (one, _), ear in zip(pairs, ears, strict=True):
        boundary.network.receive(one.fileno(), ear)
    boundary.turn()

    def send() -> None:
        for at in range(0, 150_000, 10_000):
            for (_, other), blob in zip(pairs, blobs, strict=True):
                other.sendall(blob[at : at + 10_000])
        for _, other in pairs:
            other.close()

    await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, send), 20)
    for ear in ears:
        await ear.ended()
    assert [ear.data for ear in ears] == blobs
    assert boundary.counters.refused == 0
    await boundary.shutdown()
    for one, _ in pairs:
        one.close()


@pytest.mark.parametrize(("buffers", "away"), [(1, 0), (2, 1), (8, 6)])
async def test_long_data_is_not_copied_while_buffers_are_left(buffers: int, away: int) -> None:
    """Who holds on to it holds on to a buffer, but not to the last ones; the ring may end before."""
    boundary = opened("uring", ring=RingOptions(buffers=buffers))
    fd, peer = await connected(boundary)
    peer.settimeout(10)
    sent = os.urandom(2 << 20)
    held: list[bytes | memoryview] = []

    async def arrives(data: bytes) -> None:
        sending = asyncio.get_running_loop().run_in_executor(None, peer.sendall, data)
        while sum(map(len, held)) < len(data):
            await asyncio.sleep(0.001)
        await sending
        assert b"".join(held) == data

    pending = boundary.network.receive(fd, lambda data, error: held.append(data))
    await arrives(sent)
    views = [data for data in held if isinstance(data, memoryview)]
    assert len(views) == away
    assert boundary.counters.copies == len(sent) - sum(map(len, views))
    kept = views[:1]
    expected = [bytes(view) for view in kept]
    views.clear()
    held.clear()
    await arrives(sent)
    assert sum(isinstance(data, memoryview) for data in held) == away - len(kept)
    pending.cancel()
    await boundary.shutdown()
    assert [bytes(view) for view in kept] == expected
    peer.close()


async def test_what_may_be_early_waits_for_a_second_moment(boundary: Boundary) -> None:
    network = boundary.network
    called: list[str] = []
    network.defer(lambda: called.append("early"), early=True)
    network.defer(lambda: called.append("late"))
    network.run_ripe()
    assert called == [], "its program may still add to it"
    network.defer(lambda: called.append("later"), early=True)
    network.run_ripe()
    assert called == ["early"]
    network.run_ripe()
    assert called == ["early", "later"]
    network.run_ripe()
    assert network.run_deferred() and called == ["early", "later", "late"]
    assert not network.run_deferred()
