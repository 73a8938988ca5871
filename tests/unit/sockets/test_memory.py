"""What all sockets together hold is bounded, and nothing is lost by that but datagrams."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
from contextlib import suppress
from typing import Any

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.socket import AF_INET, AF_NETLINK, AF_UNIX, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM
from occlum_async.io.sockets.memory import LEAST_WRITABLE, PRESSED, SOCKET_COST
from occlum_async.io.sockets.stream import PIECE

from .oracle import make_stack
from .outside import World, blocking, client, inet, port_of, read_all, within, write_all

LIMIT = 1 << 20


@pytest.fixture
async def stack() -> Any:
    made = make_stack()
    made.memory.limit = LIMIT
    return made


async def fill(sock: Any, piece: bytes) -> int:
    """Write until there is no room; how many bytes that were."""
    sock.flags |= os.O_NONBLOCK
    total = 0
    with suppress(SyscallError):
        while True:
            total += await sock.send(piece)
    return total


@pytest.mark.parametrize("kind", [SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM])
async def test_many_full_unix_sockets(stack: Any, kind: int) -> None:
    pairs = [stack.pair(AF_UNIX, kind, 0) for _ in range(64)]
    sent = [await fill(one, bytes(1000)) for one, _ in pairs]
    assert stack.memory.pressed
    assert stack.memory.used < LIMIT + len(pairs) * (PRESSED + PIECE)
    assert min(sent) > 0, "whoever comes late can send a little all the same"
    for (one, other), size in zip(pairs, sent, strict=True):
        got = 0
        while got < size:
            got += len(await other.read(100_000))
        one.close()
        other.close()
    assert (stack.memory.used, stack.memory.pressed) == (0, False)


@pytest.mark.parametrize("family", [AF_UNIX, AF_INET])
@pytest.mark.parametrize("pressed", [False, True])
async def test_whoever_has_sent_little_can_always_be_written_to(stack: Any, family: int, pressed: bool) -> None:
    one = stack.create(family, SOCK_STREAM, 0)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, (1).to_bytes(4, "little"))
    stack.memory.pressed = pressed
    assert one.writable_at >= LEAST_WRITABLE, "no wake-up may be left out below it"


async def test_a_sender_waits_until_there_is_room_again(stack: Any) -> None:
    one, other = stack.pair(AF_UNIX, SOCK_STREAM, 0)
    hogs = [stack.pair(AF_UNIX, SOCK_STREAM, 0) for _ in range(16)]
    for hog, _ in hogs:
        await fill(hog, bytes(PIECE))
    assert stack.memory.pressed
    blob = os.urandom(1 << 18)
    done = asyncio.get_running_loop().create_future()

    async def write() -> None:
        done.set_result(await one.send(blob))

    stack.scheduler.spawn(write())
    await asyncio.sleep(0)
    waiting = other.unread()
    assert 0 < waiting <= 2 * PRESSED
    for hog, end in hogs:
        hog.close()
        end.close()
    # Nobody has read, and yet the writer goes on.
    for _ in range(10):
        await asyncio.sleep(0)
    assert not stack.memory.pressed and other.unread() > waiting
    got = b""
    while len(got) < len(blob):
        got += await within(other.read(1 << 20))
    assert got == blob
    assert await within(done) == len(blob)


async def test_datagrams_are_lost(stack: Any) -> None:
    sender = stack.create(AF_INET, SOCK_DGRAM, 0)
    receivers = []
    for _ in range(32):
        one = stack.create(AF_INET, SOCK_DGRAM, 0)
        one.bind(inet(0))
        receivers.append(one)
        for _ in range(100):
            await sender.send(bytes(1000), 0, inet(one.name.port))
    assert LIMIT <= stack.memory.used < LIMIT + 33 * (1000 + 768 + SOCKET_COST)
    assert all(one.inbox for one in receivers)
    for one in (*receivers, sender):
        one.close()
    assert stack.memory.used == 0


async def test_netlink_answers_are_counted(stack: Any) -> None:
    one = stack.create(AF_NETLINK, SOCK_RAW, 0)
    before = stack.memory.used
    await one.send(bytes.fromhex("11000000120001030700000000000000" + "00"))
    assert stack.memory.used > before
    one.close()
    assert stack.memory.used == 0


async def test_sockets_themselves_are_counted(stack: Any) -> None:
    made = []
    with pytest.raises(SyscallError) as caught:
        while True:
            made.append(stack.create(AF_INET, SOCK_STREAM, 0))
    assert caught.value.errno == errno.ENOBUFS
    assert len(made) == 2 * LIMIT // SOCKET_COST
    for one in made:
        one.close()
    assert stack.memory.used == 0


async def test_connections_that_nobody_accepts(stack: Any) -> None:
    """A client may go; what it leaves behind in a backlog is counted."""
    listener = stack.create(AF_INET, SOCK_STREAM, 0)
    listener.bind(inet(0))
    listener.listen(4096)
    with pytest.raises(SyscallError) as caught:
        while True:
            one = stack.create(AF_INET, SOCK_STREAM, 0)
            await one.connect(inet(listener.name.port))
            one.close()
    assert caught.value.errno == errno.ENOBUFS
    if not one.closed:
        one.close()
    assert len(listener.backlog) <= 2 * LIMIT // SOCKET_COST
    listener.close()
    assert stack.memory.used == 0


@pytest.fixture
async def world(world: World) -> World:
    return world.host()


async def test_bulk_under_pressure_is_whole(world: World) -> None:
    """With all memory taken by others, what crosses the boundary is slow, and right."""
    listener = world.listener()
    peers = [client(port_of(listener)) for _ in range(4)]
    ends = [await within(listener.accept()) for _ in peers]
    blobs = [os.urandom(500_000) for _ in peers]
    world.stack.memory.limit = world.stack.memory.used

    def echo(peer: socket.socket) -> str:
        with peer:
            hashed = hashlib.sha256()
            while piece := peer.recv(3000):
                hashed.update(piece)
                peer.sendall(piece)
            return hashed.hexdigest()

    async def both(end: Any, blob: bytes, peer: socket.socket) -> None:
        async def write() -> None:
            await write_all(end, blob)
            end.shutdown(2)

        digest, back, _ = await asyncio.gather(blocking(lambda: echo(peer)), read_all(end), write())
        assert digest == hashlib.sha256(blob).hexdigest()
        assert back == blob
        end.close()

    await asyncio.gather(*(both(*each) for each in zip(ends, blobs, peers, strict=True)))
    listener.close()
    world.stack.memory.limit = LIMIT
    await world.settle(lambda: world.stack.memory.used == 0)


async def test_stalled_programs_stop_the_host(world: World) -> None:
    """Programs that do not read: little more than the limit is taken from the host for them."""
    listener = world.listener()
    peers = [client(port_of(listener)) for _ in range(16)]
    ends = [await within(listener.accept()) for _ in peers]
    world.stack.memory.limit = LIMIT
    for peer in peers:
        peer.setblocking(False)
    for _ in range(50):
        for peer in peers:
            with suppress(BlockingIOError):
                peer.send(bytes(65536))
        await asyncio.sleep(0)
        world.boundary.turn()
    assert world.stack.memory.pressed
    assert world.stack.memory.used < 3 * LIMIT
    for end in (*peers, *ends, listener):
        end.close()
