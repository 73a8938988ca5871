"""Unix sockets as sock_diag(7) tells of them: ``struct unix_diag_req`` and ``struct unix_diag_msg``."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from socket import SOL_SOCKET
from typing import TYPE_CHECKING, NamedTuple

from ...abi.errors import SyscallError
from ...abi.socket import AF_UNIX, SO_MEMINFO
from .nlmsg import attribute
from .unix import UnixSocket
from .unix_stream import UnixConnection

if TYPE_CHECKING:
    from .stack import NetworkStack

REQUEST = struct.Struct("<BBHIIIQ")  # family, protocol, states, inode, show, cookie
ANSWER = struct.Struct("<4BIQ")  # family, type, state, inode, cookie
SHOW_NAME, SHOW_PEER, SHOW_WAITING, SHOW_QUEUES, SHOW_MEMORY, SHOW_USER = 1, 4, 8, 16, 32, 64
UNIX_DIAG_NAME, UNIX_DIAG_PEER, UNIX_DIAG_ICONS, UNIX_DIAG_RQLEN = 0, 2, 3, 4
UNIX_DIAG_MEMINFO, UNIX_DIAG_SHUTDOWN, UNIX_DIAG_UID = 5, 6, 7


class Question(NamedTuple):
    """Which sockets (a mask of states, or an inode), and what of them."""

    states: int
    inode: int
    show: int
    cookie: int


def parse(body: bytes) -> Question:
    """A request without its header; EINVAL."""
    if len(body) < REQUEST.size:
        raise SyscallError(errno.EINVAL)
    _, protocol, _, *rest = REQUEST.unpack_from(body)
    if protocol:
        raise SyscallError(errno.EINVAL)
    return Question(*rest)


def listing(stack: NetworkStack, question: Question) -> Iterator[bytes]:
    """All sockets that are in one of the states."""
    for one in stack.walk(AF_UNIX):
        # What was not accepted yet has no file, and is told of with its listener.
        if isinstance(one, UnixSocket) and one.shown_inode and question.states >> one.diagnosed_state & 1:
            yield encode(one, question.show)


def find(stack: NetworkStack, question: Question) -> UnixSocket:
    """The socket of an inode; EINVAL, ENOENT."""
    if not question.inode:
        raise SyscallError(errno.EINVAL)
    one = stack.sockets.get(question.inode)
    if not isinstance(one, UnixSocket):
        raise SyscallError(errno.ENOENT)
    return one


def encode(one: UnixSocket, show: int) -> bytes:
    """One socket's answer, with the attributes that ``show`` asks for."""
    parts = [ANSWER.pack(AF_UNIX, one.type, one.diagnosed_state, 0, one.shown_inode, one.ino)]
    if show & SHOW_NAME and one.name.name:
        parts.append(attribute(UNIX_DIAG_NAME, one.name.name))
    partner = one.partner()
    if show & SHOW_PEER and partner is not None:
        parts.append(attribute(UNIX_DIAG_PEER, struct.pack("<I", partner.shown_inode)))
    listening = isinstance(one, UnixConnection) and one.accepting()
    if show & SHOW_WAITING and listening:
        waiting = [child.peer.ino for child in one.backlog if child.peer is not None]
        parts.append(attribute(UNIX_DIAG_ICONS, struct.pack(f"<{len(waiting)}I", *waiting)))
    if show & SHOW_QUEUES:
        queues = (len(one.backlog), one.backlog_limit) if isinstance(one, UnixConnection) and listening else (
            one.unread(), one.unsent()
        )  # fmt: skip
        parts.append(attribute(UNIX_DIAG_RQLEN, struct.pack("<II", *queues)))
    if show & SHOW_MEMORY:
        parts.append(attribute(UNIX_DIAG_MEMINFO, one.getsockopt(SOL_SOCKET, SO_MEMINFO, 64)))
    parts.append(attribute(UNIX_DIAG_SHUTDOWN, bytes((one.shut,))))
    if show & SHOW_USER:
        parts.append(attribute(UNIX_DIAG_UID, struct.pack("<I", one.creator.euid)))
    return b"".join(parts)
