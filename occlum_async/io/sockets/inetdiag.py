"""TCP and UDP sockets as sock_diag(7) tells of them: ``struct inet_diag_req_v2`` and ``struct inet_diag_msg``."""

from __future__ import annotations

import errno
import socket as s
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ...abi.errors import SyscallError
from ...abi.socket import (
    AF_INET,
    AF_INET6,
    INT,
    SO_MEMINFO,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOL_IP,
    SOL_IPV6,
    SOL_TCP,
    V4_MAPPED,
    InetAddress,
)
from .diagfilter import Endpoints, Filter
from .inet import InetSocket
from .ipoptions import IP_TOS, IPV6_TCLASS
from .nlmsg import attribute, attributes
from .tcp import TcpSocket
from .tcpoptions import CLOSE, CONGESTION_DEFAULT, LISTEN

if TYPE_CHECKING:
    from .stack import NetworkStack

IPPROTO_TCP, IPPROTO_UDP = 6, 17
TYPES = {IPPROTO_TCP: SOCK_STREAM, IPPROTO_UDP: SOCK_DGRAM}

HEAD = struct.Struct("<BBBxI")  # family, protocol, what to tell besides, states
SOCKET_ID = struct.Struct(">HH16s16s")  # ports of this end and of the other one, addresses
TAIL = struct.Struct("<IQ")  # interface, cookie
REQUEST_SIZE = HEAD.size + SOCKET_ID.size + TAIL.size
NUMBERS = struct.Struct("<5I")  # expires, receive queue, send queue, user, inode
INET_DIAG_REQ_BYTECODE, INET_DIAG_REQ_PROTOCOL = 1, 3

MEMINFO, INFO, CONG, TOS, TCLASS, SKMEMINFO, SHUTDOWN, SKV6ONLY = 1, 2, 4, 5, 6, 7, 8, 11
EXTRAS = (MEMINFO, INFO, CONG, TOS, TCLASS, SKMEMINFO)  # what is told when it is asked for


class Question(NamedTuple):
    """Which sockets, and what of them. ``extra`` has bit N - 1 set for attribute N."""

    family: int
    protocol: int
    extra: int
    states: int
    local: InetAddress
    remote: InetAddress
    cookie: int
    filter: Filter | None


def parse(body: bytes) -> Question:
    """A request without its header; EINVAL."""
    if len(body) < REQUEST_SIZE:
        raise SyscallError(errno.EINVAL)
    family, protocol, extra, states = HEAD.unpack_from(body)
    source_port, destination_port, source, destination = SOCKET_ID.unpack_from(body, HEAD.size)
    _, cookie = TAIL.unpack_from(body, HEAD.size + SOCKET_ID.size)
    besides = attributes(body, REQUEST_SIZE)
    code, wide = besides.get(INET_DIAG_REQ_BYTECODE), besides.get(INET_DIAG_REQ_PROTOCOL, b"")
    if len(wide) == INT.size:  # a protocol whose number needs more than a byte
        protocol = INT.unpack(wide)[0]
    return Question(
        family, protocol, extra, states,
        InetAddress(_host(family, source), source_port), InetAddress(_host(family, destination), destination_port),
        cookie, None if code is None else Filter(code),
    )  # fmt: skip


def _host(family: int, raw: bytes) -> bytes:
    if family == AF_INET:
        return raw[:4]
    return raw[12:] if raw.startswith(V4_MAPPED) else raw


def listing(stack: NetworkStack, question: Question) -> Iterator[bytes]:
    """All sockets of the family and protocol that are in one of the states, have the ports and pass the filter."""
    for one in stack.walk(question.family, TYPES[question.protocol]):
        row = one.table_row()
        if not row or not isinstance(one, InetSocket) or not question.states >> row["state"] & 1:
            continue
        (local, local_port), (remote, remote_port) = row["local"], row["remote"]
        if question.local.port not in (0, local_port) or question.remote.port not in (0, remote_port):
            continue
        ends = Endpoints(one.family, local, local_port, remote, remote_port, bool(one.chosen.port))
        if question.filter is None or question.filter.passes(ends):
            yield encode(one, question.extra)


def find(stack: NetworkStack, question: Question) -> InetSocket:
    """The socket between two ends: a connection, or who would get what comes from there; ENOENT."""
    if question.protocol == IPPROTO_TCP:
        found = stack.tcp_ports.find(False, question.local, question.remote)
    else:  # where, for a reason long forgotten, the ends are asked for the other way round
        found = stack.udp_ports.find(False, question.remote, question.local)
    one = next((one for one in found if one.table_row()), None)
    if one is None:
        raise SyscallError(errno.ENOENT)
    return one


def encode(one: InetSocket, extra: int) -> bytes:
    """One socket's answer, with the attributes that ``extra`` asks for."""
    row = one.table_row()
    (local, local_port), (remote, remote_port), state = row["local"], row["remote"], row["state"]
    queues = row["receive_queue"], row["backlog_limit"] if state == LISTEN else row["send_queue"]
    parts = [
        struct.pack("<4B", one.family, state, 0, 0),
        SOCKET_ID.pack(local_port, remote_port, local, remote),
        TAIL.pack(0, one.ino),
        NUMBERS.pack(0, *queues, one.creator.euid, one.shown_inode),
        attribute(SHUTDOWN, bytes((one.shut,))),
    ]
    for number in EXTRAS:
        if extra >> number - 1 & 1:
            value = _extra(one, number)
            if value:
                parts.append(attribute(number, value))
    if one.family == AF_INET6 and state in (LISTEN, CLOSE):
        parts.append(attribute(SKV6ONLY, bytes((one.only6,))))
    return b"".join(parts)


def _extra(one: InetSocket, number: int) -> bytes:
    """The attribute of that number; b"" where such a socket has none."""
    if number == MEMINFO:
        received, sent = one.memory_info()
        return struct.pack("<4I", received, sent, 0, sent)
    if number == SKMEMINFO:
        return one.getsockopt(s.SOL_SOCKET, SO_MEMINFO, 64)
    if number == TOS:
        return bytes((one.option(IP_TOS, SOL_IP) & 0xFF,))
    if number == TCLASS:
        return bytes((one.option(IPV6_TCLASS, SOL_IPV6) & 0xFF,)) if one.family == AF_INET6 else b""
    if not isinstance(one, TcpSocket):
        return b""
    if number == CONG:
        return (one.congestion or CONGESTION_DEFAULT) + b"\0"
    return one.getsockopt(SOL_TCP, s.TCP_INFO, 512)
