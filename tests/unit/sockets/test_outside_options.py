"""What sockets with an outside can do beside carrying bytes: options, facts about datagrams, urgent data, IPv6."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import struct

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.socket import ControlMessage, InetAddress
from occlum_async.abi.user import PythonPointer
from occlum_async.io.sockets import ipoptions as ip
from occlum_async.io.sockets.policy import FROM, IN, Policy, Rule
from occlum_async.io.sockets.socket import Ancillary
from occlum_async.io.sockets.tcp import TcpSocket
from occlum_async.io.sockets.wire import Wire

from .outside import (
    LOOPBACK,
    World,
    blocking,
    fails,
    inet,
    port_of,
    read_all,
    server,
    within,
    write_all,
)


async def test_what_datagrams_from_outside_tell(world: World) -> None:
    """IP_PKTINFO, IP_RECVTTL and IP_RECVTOS of datagrams that the host has received."""
    world.host()
    sock = world.udp()
    sock.bind(InetAddress(bytes(4), 0))
    for name in (ip.IP_RECVTTL, ip.IP_RECVTOS, ip.IP_PKTINFO):
        sock.setsockopt(socket.SOL_IP, name, struct.pack("<i", 1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(20)
        peer.setsockopt(socket.SOL_IP, socket.IP_TTL, 17)
        peer.setsockopt(socket.SOL_IP, socket.IP_TOS, 0x48)
        peer.sendto(b"query", ("127.0.0.3", port_of(sock)))
        received = await within(sock.receive(100))
        told = {(message.level, message.type): message.data for message in received.control}
        assert received.data == b"query"
        assert told[0, 8] == struct.pack("<i", 1) + bytes((127, 0, 0, 3)) * 2
        assert (told[0, 2], told[0, 1]) == (struct.pack("<i", 17), b"\x48")
        # The answer comes from the address that was asked, not from the one that routes would choose.
        answer = Ancillary(control=[ControlMessage(0, 8, told[0, 8]), ControlMessage(0, 2, struct.pack("<i", 9))])
        assert received.address is not None
        await within(sock.send(b"answer", 0, sock.parse_address(received.address), answer))
        assert await blocking(lambda: peer.recvfrom(100)) == (b"answer", ("127.0.0.3", port_of(sock)))
    sock.close()


async def test_options_of_a_listener(world: World) -> None:
    """What is set on a listener holds for the connections that the host accepts for it, before and after listen."""
    world.host()
    listener = world.tcp()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, struct.pack("<i", 55))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, struct.pack("<i", 30000))
    listener.bind(inet(0))
    listener.listen(5)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, struct.pack("<i", 1234))
    peer, sock = await world.meet(listener)
    wire = sock.peer
    assert isinstance(wire, Wire)

    def at_host(level: int, name: int) -> int:
        (number,) = struct.unpack("<i", world.boundary.network.get_option(wire.fd, level, name, 4))
        return int(number)

    assert at_host(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 55
    assert at_host(socket.SOL_SOCKET, socket.SO_RCVBUF) == 60000
    assert at_host(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1234
    assert at_host(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    sock.setsockopt(socket.SOL_IP, socket.IP_TOS, struct.pack("<i", 0x20))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, struct.pack("<i", 50000))
    assert at_host(socket.SOL_IP, socket.IP_TOS) == 0x20
    assert at_host(socket.SOL_SOCKET, socket.SO_SNDBUF) == 100000
    network = world.boundary.network
    assert network.get_option(wire.fd, socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).startswith(b"reno\0")
    # And what only the host knows is asked of it.
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 4) == network.get_option(wire.fd, 6, 2, 4)
    peer.close()
    sock.close()
    listener.close()


async def test_cork(world: World) -> None:
    """Corked bytes leave together when the cork is drawn, or after a while; MSG_MORE does the same for one send."""
    world.host()
    listener = world.listener()
    peer, sock = await world.meet(listener)
    operations = world.boundary.counters.operations
    name = "send" if world.boundary.name == "uring" else "sendmsg"

    def cork(on: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, struct.pack("<i", on))

    async def pieces(flags: int) -> None:
        for number in range(5):
            await within(sock.send(b"%d" % number, flags))
            await asyncio.sleep(0.001)

    before = operations[name] + operations["send"]
    cork(1)
    await pieces(0)
    assert operations[name] + operations["send"] == before
    cork(0)
    assert await blocking(lambda: peer.recv(100)) == b"01234"
    await pieces(socket.MSG_MORE)
    await within(sock.send(b"end"))
    assert await blocking(lambda: peer.recv(100)) == b"01234end"
    cork(1)
    await within(sock.send(b"late"))
    assert await blocking(lambda: peer.recv(100)) == b"late"
    await within(sock.send(b"last"))
    sock.close()
    assert await blocking(lambda: peer.recv(100)) == b"last"
    assert await blocking(lambda: peer.recv(100)) == b""
    peer.close()
    listener.close()


async def test_fast_open(world: World) -> None:
    world.host()
    with server() as outside:
        sock = world.tcp()
        target = inet(outside.getsockname()[1])
        assert await within(sock.send(b"first", 0x20000000, target)) == 5  # MSG_FASTOPEN
        peer, _ = outside.accept()
        assert await blocking(lambda: peer.recv(100)) == b"first"
        await fails(errno.EISCONN, sock.send(b"x", 0x20000000, target))
        peer.close()
        sock.close()


async def test_datagrams_of_those_who_are_denied(world: World) -> None:
    from ipaddress import ip_network

    world.policy = Policy(deny=[Rule(FROM, (ip_network("127.0.0.0/8"),))])
    world.host()
    sock = world.udp()
    sock.bind(inet(0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        peer.sendto(b"unwanted", ("127.0.0.1", port_of(sock)))
        await world.settle(lambda: world.policy.refused[FROM] == 1)
        assert not sock.inbox
        # An answer to what was let out comes in.
        await within(sock.send(b"question", 0, inet(peer.getsockname()[1])))
        assert await blocking(lambda: peer.recv(100)) == b"question"
        peer.sendto(b"answer", ("127.0.0.1", port_of(sock)))
        assert (await within(sock.receive(100))).data == b"answer"
    sock.close()


async def test_listening_without_a_name_is_asked_about(world: World) -> None:
    world.policy = Policy(deny=[Rule(IN)])
    world.host()
    await fails(errno.EACCES, world.tcp().admit_listen())
    world.policy.deny = (Rule(IN, (), (1, 65535)),)  # any port but "any"
    sock = world.tcp()
    await sock.admit_listen()
    with pytest.raises(SyscallError) as caught:
        sock.listen(5)
    assert caught.value.errno == errno.EACCES
    sock.close()


async def test_lo_leads_nowhere_else(world: World) -> None:
    world.host()
    sock = world.tcp()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) == b"lo\0"
    await fails(errno.ENETUNREACH, sock.connect(inet(80, b"\xc0\0\2\1")))
    others = [link.name for link in world.stack.links().links if link.name != b"lo"]
    for name, error in ((b"none", errno.ENODEV), *((name, errno.EPERM) for name in others)):
        with pytest.raises(SyscallError) as caught:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
        assert caught.value.errno == error
    sock.close()


async def urgent_peer(world: World, listener: TcpSocket) -> tuple[socket.socket, TcpSocket]:
    peer, sock = await world.meet(listener)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer, sock


async def at_mark(sock: TcpSocket) -> bool:
    answer = bytearray(4)
    await sock.ioctl(None, 0x8905, PythonPointer(answer))
    return any(answer)


async def test_urgent_byte_from_outside(world: World) -> None:
    """The byte is told of, can be read by itself, and its mark stays where it was in the stream."""
    world.host()
    listener = world.listener()
    peer, sock = await urgent_peer(world, listener)
    assert not await at_mark(sock)  # whoever asks for the mark is interested
    await asyncio.sleep(0.01)
    for _ in range(5):
        peer.sendall(b"before")
        peer.send(b"in!", socket.MSG_OOB)
        peer.sendall(b"after")
        await world.settle(lambda: sock.has_urgent and sum(len(chunk.data) for chunk in sock.inbox) == 14)
        assert sock.poll() & select.POLLPRI
        assert (await within(sock.receive(10, socket.MSG_OOB))).data == b"!"
        await fails(errno.EINVAL, sock.receive(10, socket.MSG_OOB))
        assert await within(sock.read(100)) == b"beforein"
        assert await at_mark(sock)
        assert await within(sock.read(100)) == b"after"
        assert not await at_mark(sock)
    peer.close()
    assert await within(sock.read(100)) == b""
    sock.close()
    listener.close()


async def test_urgent_byte_in_line(world: World) -> None:
    world.host()
    listener = world.listener()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, struct.pack("<i", 1))
    peer, sock = await urgent_peer(world, listener)
    peer.sendall(b"one")
    peer.send(b"!", socket.MSG_OOB)
    peer.sendall(b"two")
    peer.close()
    assert await within(sock.read(100)) == b"one"
    assert await at_mark(sock)
    assert await read_all(sock) == b"!two"
    sock.close()
    listener.close()


async def test_urgent_bytes_in_bulk(world: World) -> None:
    """Among many other bytes, in both directions at once, none is lost and none comes twice."""
    world.host()
    listener = world.listener()
    peer, sock = await urgent_peer(world, listener)
    blob = os.urandom(3 << 20)

    def send() -> None:
        view = memoryview(blob)
        while view:
            peer.sendall(view[:50_000])
            peer.send(b"!", socket.MSG_OOB)
            view = view[50_000:]
        peer.shutdown(socket.SHUT_WR)

    def drain() -> bytes:
        got = b""
        while piece := peer.recv(1 << 18):
            got += piece
        return got

    assert not await at_mark(sock)
    sending = asyncio.ensure_future(blocking(send))
    received, _ = await asyncio.gather(read_all(sock), write_all(sock, blob))
    await sending
    # A later urgent byte turns an earlier one that was not read yet into an ordinary one.
    assert received.replace(b"!", b"") == blob.replace(b"!", b"")
    sock.close()
    assert await blocking(drain) == blob
    peer.close()
    listener.close()


async def test_a_host_without_marks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not let urgent data come in line: what is ordinary comes all the same."""
    network = world.boundary.network
    real = network.set_option

    def set_option(fd: int, level: int, name: int, value: bytes) -> None:
        if (level, name) == (socket.SOL_SOCKET, socket.SO_OOBINLINE):
            raise SyscallError(errno.EPERM)
        real(fd, level, name, value)

    monkeypatch.setattr(network, "set_option", set_option)
    world.host()
    listener = world.listener()
    peer, sock = await urgent_peer(world, listener)
    assert not await at_mark(sock)
    peer.sendall(b"before")
    peer.close()
    assert await read_all(sock) == b"before"
    sock.close()
    listener.close()


