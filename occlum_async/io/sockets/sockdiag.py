"""NETLINK_SOCK_DIAG: which sockets there are, see sock_diag(7). They are those of the LibOS alone.

What ss(8) shows comes from here. A family or protocol that Linux would not know is ENOENT, as there.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from socket import SOL_SOCKET
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.socket import AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, SO_MEMINFO
from . import inetdiag, unixdiag
from . import nlmsg as nl
from .netlink import NetlinkSocket
from .socket import Socket

if TYPE_CHECKING:
    from .stack import NetworkStack

SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 20, 21
FAMILIES_MAX = 46  # AF_MAX
NO_COOKIE = (1 << 64) - 1  # of a question about whichever socket is there now

# struct netlink_diag_req, and packet_diag_req: family, protocol, inode, show, cookie
NETLINK_REQUEST = struct.Struct("<BBHIIQ")
# struct netlink_diag_msg: family, type, protocol, state, port, the other's port, the other's group, inode, cookie
NETLINK_ANSWER = struct.Struct("<4BIIIIQ")
ALL_PROTOCOLS = 255
SHOW_MEMORY, SHOW_GROUPS = 1, 2
NETLINK_DIAG_MEMINFO, NETLINK_DIAG_GROUPS = 0, 1


class DiagSocket(NetlinkSocket):
    """Tells of sockets, and ends none."""

    def request(self, kind: int, flags: int, sequence: int, request: bytes) -> None:
        if kind == SOCK_DESTROY:
            raise SyscallError(errno.EPERM)
        body = request[nl.HEADER.size :]
        if kind != SOCK_DIAG_BY_FAMILY or len(body) < 2 or body[0] >= FAMILIES_MAX:
            raise SyscallError(errno.EINVAL)
        family = body[0]
        whole = bool(flags & nl.NLM_F_DUMP)
        if family in (AF_INET, AF_INET6):
            self._internet(whole, sequence, body)
        elif family == AF_UNIX:
            self._unix(whole, sequence, body)
        elif family in (AF_NETLINK, AF_PACKET):
            if len(body) < NETLINK_REQUEST.size:
                raise SyscallError(errno.EINVAL)
            if not whole:
                raise SyscallError(errno.EOPNOTSUPP)
            # There is no packet socket inside.
            self.dump(kind, sequence, _netlink_sockets(self.stack, body) if family == AF_NETLINK else ())
        else:
            raise SyscallError(errno.ENOENT)

    def _internet(self, whole: bool, sequence: int, body: bytes) -> None:
        question = inetdiag.parse(body)
        known = question.protocol in inetdiag.TYPES
        if whole:  # a protocol that isn't there is told at the end of the list
            bodies = inetdiag.listing(self.stack, question) if known else iter(())
            self.dump(SOCK_DIAG_BY_FAMILY, sequence, bodies, 0 if known else errno.ENOENT)
        elif not known:
            raise SyscallError(errno.ENOENT)
        else:
            one = inetdiag.find(self.stack, question)
            _check_cookie(one, question.cookie)
            self.reply(SOCK_DIAG_BY_FAMILY, sequence, inetdiag.encode(one, question.extra))

    def _unix(self, whole: bool, sequence: int, body: bytes) -> None:
        question = unixdiag.parse(body)
        if whole:
            self.dump(SOCK_DIAG_BY_FAMILY, sequence, unixdiag.listing(self.stack, question))
        else:
            one = unixdiag.find(self.stack, question)
            _check_cookie(one, question.cookie)
            self.reply(SOCK_DIAG_BY_FAMILY, sequence, unixdiag.encode(one, question.show))


def _check_cookie(one: Socket, cookie: int) -> None:
    """ESTALE if the question is about another socket, whose place ``one`` has taken."""
    if cookie not in (NO_COOKIE, one.ino):
        raise SyscallError(errno.ESTALE)


def _netlink_sockets(stack: NetworkStack, body: bytes) -> Iterator[bytes]:
    _, protocol, _, _, show, _ = NETLINK_REQUEST.unpack_from(body)
    for one in stack.walk(AF_NETLINK):
        if not isinstance(one, NetlinkSocket) or protocol not in (ALL_PROTOCOLS, one.protocol):
            continue
        parts = [NETLINK_ANSWER.pack(AF_NETLINK, one.type, one.protocol, 7, one.port, 0, 0, one.ino, one.ino)]
        if show & SHOW_GROUPS and one.groups:
            parts.append(nl.attribute(NETLINK_DIAG_GROUPS, struct.pack("<Q", one.groups)))
        if show & SHOW_MEMORY:
            parts.append(nl.attribute(NETLINK_DIAG_MEMINFO, one.getsockopt(SOL_SOCKET, SO_MEMINFO, 64)))
        yield b"".join(parts)
