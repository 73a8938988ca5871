"""A host that lies and fails: the LibOS believes nothing impossible, loses no control, and works on afterwards."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from contextlib import suppress

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.errors import HostUnsupported
from occlum_async.io.sockets import ipoptions as ip
from occlum_async.sched.strand import Scheduler
from tests.faults import Liar, faulty_boundary

from .outside import World, client, inet, port_of, reset, server, within

ONE = struct.pack("<i", 1)
LIES = 25  # of each test


async def exercise(world: World) -> None:
    """Everything that a network does, whatever comes of it; errors are those of system calls."""
    with server() as outside:
        with suppress(SyscallError, TimeoutError):
            listener = world.listener()
            peers = [client(port_of(listener)) for _ in range(4)]
            for peer in peers:
                peer.sendall(b"x" * 5000)
            for _ in peers:
                sock = await asyncio.wait_for(listener.accept(), 0.1)
                with suppress(SyscallError, TimeoutError):
                    data = await asyncio.wait_for(sock.read(100), 0.1)
                    assert len(data) <= 100
                    await asyncio.wait_for(sock.write(data), 0.1)
                sock.close()
            listener.close()
            for peer in peers:
                reset(peer)
        for _ in range(3):
            with suppress(SyscallError, TimeoutError):
                sock = world.tcp()
                await asyncio.wait_for(sock.connect(inet(outside.getsockname()[1])), 0.1)
                await asyncio.wait_for(sock.write(b"hello"), 0.1)
                sock.close()
        with suppress(SyscallError, TimeoutError):
            one = world.udp()
            one.bind(inet(0))
            await asyncio.wait_for(one.send(b"datagram", 0, inet(outside.getsockname()[1])), 0.1)
            one.close()
    await exercise_facts(world)


async def exercise_facts(world: World) -> None:
    """What is asked of the host beside bytes: urgent marks, facts about datagrams, interfaces, options."""
    assert world.stack.links().links
    world.stack.outside._links = None  # type: ignore[attr-defined]
    with suppress(SyscallError, TimeoutError):
        listener = world.tcp()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, ONE)
        listener.bind(inet(0))
        listener.listen(5)
        peer = client(port_of(listener))
        peer.send(b"one!", socket.MSG_OOB)
        peer.sendall(b"two")
        sock = await asyncio.wait_for(listener.accept(), 0.1)
        with suppress(SyscallError, TimeoutError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
            assert len(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)) <= 232
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 4)
            assert len(await asyncio.wait_for(sock.read(100), 0.1)) <= 100
        sock.close()
        listener.close()
        reset(peer)
    with suppress(SyscallError, TimeoutError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        one = world.udp()
        for name in (ip.IP_PKTINFO, ip.IP_RECVTTL, ip.IP_RECVTOS, ip.IP_RECVORIGDSTADDR):
            one.setsockopt(socket.SOL_IP, name, ONE)
        one.bind(inet(0))
        for _ in range(3):
            sender.sendto(b"datagram", ("127.0.0.1", port_of(one)))
            received = await asyncio.wait_for(one.receive(100), 0.1)
            assert len(received.data) <= 100 and len(received.control) <= 4
        one.close()


@pytest.mark.parametrize("kind", ["uring", "ocall"])
@pytest.mark.parametrize("seed", range(6))
async def test_lies(kind: str, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    liar = Liar(seed)
    try:
        boundary = faulty_boundary(kind, liar)(Scheduler(asyncio.get_running_loop()))
    except HostUnsupported as error:
        pytest.skip(str(error))
    world = World(boundary).host()
    liar.rate = 0.2
    with caplog.at_level(logging.CRITICAL, "occlum_async.io.boundary.calls"):
        while liar.told.total() < LIES:
            await exercise(world)
        liar.rate = 0
    assert not [record.message for record in caplog.records if "oops" in record.message]
    # The host has come to its senses: so has the network.
    with server() as outside:
        sock = world.tcp()
        await within(sock.connect(inet(outside.getsockname()[1])))
        peer, _ = outside.accept()
        await within(sock.write(b"truth"))
        await world.settle(lambda: not sock.peer.inbox)  # type: ignore[union-attr]
        assert peer.recv(10) == b"truth"
        peer.close()
        sock.close()
    world.stack.outside.close()
    await asyncio.sleep(0.01)
    await boundary.shutdown()
