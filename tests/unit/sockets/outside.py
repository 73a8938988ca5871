"""What the tests of the network outside share: stacks with an outside, and blocking peers on the host."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.socket import AF_INET, SOCK_DGRAM, SOCK_STREAM, InetAddress
from occlum_async.io.boundary import Boundary
from occlum_async.io.sockets.hostside import HostSide
from occlum_async.io.sockets.policy import Policy
from occlum_async.io.sockets.private import PrivateNetwork, Publication
from occlum_async.io.sockets.socket import Identity
from occlum_async.io.sockets.stack import NetworkStack
from occlum_async.io.sockets.tcp import TcpSocket
from occlum_async.io.sockets.udp import UdpSocket

LOOPBACK = b"\x7f\0\0\x01"
TIME = 20.0
T = TypeVar("T")


def inet(port: int, host: bytes = LOOPBACK) -> InetAddress:
    """An address on the loopback interface."""
    return InetAddress(host, port)


class World:
    """A LibOS's network with a host outside."""

    def __init__(self, boundary: Boundary, policy: Policy | None = None) -> None:
        self.boundary = boundary
        self.stack = NetworkStack(boundary.scheduler, lambda: Identity(capabilities=-1))
        self.policy = policy or Policy()

    def host(self) -> World:
        """Put the host's network outside."""
        self.stack.outside = HostSide(self.stack, self.boundary, self.policy)
        return self

    def private(self, inside: int, protocol: str = "tcp") -> int:
        """Publish a port that leads to ``inside``; the host's port."""
        private = PrivateNetwork(self.stack, self.boundary, self.policy)
        self.stack.outside = private
        return private.publish(Publication(LOOPBACK, 0, inside, protocol)).port

    def tcp(self) -> TcpSocket:
        made = self.stack.create(AF_INET, SOCK_STREAM, 0)
        assert isinstance(made, TcpSocket)
        return made

    def udp(self) -> UdpSocket:
        made = self.stack.create(AF_INET, SOCK_DGRAM, 0)
        assert isinstance(made, UdpSocket)
        return made

    def listener(self, port: int = 0, backlog: int = 100) -> TcpSocket:
        made = self.tcp()
        made.bind(inet(port))
        made.listen(backlog)
        return made

    async def meet(self, listener: TcpSocket) -> tuple[socket.socket, TcpSocket]:
        """A connection of the host's to ``listener``: both of its ends."""
        peer = client(port_of(listener))
        return peer, await within(listener.accept())

    async def settle(self, condition: Callable[[], Any]) -> None:
        """Let things happen until ``condition`` holds."""
        deadline = asyncio.get_running_loop().time() + TIME
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, "it did not happen"
            await asyncio.sleep(0.001)


async def blocking(function: Callable[[], T]) -> T:
    """Run what blocks in a thread."""
    return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, function), TIME)


async def within(awaitable: Any) -> Any:
    """The result, which must come in time."""
    return await asyncio.wait_for(awaitable, TIME)


def server() -> socket.socket:
    """A listener on the host."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(100)
    sock.settimeout(TIME)
    return sock


def client(port: int) -> socket.socket:
    """A connection of the host's."""
    sock = socket.create_connection(("127.0.0.1", port), TIME)
    sock.settimeout(TIME)
    return sock


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("<ii", 1, 0))
    sock.close()


def port_of(sock: TcpSocket | UdpSocket) -> int:
    return sock.name.port


async def fails(errno: int, awaitable: Any) -> None:
    """It must fail with this."""
    with pytest.raises(SyscallError) as caught:
        await within(awaitable)
    assert caught.value.errno == errno


async def read_all(sock: TcpSocket, piece: int = 65536) -> bytes:
    """Everything until the end."""
    data = b""
    while more := await within(sock.read(piece)):
        data += more
    return data


async def write_all(sock: TcpSocket, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[await within(sock.write(view[: 1 << 18])) :]
