"""Files and credentials that travel with messages, and what becomes of files that nobody receives."""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket as s
import struct
from typing import Any

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.socket import UCRED, ControlMessage, ControlWriter, UnixAddress, decode_control
from occlum_async.io.sockets import flight
from occlum_async.io.sockets.socket import Ancillary, Identity
from occlum_async.io.sockets.stack import NetworkStack
from occlum_async.sched.strand import Scheduler

from .oracle import make_stack

ONE = struct.pack("i", 1)


def pair(stack: NetworkStack, kind: int = s.SOCK_STREAM) -> tuple[Any, Any]:
    one, other = stack.pair(s.AF_UNIX, kind, 0)
    return one.acquire(), other.acquire()


async def give(sender: Any, *files: Any) -> None:
    await sender.send(b"x", 0, None, Ancillary([file.acquire() for file in files]))


@pytest.mark.parametrize("kind", [s.SOCK_STREAM, s.SOCK_DGRAM, s.SOCK_SEQPACKET])
async def test_a_received_file_is_the_callers(kind: int) -> None:
    stack = make_stack()
    one, other = pair(stack, kind)
    carried, far = pair(stack)
    await give(one, carried)
    carried.release()
    assert not carried.closed and stack.flight.count == 1
    received = await other.receive(10)
    assert received.files == [carried] and carried.users == 1 and stack.flight.count == 0
    carried.release()
    assert carried.closed
    assert await far.read(1) == b""


async def test_peeking_copies_the_references() -> None:
    stack = make_stack()
    one, other = pair(stack)
    carried, _ = pair(stack)
    await give(one, carried)
    peeked = await other.receive(10, s.MSG_PEEK)
    assert peeked.files == [carried] and carried.users == 3
    stack.flight.discard(peeked.files)
    assert (await other.receive(10)).files == [carried]


async def test_a_file_that_is_not_received_is_closed_with_the_socket() -> None:
    stack = make_stack()
    one, other = pair(stack)
    carried, _ = pair(stack)
    await give(one, carried)
    carried.release()
    other.release()
    assert carried.closed and not stack.flight.sockets


async def test_a_refused_message_releases_its_files() -> None:
    stack = make_stack()
    one, other = pair(stack)
    carried, _ = pair(stack)
    other.release()
    with pytest.raises(SyscallError):
        await give(one, carried)
    assert carried.users == 1


async def test_cycles_are_found() -> None:
    stack = make_stack()
    one, other = pair(stack)
    await give(one, one)  # each lies in the other's queue
    await give(other, other)
    bystander, _ = pair(stack)
    await give(one, bystander)
    bystander.release()
    one.release()
    assert not one.closed
    other.release()
    assert not other.closed
    await asyncio.sleep(0.001)
    assert one.closed and other.closed and bystander.closed
    assert not stack.flight.count and not stack.flight.sockets


async def test_what_somebody_can_still_receive_is_no_garbage() -> None:
    stack = make_stack()
    one, other = pair(stack)
    inner, inner_far = pair(stack)
    await give(inner_far, inner)  # a cycle of its own
    await give(one, inner)  # but reachable through a socket that is held
    inner.release()
    await asyncio.sleep(0.001)
    assert not inner.closed
    received = (await other.receive(1)).files[0]
    assert received is inner
    inner_far.release()
    inner.release()
    await asyncio.sleep(0.001)
    assert inner.closed


async def test_deep_chains_close_without_recursion() -> None:
    stack = make_stack()
    ends = [pair(stack) for _ in range(3000)]
    for (_, before), (sender, after) in itertools.pairwise(ends):
        await give(sender, before)  # lies in the queue of ``after``
        before.release()
        sender.release()
        assert not after.closed
    ends[-1][1].release()
    assert all(after.closed for _, after in ends)
    assert not stack.flight.count


