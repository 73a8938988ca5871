"""Waiting: who blocks, who wakes whom, time-outs, and signals."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket as s
import struct
from collections.abc import Awaitable
from typing import Any

import pytest

from occlum_async.abi.errors import Interrupted, SyscallError
from occlum_async.abi.socket import InetAddress, UnixAddress
from occlum_async.io.sockets.stack import NetworkStack

from .oracle import make_stack

LOCAL = b"\x7f\0\0\1"


async def fails(number: int, action: Awaitable[Any]) -> SyscallError:
    with pytest.raises(SyscallError) as caught:
        await action
    assert caught.value.errno == number
    return caught.value


def unix_pair(stack: NetworkStack, kind: int = s.SOCK_STREAM) -> tuple[Any, Any]:
    one, other = stack.pair(s.AF_UNIX, kind, 0)
    one.acquire()
    other.acquire()
    return one, other


async def tcp_pair(stack: NetworkStack) -> tuple[Any, Any, Any]:
    listener: Any = stack.create(s.AF_INET, s.SOCK_STREAM, 0)
    listener.bind(InetAddress(LOCAL, 0))
    listener.listen(4)
    client: Any = stack.create(s.AF_INET, s.SOCK_STREAM, 0)
    await client.connect(listener.name)
    return listener, client, await listener.accept()


async def started(action: Awaitable[Any]) -> asyncio.Task[Any]:
    """A task that runs ``action`` and has got as far as it can."""
    task = asyncio.ensure_future(action)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    return task


@pytest.mark.parametrize("kind", [s.SOCK_STREAM, s.SOCK_DGRAM, s.SOCK_SEQPACKET])
async def test_a_reader_waits_for_a_writer(kind: int) -> None:
    one, other = unix_pair(make_stack(), kind)
    reader = await started(other.read(10))
    assert await one.write(b"hello") == 5
    assert await reader == b"hello"


async def test_a_whole_write_is_read_without_a_copy() -> None:
    one, other = unix_pair(make_stack())
    data = bytes(1000)
    await one.write(data)
    assert await other.read(4096) is data


@pytest.mark.parametrize("family", [s.AF_UNIX, s.AF_INET])
async def test_a_long_write_waits_until_all_is_taken(family: int) -> None:
    stack = make_stack()
    one, other = unix_pair(stack) if family == s.AF_UNIX else (await tcp_pair(stack))[1:]
    data = bytes(range(256)) * 40000
    writer = await started(one.write(data))
    received = bytearray()
    while len(received) < len(data):
        received += await other.read(100_000)
    assert await writer == len(data)
    assert received == data
    assert one.sent == 0


async def test_a_full_stream_is_writable_again_when_three_quarters_are_free() -> None:
    one, other = unix_pair(make_stack())
    one.flags |= 0o4000
    sent = 0
    with pytest.raises(SyscallError):
        while True:
            sent += await one.write(bytes(4096))
    assert not one.poll() & 4
    woken: list[int] = []
    one.waiters.add(woken.append, 4)
    left = sent
    while not one.poll() & 4:
        assert not woken
        left -= len(await other.read(4096))
    assert len(woken) == 1
    assert left <= sent / 4 + 4096


async def test_waitall_gathers_and_a_close_ends_it() -> None:
    one, other = unix_pair(make_stack())
    reader = await started(other.receive(10, s.MSG_WAITALL))
    await one.write(b"01234")
    await asyncio.sleep(0)
    assert not reader.done()
    await one.write(b"56789ab")
    assert (await reader).data == b"0123456789"
    reader = await started(other.receive(10, s.MSG_WAITALL))
    one.release()
    assert (await reader).data == b"ab"
    assert await other.read(5) == b""


async def test_low_water_mark() -> None:
    one, other = unix_pair(make_stack())
    other.setsockopt(s.SOL_SOCKET, s.SO_RCVLOWAT, struct.pack("i", 4))
    await one.write(b"ab")
    reader = await started(other.receive(10))
    await one.write(b"cd")
    assert (await reader).data == b"abcd"


async def test_broken_pipe_comes_with_a_signal_unless_refused() -> None:
    one, other = unix_pair(make_stack())
    other.release()
    assert (await fails(errno.EPIPE, one.write(b"x"))).signal == signal.SIGPIPE
    assert (await fails(errno.EPIPE, one.send(b"x", s.MSG_NOSIGNAL))).signal == 0
    one, other = unix_pair(make_stack(), s.SOCK_SEQPACKET)
    other.release()
    assert (await fails(errno.EPIPE, one.write(b"x"))).signal == 0


async def test_a_blocked_writer_learns_that_the_reader_is_gone() -> None:
    one, other = unix_pair(make_stack())
    writer = await started(one.write(bytes(1_000_000)))
    other.release()
    assert 0 < await writer < 1_000_000
    await fails(errno.EPIPE, one.write(b"x"))


async def test_time_outs() -> None:
    one, other = unix_pair(make_stack())
    one.setsockopt(s.SOL_SOCKET, s.SO_RCVTIMEO, struct.pack("qq", 0, 1000))
    await fails(errno.EAGAIN, one.read(1))
    one.setsockopt(s.SOL_SOCKET, s.SO_SNDTIMEO, struct.pack("qq", 0, 1000))
    assert 0 < await one.write(bytes(1_000_000)) < 1_000_000
    await fails(errno.EAGAIN, one.write(b"x"))
    assert other.unread() > 0


async def test_a_signal_interrupts_a_wait() -> None:
    one, _ = unix_pair(make_stack())
    scheduler = one.scheduler

    async def read() -> None:
        scheduler.current()
        await one.read(1)

    task = await started(read())
    strand = scheduler._task_strands[task]
    strand.interrupt()
    with pytest.raises(Interrupted):
        await task
    # With a time-out it is EINTR, which is never restarted.
    one.setsockopt(s.SOL_SOCKET, s.SO_RCVTIMEO, struct.pack("qq", 9, 0))
    task = await started(read())
    scheduler._task_strands[task].interrupt()
    await fails(errno.EINTR, task)


async def test_accept_wakes_one_waiter_for_each_connection() -> None:
    stack = make_stack()
    listener: Any = stack.create(s.AF_UNIX, s.SOCK_STREAM, 0)
    listener.bind(UnixAddress(b"\0here"))
    listener.listen(8)
    waiters = [await started(listener.accept()) for _ in range(2)]
    first: Any = stack.create(s.AF_UNIX, s.SOCK_STREAM, 0)
    await first.connect(UnixAddress(b"\0here"))
    assert (await waiters[0]).peer is first
    assert not waiters[1].done()
    second: Any = stack.create(s.AF_UNIX, s.SOCK_STREAM, 0)
    await second.connect(UnixAddress(b"\0here"))
    assert (await waiters[1]).peer is second


@pytest.mark.parametrize("family", [s.AF_UNIX, s.AF_INET])
async def test_connect_waits_for_the_backlog(family: int) -> None:
    stack = make_stack()
    listener: Any = stack.create(family, s.SOCK_STREAM, 0)
    listener.bind(UnixAddress(b"\0full") if family == s.AF_UNIX else InetAddress(LOCAL, 0))
    listener.listen(0)
    clients: list[Any] = [stack.create(family, s.SOCK_STREAM, 0) for _ in range(3)]
    await clients[0].connect(listener.name)
    blocked = [await started(client.connect(listener.name)) for client in clients[1:]]
    assert (await listener.accept()).peer is clients[0]
    await blocked[0]
    assert not blocked[1].done()
    listener.close()
    await fails(errno.ECONNREFUSED, blocked[1])
    await fails(errno.ECONNRESET, clients[1].read(1))


async def test_tcp_connect_in_progress_ends_when_the_backlog_has_room() -> None:
    stack = make_stack()
    listener: Any = stack.create(s.AF_INET, s.SOCK_STREAM, 0)
    listener.bind(InetAddress(LOCAL, 0))
    listener.listen(0)
    first: Any = stack.create(s.AF_INET, s.SOCK_STREAM, 0)
    await first.connect(listener.name)
    second: Any = stack.create(s.AF_INET, s.SOCK_STREAM, 0)
    second.flags |= 0o4000
    await fails(errno.EINPROGRESS, second.connect(listener.name))
    await fails(errno.EALREADY, second.connect(listener.name))
    assert second.poll() == 0
    woken: list[int] = []
    second.waiters.add(woken.append, 4)
    await listener.accept()
    assert woken and second.poll() & 4
    await second.connect(listener.name)
    await fails(errno.EISCONN, second.connect(listener.name))


async def test_datagrams_wait_for_room_at_a_receiver_that_is_not_connected_back() -> None:
    stack = make_stack()
    server: Any = stack.create(s.AF_UNIX, s.SOCK_DGRAM, 0)
    server.bind(UnixAddress(b"\0sink"))
    client: Any = stack.create(s.AF_UNIX, s.SOCK_DGRAM, 0)
    await client.connect(UnixAddress(b"\0sink"))
    for _ in range(11):
        await client.write(b"x")
    assert not client.poll() & 4
    woken: list[int] = []
    client.waiters.add(woken.append, 4)
    writer = await started(client.write(b"y"))
    await server.read(1)
    assert woken
    assert await writer == 1


async def test_udp_loses_what_does_not_fit() -> None:
    stack = make_stack()
    server: Any = stack.create(s.AF_INET, s.SOCK_DGRAM, 0)
    server.bind(InetAddress(LOCAL, 0))
    server.flags |= 0o4000
    client: Any = stack.create(s.AF_INET, s.SOCK_DGRAM, 0)
    for _ in range(100):
        assert await client.send(bytes(60000), 0, server.name) == 60000
    received = 0
    with pytest.raises(SyscallError):
        while True:
            received += len((await server.receive(65536)).data)
    assert 0 < received < server.receive_limit
    assert server._queued == 0


async def test_privileged_ports_need_the_capability() -> None:
    from occlum_async.io.sockets.socket import Identity

    stack = make_stack(Identity(1, 1000, 1000, 1000, 1000))
    one: Any = stack.create(s.AF_INET, s.SOCK_STREAM, 0)
    with pytest.raises(SyscallError) as caught:
        one.bind(InetAddress(LOCAL, 80))
    assert caught.value.errno == errno.EACCES
    make: Any = make_stack().create(s.AF_INET, s.SOCK_STREAM, 0)
    make.bind(InetAddress(LOCAL, 80))
    await fails(errno.ENETUNREACH, one.connect(InetAddress(b"\x08\x08\x08\x08", 53)))
