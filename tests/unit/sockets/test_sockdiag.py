"""sock_diag: which questions are answered, which refused, and that a long answer is bounded."""

from __future__ import annotations

import errno
import socket as s
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.socket import InetAddress
from occlum_async.io.sockets import netlink
from occlum_async.io.sockets import nlmsg as nl
from occlum_async.io.sockets.diagfilter import Endpoints, Filter
from occlum_async.io.sockets.sockdiag import SOCK_DESTROY, SOCK_DIAG_BY_FAMILY

from .oracle import make_stack

DIAG, ONE, ALL = 4, nl.NLM_F_REQUEST, nl.NLM_F_REQUEST | nl.NLM_F_DUMP
NO_COOKIE = (1 << 64) - 1
HOME = b"\x7f\0\0\x01"


def inet(family: int, protocol: int, source: int = 0, destination: int = 0, cookie: int = NO_COOKIE) -> bytes:
    ends = struct.pack(">HH16s16s", source, destination, HOME, HOME)
    return struct.pack("<BBBxI", family, protocol, 0, 0xFFF) + ends + struct.pack("<IQ", 0, cookie)


def unix(inode: int = 0, cookie: int = NO_COOKIE, protocol: int = 0) -> bytes:
    return struct.pack("<BBHIIIQ", s.AF_UNIX, protocol, 0, 0xFFF, inode, 0x7F, cookie)


def make(stack: Any = None) -> Any:
    one: Any = (stack or make_stack()).create(s.AF_NETLINK, s.SOCK_RAW, DIAG)
    one.flags |= 0o4000
    return one


async def ask(one: Any, body: bytes, flags: int = ALL, kind: int = SOCK_DIAG_BY_FAMILY) -> list[tuple[int, bytes]]:
    """Put a question; the messages of the answer as (type, body)."""
    await one.send(nl.HEADER.pack(nl.HEADER.size + len(body), kind, flags, 7, 0) + body)
    messages = []
    while one.poll() & 1:
        data = await one.read(65536)
        messages += [(kind, message[nl.HEADER.size :]) for kind, _, _, message in nl.messages(data)]
    return messages


def result(body: bytes) -> int:
    return -int(struct.unpack_from("<i", body)[0])


# What Linux 6.18 answers to each, asked of it.
@pytest.mark.parametrize(
    ("body", "flags", "kind", "number"),
    [
        (inet(2, 6), ALL, nl.NLMSG_DONE, 0),
        (inet(10, 17), ALL, nl.NLMSG_DONE, 0),
        (inet(2, 132), ALL, nl.NLMSG_DONE, errno.ENOENT),
        (inet(2, 6) + struct.pack("<HHI", 8, 3, 262), ALL, nl.NLMSG_DONE, errno.ENOENT),
        (inet(3, 6), ALL, nl.NLMSG_ERROR, errno.ENOENT),
        (inet(99, 6), ALL, nl.NLMSG_ERROR, errno.EINVAL),
        (b"", ALL, nl.NLMSG_ERROR, errno.EINVAL),
        (b"\2\6", ALL, nl.NLMSG_ERROR, errno.EINVAL),
        (b"\1\0\0\0", ALL, nl.NLMSG_ERROR, errno.EINVAL),
        (unix(), ALL, nl.NLMSG_DONE, 0),
        (unix(protocol=1), ALL, nl.NLMSG_ERROR, errno.EINVAL),
        (unix(), ONE, nl.NLMSG_ERROR, errno.EINVAL),
        (unix(77777), ONE, nl.NLMSG_ERROR, errno.ENOENT),
        (struct.pack("<BBHIIQ", s.AF_PACKET, 0, 0, 0, 0, 0), ALL, nl.NLMSG_DONE, 0),
        (inet(2, 6), ONE, nl.NLMSG_ERROR, errno.ENOENT),
        (inet(2, 17), ONE, nl.NLMSG_ERROR, errno.ENOENT),
        (inet(40, 0), ALL, nl.NLMSG_ERROR, errno.ENOENT),
    ],
)
async def test_answers(body: bytes, flags: int, kind: int, number: int) -> None:
    ((reply, told),) = await ask(make(), body, flags)
    assert (reply, result(told)) == (kind, number)


