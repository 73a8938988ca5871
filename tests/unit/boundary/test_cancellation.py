"""Cancelled at any moment, an operation loses nothing, repeats nothing and ends once: in both boundaries."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import socket

import pytest

from occlum_async.abi.errors import Interrupted, SyscallError
from occlum_async.io.boundary import Boundary

from .host import Ear, listening, port_of, spawn

ROUNDS = 200


@pytest.fixture
def chance() -> random.Random:
    return random.Random(7)


async def moment(boundary: Boundary, chance: random.Random) -> None:
    """Let some or no time pass."""
    for _ in range(chance.randrange(3)):
        await asyncio.sleep(0)
        if chance.randrange(2):
            boundary.turn()


async def test_reads_that_are_interrupted(boundary: Boundary, chance: random.Random) -> None:
    reader, writer = os.pipe()
    sent = got = b""
    for number in range(ROUNDS):
        strand, reading = spawn(boundary, lambda: boundary.read(reader, 64))
        await moment(boundary, chance)
        piece = b"%d," % number
        if chance.randrange(3):
            os.write(writer, piece)
            sent += piece
        await moment(boundary, chance)
        strand.interrupt()
        outcome = await asyncio.wait_for(reading, 20)
        if isinstance(outcome, bytes):
            got += outcome
        else:
            assert isinstance(outcome, Interrupted)
    os.close(writer)
    while data := await boundary.read(reader, 64):
        got += data
    assert got == sent
    os.close(reader)


async def test_writes_that_are_interrupted(boundary: Boundary, chance: random.Random) -> None:
    """What was said to be written is in the pipe, in order; what was not is not."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    told = got = b""
    for number in range(ROUNDS):
        piece = bytes([number]) * chance.randrange(1, 20_000)
        strand, writing = spawn(boundary, lambda piece=piece: boundary.write(writer, piece))  # type: ignore[misc]
        await moment(boundary, chance)
        strand.interrupt()
        if chance.randrange(2):
            got += await drained(reader)
        outcome = await asyncio.wait_for(writing, 20)
        if isinstance(outcome, int):
            told += piece[:outcome]
        else:
            assert isinstance(outcome, Interrupted)
    got += await drained(reader)
    assert got == told
    os.close(writer)
    os.close(reader)


async def drained(reader: int) -> bytes:
    """All that is in a pipe now."""
    data = b""
    while True:
        try:
            data += os.read(reader, 1 << 16)
        except BlockingIOError:
            return data


async def test_receives_that_are_cancelled(boundary: Boundary, chance: random.Random) -> None:
    one, other = socket.socketpair()
    one.setblocking(boundary.name == "uring")
    sent = got = b""
    for number in range(ROUNDS):
        ear = Ear()  # which complains of a result after the last one
        pending = boundary.network.receive(one.fileno(), ear)
        await moment(boundary, chance)
        for _ in range(chance.randrange(3)):
            piece = b"%d," % number * chance.randrange(1, 500)
            other.sendall(piece)
            sent += piece
            await moment(boundary, chance)
        pending.cancel()
        await ear.ended()
        assert ear.error == errno.ECANCELED and pending.over
        got += ear.data
    ear = Ear()
    boundary.network.receive(one.fileno(), ear)
    other.close()
    await ear.ended()
    assert got + ear.data == sent
    one.close()


async def test_sends_that_are_cancelled(boundary: Boundary, chance: random.Random) -> None:
    """As many bytes arrive as the sender was told, although its peer hardly reads."""
    one, other = socket.socketpair()
    one.setblocking(boundary.name == "uring")
    other.setblocking(False)
    told = got = b""
    loop = asyncio.get_running_loop()
    for number in range(ROUNDS):
        piece = bytes([number]) * chance.randrange(1, 100_000)
        done: asyncio.Future[tuple[int, int]] = loop.create_future()
        pending = boundary.network.send(
            one.fileno(),
            [piece],
            lambda count, error, done=done: done.set_result((count, error)),  # type: ignore[misc]
        )
        await moment(boundary, chance)
        if chance.randrange(2):
            got += received(other)
        pending.cancel()
        if boundary.name == "uring" and not chance.randrange(4):
            pending.cancel()
        count, error = await asyncio.wait_for(done, 20)
        assert error in (0, errno.ECANCELED) and (count == 0 if error else count > 0)
        told += piece[:count]
    got += received(other)
    assert got == told
    one.close()
    other.close()


def received(sock: socket.socket) -> bytes:
    data = b""
    while True:
        try:
            data += sock.recv(1 << 20)
        except BlockingIOError:
            return data


async def test_accepts_that_are_cancelled(boundary: Boundary, chance: random.Random) -> None:
    """Each client is accepted by one of them, once."""
    network = boundary.network
    fd, port = listening(boundary, 128)
    taken: list[int] = []
    clients: list[socket.socket] = []
    for _ in range(40):
        over = asyncio.Event()

        def accepted(new: int, error: int, over: asyncio.Event = over) -> None:
            assert not over.is_set(), "a result after the last one"
            if error:
                assert error == errno.ECANCELED
                over.set()
            else:
                taken.append(new)

        pending = network.accept(fd, accepted)
        for _ in range(chance.randrange(3)):
            await moment(boundary, chance)
            clients.append(socket.create_connection(("127.0.0.1", port)))
        pending.cancel()
        await asyncio.wait_for(over.wait(), 20)
    last: list[int] = []
    pending = network.accept(fd, lambda new, error: last.append(new))
    async with asyncio.timeout(20):
        while len(taken) + len(last) < len(clients):
            await asyncio.sleep(0.001)
    ports = sorted(port_of(network.peer(new)) for new in taken + last)
    assert ports == sorted(client.getsockname()[1] for client in clients)
    pending.cancel()
    for client in clients:
        client.close()
    for new in taken + last:
        network.close(new)
    network.close(fd)


async def test_opens_that_are_cancelled_leak_nothing(boundary: Boundary, chance: random.Random) -> None:
    directory = boundary.open_start(b"/usr", os.O_RDONLY | os.O_DIRECTORY)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(ROUNDS):
        task = asyncio.ensure_future(boundary.open(directory, b"bin", os.O_RDONLY, resolve=0))
        await moment(boundary, chance)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, SyscallError):
            boundary.close(await task)
    assert len(os.listdir("/proc/self/fd")) == before
    assert boundary.descriptors == {directory}
    boundary.close(directory)