async def test_nobody_wants_the_urgent_byte(world: World) -> None:
    world.host()
    listener = world.listener()
    peer, sock = await urgent_peer(world, listener)
    peer.sendall(b"be")
    peer.send(b"!", socket.MSG_OOB)
    peer.sendall(b"fore")
    peer.close()
    assert await read_all(sock) == b"before"
    sock.close()
    listener.close()


def needs_version6() -> None:
    """Skip where the host has no IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")


LOOPBACK6 = bytes(15) + b"\x01"


async def test_version_6(world: World) -> None:
    """Streams and datagrams over ::1, and a socket that takes both versions."""
    needs_version6()
    world.host()
    listener = world.stack.create(socket.AF_INET6, socket.SOCK_STREAM, 0)
    assert isinstance(listener, TcpSocket)
    listener.bind(InetAddress(bytes(16), 0))
    listener.listen(5)
    for host in ("::1", "127.0.0.1"):
        with socket.create_connection((host, port_of(listener)), 20) as peer:
            sock = await within(listener.accept())
            assert sock.remote()[:4] == struct.pack("<H", 10) + struct.pack(">H", peer.getsockname()[1])
            assert sock.remote()[8:24] == (LOOPBACK6 if host == "::1" else bytes(10) + b"\xff\xff" + LOOPBACK)
            await write_all(sock, b"hello")
            assert await blocking(lambda peer=peer: peer.recv(100)) == b"hello"  # type: ignore[misc]
            sock.close()
    listener.close()
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as outside:
        sock = world.stack.create(socket.AF_INET6, socket.SOCK_STREAM, 0)
        await within(sock.connect(InetAddress(LOOPBACK6, outside.getsockname()[1])))
        peer, name = outside.accept()
        assert name[:2] == ("::1", sock.name.port)
        await write_all(sock, b"out")
        assert await blocking(lambda: peer.recv(100)) == b"out"
        peer.close()
        sock.close()


async def test_what_datagrams_of_version_6_tell(world: World) -> None:
    needs_version6()
    world.host()
    sock = world.stack.create(socket.AF_INET6, socket.SOCK_DGRAM, 0)
    sock.bind(InetAddress(bytes(16), 0))
    for name in (ip.IPV6_RECVPKTINFO, ip.IPV6_RECVHOPLIMIT, ip.IPV6_RECVTCLASS):
        sock.setsockopt(socket.IPPROTO_IPV6, name, struct.pack("<i", 1))
    sock.setsockopt(socket.SOL_IP, ip.IP_RECVTTL, struct.pack("<i", 1))
    told = {}
    for host, family in (("::1", socket.AF_INET6), ("127.0.0.1", socket.AF_INET)):
        with socket.socket(family, socket.SOCK_DGRAM) as peer:
            peer.settimeout(20)
            if family == socket.AF_INET6:
                peer.setsockopt(socket.IPPROTO_IPV6, ip.IPV6_UNICAST_HOPS, 5)
                peer.setsockopt(socket.IPPROTO_IPV6, ip.IPV6_TCLASS, 0x24)
            peer.sendto(b"query", (host, sock.name.port))
            received = await within(sock.receive(100))
            told[host] = {(message.level, message.type): message.data for message in received.control}
            assert received.address is not None
            await within(sock.send(b"answer", 0, sock.parse_address(received.address)))
            assert await blocking(lambda peer=peer: peer.recv(100)) == b"answer"  # type: ignore[misc]
    one = struct.pack("<i", 1)
    assert told["::1"] == {(41, 50): LOOPBACK6 + one, (41, 52): struct.pack("<i", 5), (41, 67): struct.pack("<i", 0x24)}
    assert told["127.0.0.1"][41, 50] == bytes(10) + b"\xff\xff" + LOOPBACK + one
    sock.close()
