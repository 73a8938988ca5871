"""A host that breaks connections at the worst moment, or has no descriptors: errors, never a hang, never a lie."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import resource
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.io.sockets.tcp import TcpSocket
from occlum_async.io.sockets.wire import Wire

from .outside import World, blocking, client, fails, inet, port_of, read_all, server, within, write_all

_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
async def world(world: World) -> World:
    return world.host()


def disconnect(fd: int) -> None:
    """What a host can do at any time: the connection is no more, and nobody has closed it."""
    assert _libc.connect(fd, bytes(16), 16) == 0  # AF_UNSPEC


def shut(fd: int) -> None:
    assert _libc.shutdown(fd, socket.SHUT_RDWR) == 0


def wire_of(sock: TcpSocket) -> Wire:
    assert isinstance(sock.peer, Wire)
    return sock.peer


def wires(world: World) -> list[Wire]:
    return [one for one in world.stack.sockets.values() if isinstance(one, Wire)]


@pytest.mark.parametrize("kill", [disconnect, shut])
async def test_killed_while_a_program_reads(world: World, kill: Callable[[int], None]) -> None:
    listener = world.listener()
    peer, sock = await world.meet(listener)
    peer.sendall(b"before")
    await world.settle(lambda: sock.inbox)
    reading = asyncio.ensure_future(read_all(sock))
    await asyncio.sleep(0)
    kill(wire_of(sock).fd)
    with suppress(SyscallError):
        assert await within(reading) == b"before"
    assert sock.poll() & select.POLLIN
    sock.close()
    await world.settle(lambda: not wires(world))
    peer.close()
    listener.close()


@pytest.mark.parametrize("kill", [disconnect, shut])
async def test_killed_while_bytes_leave(world: World, kill: Callable[[int], None]) -> None:
    """A send is under way to a peer that takes nothing. What the peer gets at last is a beginning of what was sent."""
    listener = world.listener()
    peer, sock = await world.meet(listener)
    blob = os.urandom(16 << 20)
    writing = asyncio.ensure_future(write_all(sock, blob))
    await world.settle(lambda: sock.sent >= sock.full_at)
    kill(wire_of(sock).fd)

    def drain() -> bytes:
        got = b""
        with suppress(ConnectionError):
            while piece := peer.recv(1 << 18):
                got += piece
        return got

    got, outcome = await asyncio.gather(blocking(drain), asyncio.gather(writing, return_exceptions=True))
    assert isinstance(outcome[0], SyscallError)
    assert outcome[0].errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)
    assert len(got) < len(blob) and blob.startswith(got)
    sock.close()
    await world.settle(lambda: not wires(world))
    peer.close()
    listener.close()


def decided(sock: TcpSocket) -> bool:
    return sock.pending is None


async def test_killed_while_connecting(world: World) -> None:
    """The connect is submitted and the host gives up the socket before it completes."""
    with server() as outside:
        for _ in range(5):
            sock = world.tcp()
            sock.flags |= os.O_NONBLOCK
            await fails(errno.EINPROGRESS, sock.connect(inet(outside.getsockname()[1])))
            attempt = sock.pending
            await asyncio.sleep(0)
            fd = getattr(attempt, "_fd", -1)
            if fd >= 0:
                disconnect(fd)
            await world.settle(partial(decided, sock))
            sock.close()
    await world.settle(lambda: not wires(world))


async def test_a_listener_that_the_host_shuts(world: World) -> None:
    """The port is gone; programs that wait there are not told what never happens, and can close."""
    listener = world.listener()
    (claim,) = world.stack.outside._claims.values()  # type: ignore[attr-defined]
    shut(claim.fd)
    with pytest.raises(OSError, match="refused"):
        client(port_of(listener))
    listener.flags |= os.O_NONBLOCK
    await fails(errno.EAGAIN, listener.accept())
    listener.close()
    other = world.listener()
    peer, sock = await world.meet(other)
    peer.close()
    assert await read_all(sock) == b""
    sock.close()
    other.close()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        with suppress(OSError):
            while True:
                spare.append(os.dup(2))
        yield
    finally:
        for fd in spare:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_no_descriptors_to_go_out(world: World) -> None:
    with server() as outside, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        target, datagrams = inet(outside.getsockname()[1]), inet(peer.getsockname()[1])
        sock, other = world.tcp(), world.udp()
        with no_descriptors():
            await fails(errno.ENFILE, sock.connect(target))
            await fails(errno.ENFILE, other.send(b"x", 0, datagrams))
            with pytest.raises(SyscallError) as caught:
                world.tcp().bind(inet(0))
            assert caught.value.errno == errno.ENFILE
        await within(sock.connect(target))
        assert await within(other.send(b"x", 0, datagrams)) == 1
        sock.close()
        other.close()


async def test_no_descriptors_to_let_in(world: World) -> None:
    """Connections wait in the host's queue until there are descriptors again; none is lost."""
    listener = world.listener()
    peers = [socket.socket() for _ in range(8)]
    with no_descriptors():
        for peer in peers:
            peer.settimeout(20)
            peer.connect(("127.0.0.1", port_of(listener)))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not listener.backlog
    for number, peer in enumerate(peers):
        peer.sendall(b"%d" % number)
        peer.shutdown(socket.SHUT_WR)
    got = []
    for _ in peers:
        sock = await within(listener.accept())
        got.append(await read_all(sock))
        sock.close()
    assert sorted(got) == [b"%d" % number for number in range(8)]
    for peer in peers:
        peer.close()
    listener.close()
