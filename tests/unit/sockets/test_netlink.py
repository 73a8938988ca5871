"""rtnetlink and the interface ioctls: what programs learn of the one interface there is."""

from __future__ import annotations

import errno
import socket as s
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.user import PythonPointer
from occlum_async.io.sockets import netlink
from occlum_async.io.sockets import nlmsg as nl
from occlum_async.io.sockets import rtnetlink as rt

from .oracle import make_stack

HEADER = nl.HEADER
DUMP = nl.NLM_F_REQUEST | nl.NLM_F_DUMP


def make() -> Any:
    one: Any = make_stack().create(s.AF_NETLINK, s.SOCK_RAW, 0)
    one.flags |= 0o4000
    return one


async def ask(one: Any, kind: int, flags: int, body: bytes = b"\0") -> list[tuple[int, int, bytes]]:
    """Send one request; the messages of the answer as (type, sequence, body)."""
    await one.send(HEADER.pack(HEADER.size + len(body), kind, flags, 7, 0) + body)
    messages = []
    while one.poll() & 1:
        data = await one.read(65536)
        while data:
            length, reply, _, sequence, port = HEADER.unpack_from(data)
            assert port == one.port
            messages.append((reply, sequence, data[HEADER.size : length]))
            data = data[(length + 3) & ~3 :]
    return messages


def attributes(body: bytes, at: int) -> dict[int, bytes]:
    found = {}
    while at < len(body):
        length, kind = struct.unpack_from("<HH", body, at)
        found[kind] = body[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


async def test_links() -> None:
    (kind, sequence, body), done = await ask(make(), rt.RTM_GETLINK, DUMP)
    assert (kind, sequence, done[0]) == (rt.RTM_NEWLINK, 7, nl.NLMSG_DONE)
    found = attributes(body, 16)
    assert found[rt.IFLA_IFNAME] == b"lo\0" and struct.unpack_from("<i", body, 4) == (1,)
    assert struct.unpack("<I", found[rt.IFLA_MTU]) == (65536,)


@pytest.mark.parametrize(("family", "count"), [(0, 2), (s.AF_INET, 1), (s.AF_INET6, 1), (5, 0)])
async def test_addresses(family: int, count: int) -> None:
    *answers, done = await ask(make(), rt.RTM_GETADDR, DUMP, bytes([family]))
    assert len(answers) == count and done[0] == nl.NLMSG_DONE
    hosts = {attributes(body, 8)[rt.IFA_ADDRESS] for _, _, body in answers}
    assert hosts <= {b"\x7f\0\0\x01", bytes(15) + b"\x01"}


@pytest.mark.parametrize(("kind", "number"), [(16, errno.EPERM), (20, errno.EPERM), (54, errno.EOPNOTSUPP)])
async def test_refusals(kind: int, number: int) -> None:
    ((reply, _, body),) = await ask(make(), kind, nl.NLM_F_REQUEST)
    assert reply == nl.NLMSG_ERROR and struct.unpack_from("<i", body) == (-number,)


async def test_names() -> None:
    one = make()
    one.bind(one.parse_address(struct.pack("<HHII", s.AF_NETLINK, 0, 0, 0)))
    assert one.local() == struct.pack("<HHII", s.AF_NETLINK, 0, 1, 0)
    other: Any = one.stack.create(s.AF_NETLINK, s.SOCK_RAW, 0)
    other.autobind()
    assert other.port not in (0, 1)
    one.close()
    other.close()
    assert not one.stack.netlink_ports


async def test_unread_answers_are_bounded() -> None:
    one = make()
    for _ in range(netlink.QUEUE_LIMIT + 1):
        await one.send(HEADER.pack(17, 16, nl.NLM_F_REQUEST, 1, 0) + b"\0")
    with pytest.raises(SyscallError) as caught:
        await one.read(9)
    assert caught.value.errno == errno.ENOBUFS


@given(st.binary(max_size=120))
async def test_any_bytes_are_survived(data: bytes) -> None:
    await make().send(data)


async def test_interface_ioctls() -> None:
    one = make_stack().create(s.AF_INET, s.SOCK_DGRAM, 0)
    request = bytearray(b"lo".ljust(40, b"\0"))
    await one.ioctl(None, 0x8915, PythonPointer(request))
    assert bytes(request[16:24]) == struct.pack("<HH4s", s.AF_INET, 0, b"\x7f\0\0\x01")
    refusals = ((0x8913, b"eth0", errno.ENODEV), (0x8914, b"lo", errno.EPERM), (1, b"lo", errno.ENOTTY))
    for command, name, number in refusals:
        with pytest.raises(SyscallError) as caught:
            await one.ioctl(None, command, PythonPointer(bytearray(name.ljust(40, b"\0"))))
        assert caught.value.errno == number


@pytest.mark.parametrize(("family", "tables"), [(0, [255, 254, 253, 255, 254]), (s.AF_INET6, [255, 254])])
async def test_rules(family: int, tables: list[int]) -> None:
    *answers, done = await ask(make(), rt.RTM_GETRULE, DUMP, bytes([family]))
    assert [struct.unpack("<I", attributes(body, 12)[rt.FRA_TABLE])[0] for _, _, body in answers] == tables
    assert done[0] == nl.NLMSG_DONE