async def test_nobody_is_disconnected() -> None:
    ((reply, told),) = await ask(make(), inet(2, 6), ONE, SOCK_DESTROY)
    assert (reply, result(told)) == (nl.NLMSG_ERROR, errno.EPERM)


async def test_one_socket_is_found() -> None:
    diag = make()
    stack = diag.stack
    listener = stack.create(s.AF_INET, s.SOCK_STREAM, 0)
    listener.bind(InetAddress(HOME, 8080))
    listener.listen(5)
    client = stack.create(s.AF_INET, s.SOCK_STREAM, 0)
    await client.connect(InetAddress(HOME, 8080))
    port = client.name.port
    for source, destination, state, inode in (
        (8080, 0, 10, listener.ino), (port, 8080, 1, client.ino), (8080, port, 1, 0), (8080, 1, 10, listener.ino),
    ):  # fmt: skip
        ((kind, body),) = await ask(diag, inet(2, 6, source, destination), ONE)
        assert kind == SOCK_DIAG_BY_FAMILY
        assert (body[1], struct.unpack_from("<I", body, 68)) == (state, (inode,))
    ((_, told),) = await ask(diag, inet(2, 6, 8080, cookie=1), ONE)
    assert result(told) == errno.ESTALE
    one, other = stack.pair(s.AF_UNIX, s.SOCK_STREAM, 0)
    ((_, body),) = await ask(diag, unix(one.ino, one.ino), ONE)
    assert nl.attributes(body, 16)[2] == struct.pack("<I", other.ino)
    ((_, told),) = await ask(diag, unix(one.ino, 1), ONE)
    assert result(told) == errno.ESTALE


async def test_a_long_answer_is_written_as_it_is_read() -> None:
    diag = make()
    many = [diag.stack.create(s.AF_UNIX, s.SOCK_DGRAM, 0) for _ in range(1000)]
    body = unix()
    question = nl.HEADER.pack(nl.HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, ALL, 7, 0) + body
    await diag.send(question)
    assert len(diag.inbox) == 1 and diag.unread() <= netlink.ANSWER_SIZE
    await diag.send(question)  # while the first is not read
    first, busy = await diag.read(65536), await diag.read(65536)
    assert [result(told[16:]) for kind, _, _, told in nl.messages(busy) if kind == nl.NLMSG_ERROR] == [errno.EBUSY]
    for one in many[500:]:
        one.close()
    found = list(nl.messages(first))
    while found[-1][0] != nl.NLMSG_DONE:
        found += nl.messages(await diag.read(65536))
    inodes = {struct.unpack_from("<I", message, 20)[0] for kind, _, _, message in found if kind == SOCK_DIAG_BY_FAMILY}
    assert {one.ino for one in many[:500]} <= inodes and len(inodes) < 1000
    assert not diag.poll() & 1


def test_a_filter_goes_forward_only() -> None:
    ends = Endpoints(s.AF_INET, HOME, 80, HOME, 4000, True)
    equal = struct.pack("<BBHBBH", 11, 8, 12, 0, 0, 80)  # S_EQ 80
    assert Filter(equal).passes(ends) and not Filter(equal).passes(ends._replace(local_port=81))
    assert not Filter(struct.pack("<BBH", 6, 4, 8)).passes(ends)  # AUTO
    for wrong in (b"\0", equal[:6], struct.pack("<BBH", 0, 0, 4), struct.pack("<BBH", 0, 4, 0),
                  struct.pack("<BBH", 99, 4, 8), struct.pack("<BBH", 0, 4, 3), struct.pack("<BBH", 0, 12, 8),
                  struct.pack("<BBHBB2xi", 7, 12, 16, 2, 33, -1)):  # fmt: skip
        with pytest.raises(SyscallError):
            Filter(wrong)


@given(st.binary(max_size=120), st.sampled_from([ONE, ALL]))
async def test_any_bytes_are_survived(data: bytes, flags: int) -> None:
    one = make()
    await ask(one, data, flags)
    await ask(one, inet(2, 6) + nl.attribute(1, data), flags)
