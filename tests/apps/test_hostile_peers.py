"""Peers outside that reset, stall, half-close, send byte by byte, or come in thousands, against a server inside."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import resource
import socket
import struct
import threading
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from occlum_async.io.sockets.wire import Wire
from occlum_async.libos import Bind, LibOS
from tests.harness import ENVIRONMENT

from .hostile.server import blob

TIME = 60.0
PORT = 7000
HERE = Path(__file__).parent
T = TypeVar("T")
pytestmark = pytest.mark.timeout(180)


class Inside:
    """The server inside, and its port on the host."""

    def __init__(self, libos: LibOS, port: int) -> None:
        self.libos = libos
        self.port = port

    def connect(self, first: bytes = b"") -> socket.socket:
        """A peer that has said what it wants."""
        peer = socket.create_connection(("127.0.0.1", self.port), TIME)
        if first:
            peer.sendall(first)
        return peer

    def ask(self, first: bytes, data: bytes = b"") -> bytes:
        """Say something, then the end; what is answered."""
        with self.connect(first) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            return drain(peer)

    def healthy(self) -> bool:
        """Whether a well-behaved peer gets what it wants."""
        data = os.urandom(200_000)
        return self.ask(b"hash\n", data) == summary(data) and self.ask(b"echo\n", data) == data

    async def settle(self, condition: Callable[[], bool]) -> None:
        deadline = asyncio.get_running_loop().time() + TIME
        while not await in_thread(condition):
            assert asyncio.get_running_loop().time() < deadline, "it did not happen"
            await asyncio.sleep(0.01)

    def alone(self) -> bool:
        """Whether nothing is left of other connections, in the program or in the kernel."""
        wires = [one for one in self.libos.kernel.network.sockets.values() if isinstance(one, Wire)]
        return self.ask(b"open\n") == b"0" and len(wires) <= 1


async def in_thread(function: Callable[[], T]) -> T:
    return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, function), TIME)


def drain(peer: socket.socket, piece: int = 1 << 16) -> bytes:
    """Everything until the end."""
    got = bytearray()
    while data := peer.recv(piece):
        got += data
    return bytes(got)


def summary(data: bytes) -> bytes:
    """What the server says of bytes that it has hashed."""
    return b"%d %s" % (len(data), hashlib.sha256(data).hexdigest().encode())


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("<ii", 1, 0))
    peer.close()


@contextlib.asynccontextmanager
async def serving(boundary: str) -> AsyncIterator[Inside]:
    async with LibOS(
        env=ENVIRONMENT, boundary=boundary, publish=[f"127.0.0.1:0:{PORT}"], binds=[Bind(str(HERE), "/tests", True)]
    ) as libos:
        program = ("/usr/bin/python3", "/tests/hostile/server.py", str(PORT))
        process = await libos.spawn(*program, stdin=DEVNULL, stdout=PIPE)
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), TIME) == b"ready\n"
        inside = Inside(libos, libos.published[0][0])
        yield inside
        assert await in_thread(inside.healthy)
        assert libos.stats()["oopses"] == 0
        process.kill()


@pytest.fixture(params=["auto", "ocall"])
async def inside(request: pytest.FixtureRequest) -> AsyncIterator[Inside]:
    async with serving(request.param) as made:
        yield made


async def test_byte_by_byte(inside: Inside) -> None:
    data = os.urandom(3000)

    def dribble() -> bytes:
        with inside.connect() as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"hash\n" + data:
                peer.send(bytes((byte,)))
            peer.shutdown(socket.SHUT_WR)
            return drain(peer, 1)

    assert await in_thread(dribble) == summary(data)


async def test_peers_that_stall(inside: Inside) -> None:
    """Some read nothing, some send half of what they have; others are served meanwhile. At last all get all."""
    size = 6 << 20
    data = os.urandom(1 << 20)

    def stall() -> None:
        slow = [inside.connect(b"blob %d\n" % size) for _ in range(4)]
        silent = [inside.connect(b"hash\n" + data[: len(data) // 2]) for _ in range(4)]
        for _ in range(3):
            assert inside.healthy()
        for peer in silent:
            peer.sendall(data[len(data) // 2 :])
            peer.shutdown(socket.SHUT_WR)
            assert drain(peer) == summary(data)
            peer.close()
        for peer in slow:
            assert drain(peer) == blob(size)
            peer.close()

    await in_thread(stall)
    await inside.settle(inside.alone)


async def test_peers_that_end_first(inside: Inside) -> None:
    """Half-closed connections carry the answers, however long they are."""
    data = os.urandom(2 << 20)

    def send(peer: socket.socket) -> None:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)

    def echo() -> bytes:
        with inside.connect(b"echo\n") as peer:
            sending = threading.Thread(target=send, args=(peer,))
            sending.start()
            got = drain(peer)
            sending.join()
            return got

    for got in await asyncio.gather(*(in_thread(echo) for _ in range(4))):
        assert got == data


async def test_peers_that_reset(inside: Inside) -> None:
    """At any moment: before a word, in the middle of sending, in the middle of receiving, with urgent data."""
    chance = random.Random(7)

    def resets() -> None:
        for turn in range(120):
            peer = inside.connect((b"", b"ha", b"hash\n", b"echo\n", b"blob 3000000\n")[turn % 5])
            with contextlib.suppress(OSError):
                for _ in range(chance.randrange(4)):
                    peer.sendall(bytes(chance.randrange(1, 100_000)))
                    if chance.random() < 0.5:
                        peer.send(b"!", socket.MSG_OOB)
                if chance.random() < 0.5:
                    peer.settimeout(0.01)
                    peer.recv(chance.randrange(1, 100_000))
            reset(peer)

    await in_thread(resets)
    await inside.settle(inside.alone)


def open_and_drop(inside: Inside, count: int) -> None:
    """Connections without end: closed at once, reset at once, or with half a word."""
    for turn in range(count):
        peer = inside.connect((b"", b"", b"ha", b"open\n")[turn % 4])
        (reset if turn % 2 else socket.socket.close)(peer)


@pytest.mark.parametrize("count", [800, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_connections_that_come_and_go(inside: Inside, count: int) -> None:
    await inside.settle(inside.alone)
    descriptors = len(os.listdir("/proc/self/fd"))
    held = inside.libos.kernel.network.memory.used
    for _ in range(4):
        await asyncio.gather(*(in_thread(lambda: open_and_drop(inside, count // 16)) for _ in range(4)))
        assert await in_thread(inside.healthy)
    await inside.settle(inside.alone)
    await inside.settle(lambda: len(os.listdir("/proc/self/fd")) <= descriptors + 3)
    await inside.settle(lambda: inside.libos.kernel.network.memory.used <= held)


async def test_the_host_has_no_descriptors_left(inside: Inside) -> None:
    """Connections wait in the host's queue, none is lost, and who is connected already notices nothing."""
    data = os.urandom(300_000)
    old = inside.connect(b"echo\n")
    assert await in_thread(inside.healthy)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    # The peers are made first: they are of this process, too.
    peers = [socket.socket() for _ in range(20)]
    for peer in peers:
        peer.settimeout(TIME)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    try:
        for peer in peers:
            peer.connect(("127.0.0.1", inside.port))
            peer.sendall(b"hash\n")

        def use_the_old_one() -> None:
            for _ in range(3):
                old.sendall(data[:5000])
                assert old.recv(5000, socket.MSG_WAITALL) == data[:5000]

        await in_thread(use_the_old_one)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def finish() -> None:
        for peer in peers:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            assert drain(peer) == summary(data)
            peer.close()
        old.close()

    await in_thread(finish)
