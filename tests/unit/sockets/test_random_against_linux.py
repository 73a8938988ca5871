"""Random sequences of operations on a pair of sockets, on Linux and in the LibOS."""

from __future__ import annotations

import socket as s
import struct
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .oracle import World, play
from .test_against_linux import tcp_pair

ENDS = st.integers(0, 1)
SIZES = st.sampled_from([0, 1, 3, 10, 100])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), ENDS, SIZES),
        st.tuples(st.just("receive"), ENDS, SIZES, st.sampled_from([0, 0, s.MSG_PEEK, s.MSG_TRUNC, s.MSG_WAITALL])),
        st.tuples(st.just("shutdown"), ENDS, st.sampled_from([s.SHUT_RD, s.SHUT_WR, s.SHUT_RDWR])),
        st.tuples(st.just("close"), ENDS),
        st.tuples(st.just("poll"), ENDS),
        st.tuples(st.just("peer"), ENDS),
        st.tuples(st.just("error"), ENDS),
        st.tuples(st.just("files"), ENDS),
        st.tuples(st.just("receive_files"), ENDS),
        st.tuples(st.just("unread"), ENDS),
    ),
    max_size=14,
)


async def run(w: World, pair: tuple[int, int], carried: int, steps: list[Any], unix: bool) -> None:
    world: Any = w
    alive = [True, True]
    counter = 0
    for name, end, *rest in steps:
        one = pair[end]
        if not alive[end]:
            continue
        if name == "send":
            (size,) = rest
            data = bytes((counter + i) % 256 for i in range(size))
            counter += size
            await world.send(one, data)
        elif name == "receive":
            size, flags = rest
            # TCP throws away what MSG_TRUNC asks for: a matter of the system call, not of the socket.
            # A unix socket's MSG_WAITALL forgets a pending error that ends it early: not worth having.
            flags = 0 if flags == (s.MSG_WAITALL if unix else s.MSG_TRUNC) else flags
            await world.receive(one, size, flags)
        elif name == "shutdown":
            await world.shutdown(one, rest[0])
        elif name == "close":
            alive[end] = False
            await world.close(one)
            w.sockets[one] = None
        elif name == "peer" and unix:
            await world.remote(one)
        elif name == "error":
            await world.getopt(one, s.SOL_SOCKET, s.SO_ERROR)
        elif name == "files" and unix:
            await world.send_file(one, b"file", carried)
        elif name == "receive_files" and unix:
            await world.receive_file(one, 7)
        elif name == "unread":
            await world.ioctl(one, 0x541B)
        await poll_alive(world, pair, alive)


async def poll_alive(world: Any, pair: tuple[int, int], alive: list[bool]) -> None:
    for end in (0, 1):
        if alive[end]:
            await world.poll(pair[end])


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(kind=st.sampled_from([s.SOCK_STREAM, s.SOCK_DGRAM, s.SOCK_SEQPACKET]), steps=STEPS)
async def test_unix_pairs(kind: int, steps: list[Any]) -> None:
    async def scenario(w: Any) -> None:
        pair = await w.pair(kind)
        carried, _ = await w.pair(s.SOCK_STREAM)
        await run(w, pair, carried, steps, True)

    expected, found = await play(scenario)
    assert found == expected


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS, linger=st.booleans())
async def test_tcp_connections(steps: list[Any], linger: bool) -> None:
    async def scenario(w: Any) -> None:
        _, client, server = await tcp_pair(w)
        for end in (client, server):
            # Without it, data may lie on Linux' sending side until an acknowledgement comes, and be reset there.
            await w.setopt(end, s.IPPROTO_TCP, s.TCP_NODELAY, struct.pack("i", 1))
        if linger:
            await w.setopt(server, s.SOL_SOCKET, s.SO_LINGER, struct.pack("ii", 1, 0))
        await run(w, (client, server), 0, steps, False)

    expected, found = await play(scenario)
    assert found == expected
