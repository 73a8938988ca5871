"""Scenarios that must go in the LibOS exactly as they go on Linux."""

from __future__ import annotations

import socket as s
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from .oracle import World, play

SCENARIOS: dict[str, Callable[[Any], Awaitable[None]]] = {}
CONNECTED = (s.SOCK_STREAM, s.SOCK_SEQPACKET)
SIOCINQ, SIOCATMARK = 0x541B, 0x8905
ONE, ZERO = struct.pack("i", 1), struct.pack("i", 0)


def scenario(function: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    SCENARIOS[function.__name__] = function
    return function


def inet(port: int, host: str = "127.0.0.1") -> bytes:
    return struct.pack("<H", s.AF_INET) + struct.pack(">H4s8x", port, s.inet_aton(host))


def inet6(port: int, host: str = "::1") -> bytes:
    return struct.pack("<H", s.AF_INET6) + struct.pack(">HI16s", port, 0, s.inet_pton(s.AF_INET6, host)) + bytes(4)


def port_of(raw: bytes) -> int:
    return int.from_bytes(raw[2:4], "big")


# -- unix, connected ----------------------------------------------------------


@scenario
async def unix_fresh_sockets(w: World) -> None:
    for kind in (s.SOCK_STREAM, s.SOCK_DGRAM, s.SOCK_SEQPACKET):
        one = await w.socket(s.AF_UNIX, kind)
        await w.poll(one)
        await w.receive(one, 4)
        await w.send(one, b"x")
        await w.remote(one)
        await w.listen(one)
        await w.accept(one)
        await w.ioctl(one, SIOCINQ)
        await w.shutdown(one, s.SHUT_RD)
        await w.poll(one)
        await w.receive(one, 4)


@scenario
async def unix_connect_and_talk(w: World) -> None:
    for kind in CONNECTED:
        listener = await w.socket(s.AF_UNIX, kind)
        client = await w.socket(s.AF_UNIX, kind)
        address = w.name(f"talk{kind}")
        await w.connect(client, address)
        await w.bind(listener, address)
        await w.connect(client, address)
        await w.accept(listener)
        await w.listen(listener)
        await w.poll(listener)
        await w.connect(client, address)
        await w.connect(client, address)
        await w.poll(listener)
        await w.poll(client)
        await w.send(client, b"early")
        server = await w.accept(listener)
        await w.poll(listener)
        await w.remote(client)
        await w.remote(server)
        await w.receive(server, 3)
        await w.receive(server, 99)
        await w.receive(server, 99)
        await w.send(server, b"back", 0, address)
        await w.receive(client, 99)
        await w.getopt(listener, s.SOL_SOCKET, s.SO_ACCEPTCONN)
        await w.getopt(client, s.SOL_SOCKET, s.SO_TYPE)
        await w.close(client)
        await w.poll(server)
        await w.receive(server, 9)
        await w.send(server, b"gone")


@scenario
async def unix_backlog(w: World) -> None:
    for kind in CONNECTED:
        listener = await w.socket(s.AF_UNIX, kind)
        address = w.name(f"backlog{kind}")
        await w.bind(listener, address)
        await w.listen(listener, 1)
        clients = [await w.socket(s.AF_UNIX, kind) for _ in range(4)]
        for client in clients:
            await w.connect(client, address)
        await w.accept(listener)
        await w.connect(clients[2], address)
        await w.connect(clients[3], address)
        await w.close(listener)
        for client in clients:
            await w.poll(client)
            await w.receive(client, 1)
            await w.receive(client, 1)
            await w.connect(client, address)


@scenario
async def unix_shutdowns(w: World) -> None:
    for kind in CONNECTED:
        for how in (s.SHUT_RD, s.SHUT_WR, s.SHUT_RDWR):
            one, other = await w.pair(kind)
            await w.send(other, b"before")
            await w.shutdown(one, how)
            await w.poll(one)
            await w.poll(other)
            await w.receive(one, 9)
            await w.receive(one, 9)
            await w.receive(other, 9)
            await w.send(one, b"x")
            await w.send(other, b"y")
            await w.shutdown(other, s.SHUT_RDWR)
            await w.poll(one)


@scenario
async def unix_close_with_unread(w: World) -> None:
    for kind in CONNECTED:
        one, other = await w.pair(kind)
        await w.send(one, b"never read")
        await w.send(other, b"still there")
        await w.close(other)
        await w.poll(one)
        await w.receive(one, 99)
        await w.receive(one, 99)
        await w.receive(one, 99)
        await w.poll(one)
        await w.send(one, b"x")


@scenario
async def unix_reset_seen_by_option(w: World) -> None:
    one, other = await w.pair(s.SOCK_STREAM)
    await w.send(one, b"never read")
    await w.close(other)
    await w.send(one, b"x")
    await w.getopt(one, s.SOL_SOCKET, s.SO_ERROR)
    await w.getopt(one, s.SOL_SOCKET, s.SO_ERROR)
    await w.receive(one, 9)


@scenario
async def unix_peek_and_trunc(w: World) -> None:
    for kind in (s.SOCK_STREAM, s.SOCK_DGRAM, s.SOCK_SEQPACKET):
        one, other = await w.pair(kind)
        await w.send(one, b"abcdef")
        await w.send(one, b"ghi")
        await w.send(one, b"")
        await w.ioctl(other, SIOCINQ)
        await w.receive(other, 4, s.MSG_PEEK)
        await w.receive(other, 20, s.MSG_PEEK)
        await w.receive(other, 2, s.MSG_TRUNC)
        await w.receive(other, 20)
        await w.ioctl(other, SIOCINQ)
        await w.receive(other, 20)
        await w.receive(other, 20)


@scenario
async def unix_peek_offset(w: World) -> None:
    for kind in (s.SOCK_STREAM, s.SOCK_DGRAM):
        one, other = await w.pair(kind)
        await w.getopt(other, s.SOL_SOCKET, 42)
        await w.setopt(other, s.SOL_SOCKET, 42, ZERO)
        await w.send(one, b"abcd")
        await w.send(one, b"efgh")
        await w.receive(other, 2, s.MSG_PEEK)
        await w.getopt(other, s.SOL_SOCKET, 42)
        await w.receive(other, 3, s.MSG_PEEK)
        await w.receive(other, 1, s.MSG_PEEK)
        await w.receive(other, 1)
        await w.getopt(other, s.SOL_SOCKET, 42)
        await w.receive(other, 9, s.MSG_PEEK)


@scenario
async def unix_out_of_band(w: World) -> None:
    one, other = await w.pair(s.SOCK_STREAM)
    await w.receive(other, 1, s.MSG_OOB)
    await w.send(one, b"abc")
    await w.send(one, b"xY", s.MSG_OOB)
    await w.send(one, b"def")
    await w.poll(other)
    await w.ioctl(other, SIOCATMARK)
    await w.receive(other, 20)
    await w.ioctl(other, SIOCATMARK)
    await w.receive(other, 9, s.MSG_OOB)
    await w.receive(other, 9, s.MSG_OOB)
    await w.receive(other, 20)


@scenario
async def unix_send_buffer(w: World) -> None:
    for kind in (s.SOCK_DGRAM, s.SOCK_SEQPACKET, s.SOCK_STREAM):
        one, other = await w.pair(kind)
        await w.setopt(one, s.SOL_SOCKET, s.SO_SNDBUF, struct.pack("i", 8192))
        await w.getopt(one, s.SOL_SOCKET, s.SO_SNDBUF)
        await w.setopt(one, s.SOL_SOCKET, s.SO_SNDBUF, struct.pack("i", 1))
        await w.getopt(one, s.SOL_SOCKET, s.SO_SNDBUF)
        await w.setopt(one, s.SOL_SOCKET, s.SO_RCVBUF, struct.pack("i", 1))
        await w.getopt(one, s.SOL_SOCKET, s.SO_RCVBUF)
        if kind != s.SOCK_STREAM:
            await w.send(other, bytes(300000))
        await w.poll(one)


@scenario
async def unix_datagram_names(w: World) -> None:
    server, client, third = [await w.socket(s.AF_UNIX, s.SOCK_DGRAM) for _ in range(3)]
    address, other_address = w.name("dgram"), w.name("third")
    await w.send(client, b"x", 0, address)
    await w.bind(server, address)
    await w.bind(server, w.name("again"))
    await w.bind(client, address)
    await w.bind(third, other_address)
    await w.send(client, b"one", 0, address)
    await w.connect(client, address)
    await w.send(client, b"two")
    await w.remote(client)
    await w.connect(server, other_address)
    await w.send(client, b"not heard")
    await w.send(third, b"three", 0, address)
    for _ in range(4):
        await w.receive(server, 9)
    await w.connect(client, b"\0\0")
    await w.send(client, b"x")
    await w.close(server)
    await w.send(third, b"x", 0, address)
    stream = await w.socket(s.AF_UNIX, s.SOCK_STREAM)
    await w.connect(stream, other_address)


@scenario
async def unix_datagram_peer_closes(w: World) -> None:
    one, other = await w.pair(s.SOCK_DGRAM)
    await w.send(other, b"last")
    await w.close(other)
    await w.poll(one)
    await w.receive(one, 9)
    await w.receive(one, 9)
    await w.send(one, b"x")
    await w.send(one, b"x")
    await w.poll(one)


@scenario
async def unix_datagram_queue(w: World) -> None:
    server, client = [await w.socket(s.AF_UNIX, s.SOCK_DGRAM) for _ in range(2)]
    address = w.name("queue")
    await w.bind(server, address)
    await w.connect(client, address)
    for _ in range(13):
        await w.send(client, b"x")
    await w.poll(client)
    await w.receive(server, 1)
    await w.poll(client)
    await w.send(client, b"x")
    await w.shutdown(server, s.SHUT_RD)
    await w.send(client, b"x")
    await w.poll(server)


@scenario
async def unix_files(w: World) -> None:
    for kind in (s.SOCK_STREAM, s.SOCK_DGRAM, s.SOCK_SEQPACKET):
        one, other = await w.pair(kind)
        extra, _ = await w.pair(s.SOCK_STREAM)
        await w.send(one, b"plain")
        await w.send_file(one, b"with", extra)
        await w.send(one, b"after")
        await w.send_file(one, b"again", extra)
        for _ in range(5):
            await w.receive_file(other, 99)
        await w.send_file(one, b"not received as a file", extra)
        await w.receive(other, 99)
        await w.send_file(one, b"", extra)
        await w.receive_file(other, 99)
        await w.send_file(one, b"never received", extra)


@scenario
async def unix_bad_addresses(w: World) -> None:
    one = await w.socket(s.AF_UNIX, s.SOCK_STREAM)
    await w.bind(one, b"")
    await w.bind(one, b"\1")
    await w.bind(one, struct.pack("<H", s.AF_INET) + b"xx")
    await w.connect(one, struct.pack("<H", s.AF_INET) + b"xx")
    await w.connect(one, struct.pack("<H", s.AF_UNIX))
    await w.connect(one, struct.pack("<H", s.AF_UNIX) + b"\0" + b"x" * 108)
    await w.bind(one, struct.pack("<H", s.AF_UNIX))
    name = await w.local(one)
    w.log.append((len(name), name[2:3]))
    await w.bind(one, struct.pack("<H", s.AF_UNIX))
    await w.bind(one, w.name("second"))


# -- TCP ----------------------------------------------------------------------


async def tcp_pair(w: World) -> tuple[int, int, int]:
    listener = await w.socket(s.AF_INET, s.SOCK_STREAM)
    await w.bind(listener, inet(0))
    await w.listen(listener)
    client = await w.socket(s.AF_INET, s.SOCK_STREAM)
    await w.connect(client, await w.local(listener))
    server = await w.accept(listener)
    return listener, client, server


@scenario
async def tcp_fresh(w: World) -> None:
    one = await w.socket(s.AF_INET, s.SOCK_STREAM)
    await w.poll(one)
    await w.receive(one, 1)
    await w.send(one, b"x")
    await w.remote(one)
    await w.accept(one)
    await w.shutdown(one, s.SHUT_RDWR)
    await w.ioctl(one, SIOCINQ)
    await w.bind(one, inet(0, "8.8.8.8"))
    await w.bind(one, inet(0)[:10])
    await w.bind(one, inet6(0))
    await w.connect(one, inet6(1))
    await w.connect(one, b"\0\0" + bytes(14))


@scenario
async def tcp_talk(w: World) -> None:
    listener, client, server = await tcp_pair(w)
    await w.poll(listener)
    await w.connect(client, await w.local(listener))
    await w.connect(client, await w.local(listener))
    await w.poll(client)
    await w.poll(server)
    await w.send(client, b"hello ")
    await w.send(client, b"world", 0, inet(1, "9.9.9.9"))
    await w.ioctl(server, SIOCINQ)
    await w.receive(server, 3, s.MSG_PEEK)
    await w.receive(server, 99)
    await w.receive(server, 99)
    await w.shutdown(client, s.SHUT_WR)
    await w.poll(client)
    await w.poll(server)
    await w.receive(server, 9)
    await w.send(client, b"no")
    await w.send(server, b"half open")
    await w.receive(client, 99)
    await w.close(server)
    await w.poll(client)
    await w.receive(client, 9)


@scenario
async def tcp_refused(w: World) -> None:
    one = await w.socket(s.AF_INET, s.SOCK_STREAM)
    closed = await w.socket(s.AF_INET, s.SOCK_STREAM)
    await w.bind(closed, inet(0))
    address = await w.local(closed)
    await w.connect(one, address)
    await w.poll(one)
    await w.getopt(one, s.SOL_SOCKET, s.SO_ERROR)
    await w.getopt(one, s.SOL_SOCKET, s.SO_ERROR)
    await w.poll(one)
    other = await w.socket(s.AF_INET, s.SOCK_STREAM)
    await w.connect(other, address)
    await w.connect(other, address)
    await w.listen(closed)
    await w.connect(other, address)
    await w.connect(other, address)


@scenario
async def tcp_reset_by_unread(w: World) -> None:
    _, client, server = await tcp_pair(w)
    await w.send(client, b"never read")
    await w.send(server, b"readable")
    await w.close(server)
    await w.poll(client)
    await w.receive(client, 99)
    await w.receive(client, 99)
    await w.receive(client, 99)
    await w.send(client, b"x")
    await w.poll(client)


@scenario
async def tcp_reset_by_linger(w: World) -> None:
    _, client, server = await tcp_pair(w)
    await w.setopt(server, s.SOL_SOCKET, s.SO_LINGER, struct.pack("ii", 1, 0))
    await w.close(server)
    await w.poll(client)
    await w.send(client, b"x")
    await w.send(client, b"x")
    await w.receive(client, 9)
    await w.remote(client)


@scenario
async def tcp_send_to_closed(w: World) -> None:
    _, client, server = await tcp_pair(w)
    await w.close(server)
    await w.poll(client)
    await w.send(client, b"swallowed")
    await w.poll(client)
    await w.receive(client, 9)
    await w.send(client, b"x")
    await w.send(client, b"x")
    await w.poll(client)


@scenario
async def tcp_listener_closes(w: World) -> None:
    listener = await w.socket(s.AF_INET, s.SOCK_STREAM)
    await w.bind(listener, inet(0))
    await w.listen(listener)
    client = await w.socket(s.AF_INET, s.SOCK_STREAM)
    await w.connect(client, await w.local(listener))
    await w.shutdown(listener, s.SHUT_WR)
    await w.poll(listener)
    await w.shutdown(listener, s.SHUT_RD)
    await w.accept(listener)
    await w.poll(listener)
    await w.poll(client)
    await w.receive(client, 1)


@scenario
async def tcp_urgent(w: World) -> None:
    for inline in (ZERO, ONE):
        _, client, server = await tcp_pair(w)
        await w.setopt(server, s.SOL_SOCKET, s.SO_OOBINLINE, inline)
        await w.receive(server, 1, s.MSG_OOB)
        await w.send(client, b"abc")
        await w.send(client, b"xY", s.MSG_OOB)
        await w.send(client, b"def")
        await w.poll(server)
        await w.ioctl(server, SIOCATMARK)
        await w.receive(server, 20)
        await w.ioctl(server, SIOCATMARK)
        await w.receive(server, 9, s.MSG_OOB)
        await w.receive(server, 9, s.MSG_OOB)
        await w.receive(server, 20)
        await w.poll(server)


@scenario
async def tcp_addresses_in_use(w: World) -> None:
    one, other, third = [await w.socket(s.AF_INET, s.SOCK_STREAM) for _ in range(3)]
    await w.bind(one, inet(0))
    address = await w.local(one)
    await w.bind(other, address)
    await w.bind(other, inet(port_of(address), "0.0.0.0"))
    await w.setopt(one, s.SOL_SOCKET, s.SO_REUSEADDR, ONE)
    await w.setopt(other, s.SOL_SOCKET, s.SO_REUSEADDR, ONE)
    await w.bind(other, address)
    await w.bind(third, inet(port_of(address), "127.0.0.2"))
    await w.bind(third, inet(0))
    await w.listen(one)
    await w.listen(other)
    fourth = await w.socket(s.AF_INET, s.SOCK_STREAM)
    await w.setopt(fourth, s.SOL_SOCKET, s.SO_REUSEADDR, ONE)
    await w.bind(fourth, address)


@scenario
async def tcp_reuse_port(w: World) -> None:
    one, other, third = [await w.socket(s.AF_INET, s.SOCK_STREAM) for _ in range(3)]
    await w.setopt(one, s.SOL_SOCKET, s.SO_REUSEPORT, ONE)
    await w.setopt(other, s.SOL_SOCKET, s.SO_REUSEPORT, ONE)
    await w.bind(one, inet(0))
    await w.bind(other, await w.local(one))
    await w.bind(third, await w.local(one))
    await w.listen(one)
    await w.listen(other)


@scenario
async def tcp_options(w: World) -> None:
    one = await w.socket(s.AF_INET, s.SOCK_STREAM)
    for name in (s.TCP_NODELAY, s.TCP_KEEPIDLE, s.TCP_KEEPINTVL, s.TCP_KEEPCNT, s.TCP_SYNCNT, s.TCP_CORK,
                 s.TCP_USER_TIMEOUT, s.TCP_QUICKACK, s.TCP_LINGER2, s.TCP_MAXSEG, 9999):  # fmt: skip
        await w.getopt(one, s.IPPROTO_TCP, name)
        await w.setopt(one, s.IPPROTO_TCP, name, struct.pack("i", 7))
        await w.getopt(one, s.IPPROTO_TCP, name)
        await w.setopt(one, s.IPPROTO_TCP, name, b"\1")
    await w.setopt(one, s.IPPROTO_TCP, s.TCP_KEEPIDLE, ZERO)
    await w.setopt(one, s.IPPROTO_TCP, s.TCP_KEEPCNT, struct.pack("i", 1000))
    for name in (s.SO_SNDBUF, s.SO_RCVBUF, s.SO_KEEPALIVE, s.SO_REUSEADDR, s.SO_TYPE, s.SO_PROTOCOL, s.SO_DOMAIN,
                 s.SO_RCVLOWAT, s.SO_ERROR, s.SO_ACCEPTCONN, s.SO_OOBINLINE, 12345):  # fmt: skip
        await w.getopt(one, s.SOL_SOCKET, name)
    await w.getopt(one, s.SOL_SOCKET, s.SO_LINGER, 8)
    await w.setopt(one, s.SOL_SOCKET, s.SO_RCVTIMEO, struct.pack("qq", 1, 500000))
    await w.getopt(one, s.SOL_SOCKET, s.SO_RCVTIMEO, 16)
    await w.setopt(one, s.SOL_SOCKET, s.SO_RCVTIMEO, struct.pack("qq", 1, 5000000))
    await w.setopt(one, s.SOL_SOCKET, s.SO_KEEPALIVE, b"\1")
    for name in (s.IP_TOS, s.IP_TTL, 10, 14, s.IP_MULTICAST_TTL):
        await w.getopt(one, s.IPPROTO_IP, name)
    await w.setopt(one, s.IPPROTO_IP, s.IP_TTL, ZERO)
    await w.setopt(one, s.IPPROTO_IPV6, s.IPV6_V6ONLY, ONE)


@scenario
async def tcp_v6(w: World) -> None:
    listener = await w.socket(s.AF_INET6, s.SOCK_STREAM)
    await w.bind(listener, inet6(0, "::"))
    await w.listen(listener)
    port = port_of(await w.local(listener))
    four, six = await w.socket(s.AF_INET, s.SOCK_STREAM), await w.socket(s.AF_INET6, s.SOCK_STREAM)
    await w.connect(four, inet(port))
    await w.connect(six, inet6(port))
    first, second = await w.accept(listener), await w.accept(listener)
    w.log.append((await w.local(first))[8:])
    w.log.append((await w.local(second))[8:])
    clash = await w.socket(s.AF_INET, s.SOCK_STREAM)
    await w.bind(clash, inet(port, "0.0.0.0"))
    only = await w.socket(s.AF_INET6, s.SOCK_STREAM)
    await w.setopt(only, s.IPPROTO_IPV6, s.IPV6_V6ONLY, ONE)
    await w.bind(only, inet6(0, "::"))
    await w.listen(only)
    port = port_of(await w.local(only))
    await w.bind(clash, inet(port, "0.0.0.0"))
    await w.bind(only, inet6(0, "::1")[:20])
    mapped = await w.socket(s.AF_INET6, s.SOCK_STREAM)
    await w.bind(mapped, inet6(0, "::ffff:127.0.0.1"))
    await w.listen(mapped)
    await w.connect(four, inet(port_of(await w.local(mapped))))


@scenario
async def tcp_connect_to_any(w: World) -> None:
    listener = await w.socket(s.AF_INET, s.SOCK_STREAM)
    await w.bind(listener, inet(0, "0.0.0.0"))
    await w.listen(listener)
    port = port_of(await w.local(listener))
    one, other = [await w.socket(s.AF_INET, s.SOCK_STREAM) for _ in range(2)]
    await w.connect(one, inet(port, "0.0.0.0"))
    w.log.append((await w.local(one))[4:8])
    await w.connect(other, inet(port, "127.9.8.7"))
    w.log.append((await w.local(other))[4:8])
    await w.accept(listener)
    last = await w.accept(listener)
    w.log.append((await w.local(last))[4:8])


@scenario
async def tcp_disconnect(w: World) -> None:
    listener, client, server = await tcp_pair(w)
    await w.connect(client, b"\0\0" + bytes(14))
    await w.poll(server)
    await w.receive(server, 1)
    await w.remote(client)
    await w.poll(client)
    await w.connect(client, await w.local(listener))
    await w.poll(client)


# -- UDP ----------------------------------------------------------------------


@scenario
async def udp_fresh(w: World) -> None:
    one = await w.socket(s.AF_INET, s.SOCK_DGRAM)
    await w.poll(one)
    await w.receive(one, 1)
    await w.send(one, b"x")
    await w.send(one, b"x", 0, inet(0))
    await w.remote(one)
    await w.listen(one)
    await w.accept(one)
    await w.shutdown(one, s.SHUT_RDWR)
    await w.poll(one)
    await w.receive(one, 1)
    two = await w.socket(s.AF_INET, s.SOCK_DGRAM)
    await w.send(two, bytes(65508), 0, inet(9))
    await w.send(two, b"x", s.MSG_OOB, inet(9))
    await w.bind(two, inet(0, "10.1.2.3"))


@scenario
async def udp_talk(w: World) -> None:
    server, client = [await w.socket(s.AF_INET, s.SOCK_DGRAM) for _ in range(2)]
    await w.bind(server, inet(0))
    address = await w.local(server)
    await w.send(client, b"abcdef", 0, address)
    await w.send(client, b"", 0, address)
    await w.poll(server)
    await w.ioctl(server, SIOCINQ)
    await w.receive(server, 2, s.MSG_PEEK)
    await w.receive(server, 2)
    await w.receive(server, 2)
    await w.receive(server, 2)
    await w.connect(client, address)
    await w.connect(server, await w.local(client))
    stranger = await w.socket(s.AF_INET, s.SOCK_DGRAM)
    await w.send(stranger, b"not for you", 0, address)
    await w.send(client, b"for you")
    await w.receive(server, 99)
    await w.receive(server, 99)
    await w.send(server, b"max" + bytes(65504), 0)
    await w.receive(client, 3)


@scenario
async def udp_refused(w: World) -> None:
    gone, client = [await w.socket(s.AF_INET, s.SOCK_DGRAM) for _ in range(2)]
    await w.bind(gone, inet(0))
    address = await w.local(gone)
    await w.close(gone)
    w.sockets[gone] = None
    await w.send(client, b"unconnected", 0, address)
    await w.poll(client)
    await w.connect(client, address)
    await w.send(client, b"x")
    await w.poll(client)
    await w.receive(client, 1)
    await w.receive(client, 1)
    await w.send(client, b"x")
    await w.send(client, b"x")
    await w.send(client, b"x")


@scenario
async def udp_disconnect(w: World) -> None:
    one, other = [await w.socket(s.AF_INET, s.SOCK_DGRAM) for _ in range(2)]
    await w.bind(other, inet(0))
    await w.connect(one, await w.local(other))
    await w.connect(one, b"\0\0" + bytes(14))
    w.log.append(await w.local(one))
    await w.send(one, b"x")
    bound = await w.socket(s.AF_INET, s.SOCK_DGRAM)
    await w.bind(bound, inet(0))
    await w.connect(bound, await w.local(other))
    w.log.append((await w.local(bound))[4:8])
    await w.connect(bound, b"\0\0" + bytes(14))
    w.log.append((await w.local(bound))[4:8])
    w.log.append(port_of(await w.local(bound)) > 0)


@scenario
async def udp_v6(w: World) -> None:
    server = await w.socket(s.AF_INET6, s.SOCK_DGRAM)
    await w.bind(server, inet6(0, "::"))
    port = port_of(await w.local(server))
    four, six = await w.socket(s.AF_INET, s.SOCK_DGRAM), await w.socket(s.AF_INET6, s.SOCK_DGRAM)
    await w.send(four, b"4", 0, inet(port))
    await w.send(six, b"6", 0, inet6(port))
    await w.send(six, b"mapped", 0, inet6(port, "::ffff:127.0.0.1"))
    await w.send(six, b"plain 4", 0, inet(port))
    for _ in range(4):
        await w.receive(server, 99)


@scenario
async def udp_shared_port(w: World) -> None:
    one, other, third = [await w.socket(s.AF_INET, s.SOCK_DGRAM) for _ in range(3)]
    await w.setopt(one, s.SOL_SOCKET, s.SO_REUSEADDR, ONE)
    await w.setopt(other, s.SOL_SOCKET, s.SO_REUSEADDR, ONE)
    await w.bind(one, inet(0))
    await w.bind(other, await w.local(one))
    await w.bind(third, await w.local(one))


@scenario
async def udp_cork(w: World) -> None:
    one, other = [await w.socket(s.AF_INET, s.SOCK_DGRAM) for _ in range(2)]
    await w.bind(other, inet(0))
    await w.connect(one, await w.local(other))
    await w.send(one, b"head", s.MSG_MORE)
    await w.receive(other, 99)
    await w.send(one, b"tail")
    await w.receive(other, 99)
    await w.setopt(one, s.IPPROTO_UDP, 1, ONE)
    await w.send(one, b"a")
    await w.send(one, b"b")
    await w.setopt(one, s.IPPROTO_UDP, 1, ZERO)
    await w.receive(other, 99)


# -- families -----------------------------------------------------------------


@scenario
async def families(w: World) -> None:
    await w.socket(s.AF_UNIX, s.SOCK_STREAM, 1)
    await w.socket(s.AF_UNIX, s.SOCK_STREAM, 2)
    await w.socket(s.AF_UNIX, s.SOCK_RDM)
    await w.socket(s.AF_UNIX, 12)
    await w.socket(s.AF_INET, s.SOCK_STREAM, s.IPPROTO_UDP)
    await w.socket(s.AF_INET, s.SOCK_DGRAM, s.IPPROTO_TCP)
    await w.socket(s.AF_INET, s.SOCK_SEQPACKET)
    await w.socket(s.AF_INET, s.SOCK_STREAM, s.IPPROTO_TCP)
    await w.socket(s.AF_INET, s.SOCK_STREAM, 3000)
    await w.socket(s.AF_INET, s.SOCK_RAW)
    await w.socket(99, s.SOCK_STREAM)
    await w.socket(s.AF_NETLINK, s.SOCK_STREAM)


@pytest.mark.parametrize("name", list(SCENARIOS))
async def test_as_linux_does(name: str) -> None:
    expected, found = await play(SCENARIOS[name])
    assert found == expected
