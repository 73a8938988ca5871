"""Connections and datagrams between the LibOS and the host, over both boundaries: whole, in order, once."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import struct
from contextlib import suppress

import pytest

from occlum_async.abi.errors import Interrupted, SyscallError
from occlum_async.abi.socket import SHUT_RECEIVE, SHUT_SEND, SOL_UDP, InetAddress
from occlum_async.io.sockets.ipoptions import UDP_SEGMENT
from occlum_async.io.sockets.policy import FROM, IN, OUT, Policy, Rule
from occlum_async.io.sockets.wire import HIGH, Wire

from .outside import (
    LOOPBACK,
    World,
    blocking,
    client,
    fails,
    inet,
    port_of,
    read_all,
    reset,
    server,
    within,
    write_all,
)


async def test_connect_out_and_talk(world: World) -> None:
    world.host()
    sock = world.tcp()
    with server() as outside:
        await within(sock.connect(inet(outside.getsockname()[1])))
        peer, name = outside.accept()
        assert (name[1], sock.local()[4:8]) == (port_of(sock), LOOPBACK)
        assert await within(sock.write(b"question")) == 8
        assert await blocking(lambda: peer.recv(100)) == b"question"
        peer.sendall(b"answer")
        assert await within(sock.read(100)) == b"answer"
        assert not sock.poll() & select.POLLIN
        peer.close()
        assert await within(sock.read(100)) == b""
        assert sock.poll() & (select.POLLIN | select.POLLRDHUP) == select.POLLIN | select.POLLRDHUP
        sock.close()


async def test_nobody_listens_outside(world: World) -> None:
    world.host()
    with server() as gone:
        port = gone.getsockname()[1]
    await fails(errno.ECONNREFUSED, world.tcp().connect(inet(port)))


async def test_bulk_is_whole_both_ways_at_once(world: World) -> None:
    world.host()
    listener = world.listener()
    blob, other = os.urandom(4 << 20), os.urandom(3 << 20)

    def peer() -> bytes:
        with client(port_of(listener)) as sock:
            got = b""
            sent = memoryview(other)
            sock.setblocking(False)
            while len(got) < len(blob) or sent:
                readable, writable, _ = select.select([sock], [sock] if sent else [], [], 20)
                if readable:
                    got += sock.recv(1 << 17)
                if writable:
                    sent = sent[sock.send(sent[: 1 << 17]) :]
            sock.shutdown(socket.SHUT_WR)
            return got

    running = asyncio.ensure_future(blocking(peer))
    sock = await within(listener.accept())
    received, _ = await asyncio.gather(read_all(sock), write_all(sock, blob))
    assert received == other
    assert await running == blob
    sock.close()
    listener.close()


async def test_byte_by_byte(world: World) -> None:
    world.host()
    listener = world.listener()
    data = bytes(range(256))

    def peer() -> None:
        with client(port_of(listener)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in data:
                sock.sendall(bytes([byte]))

    running = asyncio.ensure_future(blocking(peer))
    sock = await within(listener.accept())
    assert await read_all(sock, 1) == data
    await running
    sock.close()
    listener.close()


async def test_half_close(world: World) -> None:
    """The peer ends first and is answered nevertheless; then we end first and hear the answer."""
    world.host()
    listener = world.listener()
    one, sock = await world.meet(listener)
    one.sendall(b"all")
    one.shutdown(socket.SHUT_WR)
    assert await read_all(sock) == b"all"
    await write_all(sock, b"late answer")
    sock.close()
    assert await blocking(lambda: one.recv(100)) == b"late answer"
    assert await blocking(lambda: one.recv(100)) == b""
    other, sock = await world.meet(listener)
    await write_all(sock, b"request")
    sock.shutdown(SHUT_SEND)
    assert await blocking(lambda: other.recv(100)) == b"request"
    assert await blocking(lambda: other.recv(100)) == b""
    other.sendall(b"reply")
    other.close()
    assert await read_all(sock) == b"reply"
    sock.close()
    listener.close()
    one.close()


async def test_close_after_write_loses_nothing(world: World) -> None:
    world.host()
    listener = world.listener()
    blob = os.urandom(600_000)
    for _ in range(5):
        peer, sock = await world.meet(listener)
        await write_all(sock, blob)
        sock.close()

        def drain(peer: socket.socket = peer) -> bytes:
            got = b""
            while piece := peer.recv(65536):
                got += piece
            return got

        assert await blocking(drain) == blob
        peer.close()
    listener.close()


async def test_reset_by_the_peer(world: World) -> None:
    world.host()
    listener = world.listener()
    peer, sock = await world.meet(listener)
    peer.sendall(b"before")
    await world.settle(lambda: sock.inbox)
    reset(peer)
    await world.settle(lambda: sock.error)
    assert sock.poll() & (select.POLLERR | select.POLLHUP) == select.POLLERR | select.POLLHUP
    assert await within(sock.read(100)) == b"before"
    await fails(errno.ECONNRESET, sock.read(100))
    await fails(errno.EPIPE, sock.write(b"x"))
    sock.close()
    listener.close()


async def test_close_with_bytes_unread_resets(world: World) -> None:
    world.host()
    listener = world.listener()
    peer, sock = await world.meet(listener)
    peer.sendall(b"unread")
    await world.settle(lambda: sock.inbox)
    sock.close()

    def wait() -> None:
        with pytest.raises(ConnectionResetError):
            while peer.recv(100):
                pass

    await blocking(wait)
    peer.close()
    listener.close()


async def test_stalled_peer_stops_the_sender_only(world: World) -> None:
    """What a peer does not take stays bounded, and the sender is told to wait."""
    world.host()
    listener = world.listener()
    peer = client(port_of(listener))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock = await within(listener.accept())
    sock.flags |= os.O_NONBLOCK
    total = 0
    for _ in range(100):
        with suppress(SyscallError):
            while True:
                total += await sock.write(bytes(65536))
        await asyncio.sleep(0)
        world.boundary.turn()
    assert not sock.poll() & select.POLLOUT
    assert total < 24 << 20
    other, second = await world.meet(listener)
    await write_all(second, b"alive")
    assert await blocking(lambda: other.recv(10)) == b"alive"
    for end in (peer, other):
        end.close()
    for end in (sock, second, listener):
        end.close()


async def test_unread_input_is_bounded(world: World) -> None:
    world.host()
    listener = world.listener()
    blob = os.urandom(24 << 20)
    peer = client(port_of(listener))
    sending = asyncio.ensure_future(blocking(lambda: (peer.sendall(blob), peer.close())))
    sock = await within(listener.accept())
    # The bound counts what each piece costs beside its bytes: many short ones reach it with fewer bytes.
    await world.settle(lambda: sock.peer.sent >= HIGH)
    await asyncio.sleep(0.05)
    assert sock.unread() < 10 << 20
    assert await read_all(sock, 1 << 20) == blob
    await sending
    sock.close()
    listener.close()


async def test_interrupted_read_loses_nothing(world: World) -> None:
    world.host()
    listener = world.listener()
    peer, sock = await world.meet(listener)
    got = b""

    async def read() -> None:
        nonlocal got
        with suppress(Interrupted):
            got += await sock.read(100)

    for number in range(20):
        strand = world.stack.scheduler.spawn(read())
        await asyncio.sleep(0)
        peer.sendall(bytes([number]))
        if number % 2:
            await asyncio.sleep(0)
        strand.interrupt()
        await asyncio.sleep(0)
    peer.close()
    got += await read_all(sock)
    assert got == bytes(range(20))
    sock.close()
    listener.close()


async def test_inside_stays_inside(world: World) -> None:
    """A connection between two programs inside crosses no boundary, in the mode of the host too."""
    world.host()
    listener = world.listener()
    sock = world.tcp()
    await within(sock.connect(inet(port_of(listener))))
    await within(sock.write(b"secret"))
    child = await within(listener.accept())
    assert await within(child.read(100)) == b"secret"
    assert not {"connect", "send", "recv", "getpeername"} & world.boundary.counters.operations.keys()
    for end in (child, sock, listener):
        end.close()


async def test_ports_are_shared_with_the_host(world: World) -> None:
    world.host()
    with server() as taken:
        with pytest.raises(SyscallError) as caught:
            world.tcp().bind(inet(taken.getsockname()[1]))
        assert caught.value.errno == errno.EADDRINUSE
    listener = world.listener()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port_of(listener)))
    port = port_of(listener)
    listener.close()
    await world.settle(lambda: _free(port))


def _free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def test_many_connections_come_and_go(world: World) -> None:
    world.host()
    listener = world.listener(backlog=4096)
    descriptors = len(os.listdir("/proc/self/fd"))

    def storm() -> None:
        for _ in range(20):
            socks = [client(port_of(listener)) for _ in range(50)]
            for index, sock in enumerate(socks):
                (reset if index % 2 else socket.socket.close)(sock)

    async def take() -> None:
        while True:
            (await listener.accept()).close()

    taking = asyncio.ensure_future(take())
    await blocking(storm)
    await world.settle(lambda: not any(isinstance(one, Wire) for one in world.stack.sockets.values()))
    await world.settle(lambda: len(os.listdir("/proc/self/fd")) <= descriptors + 1)
    taking.cancel()
    listener.close()


async def test_full_backlog_waits_in_the_host(world: World) -> None:
    world.host()
    listener = world.listener(backlog=1)
    peers = [client(port_of(listener)) for _ in range(2)]
    await world.settle(lambda: len(listener.backlog) == 2)
    peers += [client(port_of(listener)) for _ in range(2)]
    for _ in range(4):
        (await within(listener.accept())).close()
    for peer in peers:
        peer.close()
    listener.close()


async def test_listener_that_closes_turns_away(world: World) -> None:
    world.host()
    listener = world.listener()
    peer = client(port_of(listener))
    await world.settle(lambda: listener.backlog)
    listener.close()

    def wait() -> None:
        with pytest.raises(ConnectionResetError):
            assert peer.recv(1)

    await blocking(wait)
    peer.close()


async def test_listen_again_after_shutdown(world: World) -> None:
    world.host()
    listener = world.listener()
    port = port_of(listener)
    listener.shutdown(SHUT_RECEIVE)
    await world.settle(lambda: _free(port))
    listener.listen(10)
    with client(port):
        (await within(listener.accept())).close()
    listener.close()


async def test_published_port(world: World) -> None:
    port = world.private(80)
    listener = world.listener(80)
    peer = client(port)
    sock = await within(listener.accept())
    assert sock.remote()[2:4] == struct.pack(">H", peer.getsockname()[1])
    assert sock.local()[2:8] == struct.pack(">H4s", 80, LOOPBACK)
    peer.sendall(b"ping")
    assert await within(sock.read(10)) == b"ping"
    await write_all(sock, b"pong")
    assert await blocking(lambda: peer.recv(10)) == b"pong"
    peer.close()
    sock.close()
    listener.close()
    lonely = client(port)

    def wait() -> None:
        with pytest.raises(ConnectionResetError):
            assert lonely.recv(1)

    await blocking(wait)
    lonely.close()
    await fails(errno.ENETUNREACH, world.tcp().connect(inet(80, b"\xc0\0\2\1")))
    with server() as outside:
        await fails(errno.ECONNREFUSED, world.tcp().connect(inet(outside.getsockname()[1])))


async def test_published_datagrams(world: World) -> None:
    port = world.private(53, "udp")
    sock = world.udp()
    sock.bind(inet(53))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(20)
        peer.sendto(b"query", ("127.0.0.1", port))
        received = await within(sock.receive(100))
        assert received.data == b"query"
        assert received.address is not None
        await within(sock.send(b"reply", 0, sock.parse_address(received.address)))
        assert await blocking(lambda: peer.recvfrom(100)) == (b"reply", ("127.0.0.1", port))
    await fails(errno.ENETUNREACH, sock.send(b"x", 0, inet(9, b"\xc0\0\2\1")))
    sock.close()


async def test_host_datagrams(world: World) -> None:
    world.host()
    sock = world.udp()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        target = inet(peer.getsockname()[1])
        await within(sock.send(b"one", 0, target))
        data, name = await blocking(lambda: peer.recvfrom(100))
        assert (data, name[1]) == (b"one", port_of(sock))
        peer.sendto(b"two", name)
        assert (await within(sock.receive(100))).data == b"two"
        await within(sock.connect(target))
        await within(sock.send(b"three"))
        assert await blocking(lambda: peer.recv(100)) == b"three"
    await within(sock.send(b"four"))
    await world.settle(lambda: sock.error)
    await fails(errno.ECONNREFUSED, sock.send(b"five"))
    sock.close()


@pytest.mark.parametrize("published", [True, False])
async def test_a_send_is_cut_into_datagrams_outside(world: World, published: bool) -> None:
    sock = world.udp()
    if published:
        port = world.private(53, "udp")
        sock.bind(inet(53))
    else:
        world.host()
        sock.bind(inet(0))
        port = port_of(sock)
    sock.setsockopt(SOL_UDP, UDP_SEGMENT, struct.pack("i", 1000))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(20)
        peer.bind(("127.0.0.1", 0))
        peer.sendto(b"query", ("127.0.0.1", port))
        await within(sock.receive(100))
        data = bytes(range(256)) * 10
        for length in (900, 1000, 2560):
            assert await within(sock.send(data[:length], 0, inet(peer.getsockname()[1]))) == length
            for at in range(0, length, 1000):
                assert await blocking(lambda: peer.recv(5000)) == data[at : min(at + 1000, length)]
    sock.close()


async def test_policy_refuses(world: World) -> None:
    from ipaddress import ip_network

    loopback = (ip_network("127.0.0.0/8"),)
    world.policy = Policy(deny=[Rule(OUT, loopback), Rule(IN, loopback, (7777, 7777))])
    world.host()
    with server() as outside, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        port = outside.getsockname()[1]
        await fails(errno.ECONNREFUSED, world.tcp().connect(inet(port)))
        await fails(errno.ECONNREFUSED, world.tcp().connect(inet(port, bytes(4))))
        six = world.stack.create(10, 1, 0)
        mapped = struct.pack("<H", 10) + struct.pack(">HI16s", port, 0, bytes(10) + b"\xff\xff" + LOOPBACK) + bytes(4)
        await fails(errno.ECONNREFUSED, six.connect(six.parse_address(mapped)))
        sock = world.udp()
        await fails(errno.EACCES, sock.send(b"x", 0, inet(peer.getsockname()[1])))
        await fails(errno.ECONNREFUSED, sock.connect(inet(peer.getsockname()[1])))
        await fails(errno.EACCES, world.tcp().admit_bind(inet(7777)))
        await world.tcp().admit_bind(inet(7778))
        outside.settimeout(0)
        with pytest.raises(BlockingIOError):
            outside.accept()
    assert world.policy.refused == {OUT: 5, IN: 1}


async def test_policy_asks_a_coroutine(world: World) -> None:
    asked: list[tuple[str, int, str]] = []

    async def on_connect(address: str, port: int, protocol: str) -> bool:
        asked.append((address, port, protocol))
        await asyncio.sleep(0)
        return port == allowed

    async def on_bind(address: str, port: int, protocol: str) -> bool:
        raise RuntimeError("broken")

    world.policy = Policy(on_connect=on_connect, on_bind=on_bind)
    world.host()
    with server() as good, server() as bad:
        allowed = good.getsockname()[1]
        await within(world.tcp().connect(inet(allowed)))
        await fails(errno.ECONNREFUSED, world.tcp().connect(inet(bad.getsockname()[1])))
    assert [(name, protocol) for name, _, protocol in asked] == [("127.0.0.1", "tcp")] * 2
    await fails(errno.EACCES, world.tcp().admit_bind(inet(1234)))


async def test_policy_turns_peers_away(world: World) -> None:
    from ipaddress import ip_network

    world.policy = Policy(deny=[Rule(FROM, (ip_network("127.0.0.1/32"),))])
    port = world.private(80)
    listener = world.listener(80)
    peer = client(port)

    def wait() -> None:
        with pytest.raises(ConnectionResetError):
            assert peer.recv(1)

    await blocking(wait)
    assert not listener.backlog
    peer.close()
    listener.close()


async def test_close_while_connecting(world: World) -> None:
    world.host()
    with server() as outside:
        for turns in range(4):
            sock = world.tcp()
            sock.flags |= os.O_NONBLOCK
            await fails(errno.EINPROGRESS, sock.connect(inet(outside.getsockname()[1])))
            for _ in range(turns):
                await asyncio.sleep(0)
            sock.close()
    await world.settle(lambda: not any(isinstance(one, Wire) for one in world.stack.sockets.values()))


async def test_options_reach_the_host(world: World) -> None:
    world.host()
    listener = world.listener()
    peer, sock = await world.meet(listener)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, struct.pack("<i", 1))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, struct.pack("<i", 77))
    wire = sock.peer
    assert isinstance(wire, Wire)
    network = world.boundary.network
    assert network.get_option(wire.fd, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 4) == struct.pack("<i", 77)
    assert network.get_option(wire.fd, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 4) == struct.pack("<i", 1)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0] == 1
    peer.close()
    sock.close()
    listener.close()


async def test_idle_connections_cost_nothing(world: World) -> None:
    world.host()
    listener = world.listener(backlog=200)
    peers = [client(port_of(listener)) for _ in range(100)]
    socks = [await within(listener.accept()) for _ in peers]
    await asyncio.sleep(0)
    world.boundary.turn()
    await asyncio.sleep(0.01)
    before = world.boundary.counters.exits
    await asyncio.sleep(0.05)
    assert world.boundary.counters.exits == before
    for end in peers:
        end.close()
    for sock in (*socks, listener):
        sock.close()


async def test_own_addresses(world: World) -> None:
    outside = world.host().stack.outside
    assert not outside.owns(b"\xc0\0\2\1")
    assert not outside.owns(bytes(4))
    assert outside.owns(b"\x7f\0\0\x02")
    before = world.boundary.counters.exits
    assert not outside.owns(b"\xc0\0\2\1")
    assert world.boundary.counters.exits == before
    assert InetAddress(LOOPBACK, 1).port == 1