async def test_the_number_of_files_on_their_way_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight, "LIMIT", 2)
    stack = make_stack()
    one, _ = pair(stack)
    carried, _ = pair(stack)
    await give(one, carried, carried)
    with pytest.raises(SyscallError) as caught:
        await give(one, carried)
    assert caught.value.errno == errno.ETOOMANYREFS and carried.users == 3


def packed(identity: tuple[int, int, int]) -> list[ControlMessage]:
    return [ControlMessage(s.SOL_SOCKET, s.SCM_CREDENTIALS, UCRED.pack(*identity))]


async def test_credentials() -> None:
    who = [Identity(10, 1, 2, 3, 4, (5, 6), -1)]
    stack = NetworkStack(Scheduler(asyncio.get_running_loop()), lambda: who[0])
    one, other = pair(stack)
    assert UCRED.unpack(other.getsockopt(s.SOL_SOCKET, s.SO_PEERCRED, 12)) == (10, 3, 4)
    await one.write(b"early")
    other.setsockopt(s.SOL_SOCKET, s.SO_PASSCRED, ONE)
    assert (await other.receive(9)).control == packed((0, 65534, 65534))
    await one.write(b"mine")
    who[0] = Identity(11, 7, 8)
    await one.write(b"his")
    await one.send(b"hers", 0, None, Ancillary(credentials=(12, 9, 9)))
    assert [((r := await other.receive(99)).data, r.control) for _ in range(3)] == [
        (b"mine", packed((10, 1, 2))),
        (b"his", packed((11, 7, 8))),
        (b"hers", packed((12, 9, 9))),
    ]
    assert other.getsockopt(s.SOL_SOCKET, 59, 64) == struct.pack("<2I", 5, 6)
    with pytest.raises(SyscallError) as caught:
        other.getsockopt(s.SOL_SOCKET, 59, 4)
    assert caught.value.errno == errno.ERANGE


async def test_peer_credentials_of_a_connection() -> None:
    who = [Identity(20, 1, 1, 1, 1)]
    stack = NetworkStack(Scheduler(asyncio.get_running_loop()), lambda: who[0])
    listener: Any = stack.create(s.AF_UNIX, s.SOCK_STREAM, 0)
    assert UCRED.unpack(listener.getsockopt(s.SOL_SOCKET, s.SO_PEERCRED, 12)) == (0, -1 & 0xFFFFFFFF, -1 & 0xFFFFFFFF)
    listener.bind(UnixAddress(b"\0x"))
    listener.listen(1)
    who[0] = Identity(21, 2, 2, 2, 2)
    client: Any = stack.create(s.AF_UNIX, s.SOCK_STREAM, 0)
    await client.connect(UnixAddress(b"\0x"))
    who[0] = Identity(22, 3, 3, 3, 3)
    server = await listener.accept()
    assert UCRED.unpack(client.getsockopt(s.SOL_SOCKET, s.SO_PEERCRED, 12))[0] == 20
    assert UCRED.unpack(server.getsockopt(s.SOL_SOCKET, s.SO_PEERCRED, 12))[0] == 21


def test_control_messages_are_cut_to_the_room() -> None:
    whole = ControlWriter(64)
    whole.put(ControlMessage(1, 2, b"abc"))
    whole.put(ControlMessage(1, 3, b"defgh"))
    assert decode_control(bytes(whole.data)) == [ControlMessage(1, 2, b"abc"), ControlMessage(1, 3, b"defgh")]
    assert not whole.truncated
    short = ControlWriter(18)
    short.put(ControlMessage(1, 2, b"abc"))
    assert short.truncated and len(short.data) == 18
    none = ControlWriter(8)
    none.put(ControlMessage(1, 2, b""))
    assert none.truncated and not none.data


@pytest.mark.parametrize("length", [0, 15, 25, 1 << 63])
def test_control_headers_that_lie(length: int) -> None:
    with pytest.raises(SyscallError) as caught:
        decode_control(struct.pack("<Qii", length, 1, 1) + bytes(8))
    assert caught.value.errno == errno.EINVAL
