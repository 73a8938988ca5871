"""AF_NETLINK, as far as programs need it to learn of the network: rtnetlink's questions about ``lo``.

See netlink(7) and rtnetlink(7). Requests that would change something are refused with EPERM.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.socket import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    INT,
    MSG_OOB,
    SOL_NETLINK,
    NetlinkAddress,
    decode_netlink,
    encode_netlink,
)
from ..file import POLLERR, POLLIN, POLLOUT, POLLRDNORM, POLLWRBAND, POLLWRNORM
from . import interface
from .records import RecordSocket
from .socket import Ancillary, Chunk

if TYPE_CHECKING:
    from .stack import NetworkStack

HEADER = struct.Struct("<IHHII")  # length, type, flags, sequence, port
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x2, 0x4, 0x300
RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH = 16, 18, 20, 22, 26, 30
RTM_BASE, RTM_MAX = 16, 119

QUEUE_LIMIT = 64  # answers that wait to be read
REQUEST_MAX = 65536  # bytes
OVERHEAD = 768

IFLA_ADDRESS, IFLA_BROADCAST, IFLA_IFNAME, IFLA_MTU, IFLA_QDISC, IFLA_TXQLEN, IFLA_OPERSTATE = 1, 2, 3, 4, 6, 13, 16
IFLA_LINKMODE, IFLA_GROUP, IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 17, 27, 31, 32
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_CACHEINFO, IFA_FLAGS = 1, 2, 3, 6, 8
IFA_F_PERMANENT, SCOPE_HOST = 0x80, 254
FOREVER = 0xFFFFFFFF


class NetlinkSocket(RecordSocket):
    """A NETLINK_ROUTE socket, with the kernel as the only one to talk to."""

    family = AF_NETLINK

    def __init__(self, stack: NetworkStack, type: int) -> None:
        self.type = type
        super().__init__(stack)
        self.port = 0
        self.groups = 0

    # -- names -----------------------------------------------------------------

    def parse_address(self, raw: bytes) -> NetlinkAddress:
        return decode_netlink(raw)

    def local(self) -> bytes:
        return encode_netlink(NetlinkAddress(self.port, self.groups))

    def remote(self) -> bytes:
        return encode_netlink(NetlinkAddress(0, 0))

    def bind(self, address: NetlinkAddress) -> None:
        if self.port and address.port not in (0, self.port):
            raise SyscallError(errno.EINVAL)
        if address.port and address.port != self.port:
            if address.port in self.stack.netlink_ports:
                raise SyscallError(errno.EADDRINUSE)
            self._claim(address.port)
        self.autobind()
        self.groups = address.groups

    def autobind(self) -> None:
        """Take the process id as the port id, or a number above all process ids."""
        if self.port:
            return
        port = self.stack.identify().pid or 1
        if port in self.stack.netlink_ports:
            port = next(one for one in range(FOREVER - 4096, 0, -1) if one not in self.stack.netlink_ports)
        self._claim(port)

    def _claim(self, port: int) -> None:
        self.port = port
        self.stack.netlink_ports[port] = self

    async def connect(self, address: NetlinkAddress) -> None:
        if address.port or address.groups:
            raise SyscallError(errno.EPERM)
        self.autobind()

    # -- data ------------------------------------------------------------------

    async def send(
        self,
        data: bytes | memoryview,
        flags: int = 0,
        address: NetlinkAddress | None = None,
        ancillary: Ancillary | None = None,
    ) -> int:
        if ancillary is not None and ancillary.files:
            self.stack.flight.discard(ancillary.files)
        if flags & MSG_OOB:
            raise SyscallError(errno.EOPNOTSUPP)
        if address is not None and address.port:
            raise SyscallError(errno.ECONNREFUSED if not address.groups else errno.EPERM)
        if len(data) > REQUEST_MAX:
            raise SyscallError(errno.EMSGSIZE)
        self.autobind()
        self._handle(bytes(data))
        return len(data)

    def _handle(self, data: bytes) -> None:
        at = 0
        while at + HEADER.size <= len(data):
            length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
            if length < HEADER.size or at + length > len(data):
                return
            if flags & NLM_F_REQUEST and kind >= RTM_BASE:
                self._request(kind, flags, sequence, data[at : at + length])
            elif flags & NLM_F_ACK:
                self._error(0, sequence, data[at : at + HEADER.size])
            at += (length + 3) & ~3

    def _request(self, kind: int, flags: int, sequence: int, request: bytes) -> None:
        head = request[: HEADER.size]
        family = request[HEADER.size] if len(request) > HEADER.size else 0
        dump = flags & NLM_F_DUMP
        if kind > RTM_MAX:
            self._error(errno.EOPNOTSUPP, sequence, head)
        elif kind & 3 != 2:
            self._error(errno.EPERM, sequence, head)
        elif kind == RTM_GETLINK and not dump:
            if _names_other_link(request):
                self._error(errno.ENODEV, sequence, head)
            else:
                self._answer(self._message(RTM_NEWLINK, 0, sequence, _link()))
                if flags & NLM_F_ACK:
                    self._error(0, sequence, head)
        elif kind in (RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH) and dump:
            answers = [_link()] if kind == RTM_GETLINK else _addresses(family) if kind == RTM_GETADDR else []
            reply = kind - 2  # RTM_GETx is RTM_NEWx + 2
            data = b"".join(self._message(reply, NLM_F_MULTI, sequence, body) for body in answers)
            if data:
                self._answer(data)
            self._answer(self._message(NLMSG_DONE, NLM_F_MULTI, sequence, INT.pack(0)))
        elif kind == RTM_GETROUTE:
            self._error(errno.ENETUNREACH, sequence, head)
        else:
            self._error(errno.EOPNOTSUPP, sequence, head)

    def _message(self, kind: int, flags: int, sequence: int, body: bytes) -> bytes:
        message = HEADER.pack(HEADER.size + len(body), kind, flags, sequence, self.port) + body
        return message + bytes(-len(message) % 4)

    def _error(self, number: int, sequence: int, request_head: bytes) -> None:
        self._answer(self._message(NLMSG_ERROR, 0, sequence, INT.pack(-number) + request_head))

    def _answer(self, data: bytes) -> None:
        if len(self.inbox) >= QUEUE_LIMIT:
            self.error = errno.ENOBUFS
            self.waiters.wake()
            return
        chunk = Chunk(data, len(data) + OVERHEAD, None, None, encode_netlink(NetlinkAddress(0, 0)))
        self.put_record(chunk)

    def at_end(self, nonblocking: bool) -> bool:
        return False

    def poll(self) -> int:
        events = POLLOUT | POLLWRNORM | POLLWRBAND
        if self.inbox:
            events |= POLLIN | POLLRDNORM
        return events | POLLERR if self.error else events

    def close(self) -> None:
        if self.stack.netlink_ports.get(self.port) is self:
            del self.stack.netlink_ports[self.port]
        super().close()
        self.drop_queue()
        self.waiters.wake()

    # -- options ---------------------------------------------------------------

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if level != SOL_NETLINK or not 1 <= name <= 12:
            raise SyscallError(errno.ENOPROTOOPT)
        if len(value) < INT.size:
            raise SyscallError(errno.EINVAL)
        self.options[level, name] = int(INT.unpack_from(value)[0])

    def get_option(self, level: int, name: int, size: int) -> bytes:
        if level != SOL_NETLINK or not 3 <= name <= 12:
            raise SyscallError(errno.ENOPROTOOPT)
        return INT.pack(int(self.option(name, level) != 0))


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _link() -> bytes:
    """``struct ifinfomsg`` of lo with its attributes."""
    flags = interface.FLAGS | interface.IFF_LOWER_UP
    return b"".join((
        struct.pack("<BxHiII", 0, interface.ARPHRD_LOOPBACK, interface.INDEX, flags, 0),
        _attribute(IFLA_IFNAME, interface.NAME + b"\0"),
        _attribute(IFLA_TXQLEN, INT.pack(interface.QUEUE_LENGTH)),
        _attribute(IFLA_OPERSTATE, b"\0"),
        _attribute(IFLA_LINKMODE, b"\0"),
        _attribute(IFLA_MTU, INT.pack(interface.MTU)),
        _attribute(IFLA_GROUP, INT.pack(0)),
        _attribute(IFLA_NUM_TX_QUEUES, INT.pack(1)),
        _attribute(IFLA_NUM_RX_QUEUES, INT.pack(1)),
        _attribute(IFLA_QDISC, b"noqueue\0"),
        _attribute(IFLA_ADDRESS, bytes(6)),
        _attribute(IFLA_BROADCAST, bytes(6)),
    ))  # fmt: skip


def _addresses(family: int) -> list[bytes]:
    """``struct ifaddrmsg`` of lo's addresses of the family (0: of all)."""
    cache = _attribute(IFA_CACHEINFO, struct.pack("<4I", FOREVER, FOREVER, 0, 0))
    flags = _attribute(IFA_FLAGS, INT.pack(IFA_F_PERMANENT))
    found = []
    if family in (0, AF_INET):
        head = struct.pack("<4BI", AF_INET, interface.PREFIX4, IFA_F_PERMANENT, SCOPE_HOST, interface.INDEX)
        both = _attribute(IFA_ADDRESS, interface.ADDRESS4) + _attribute(IFA_LOCAL, interface.ADDRESS4)
        found.append(head + both + _attribute(IFA_LABEL, interface.NAME + b"\0") + flags + cache)
    if family in (0, AF_INET6):
        head = struct.pack("<4BI", AF_INET6, interface.PREFIX6, IFA_F_PERMANENT, SCOPE_HOST, interface.INDEX)
        found.append(head + _attribute(IFA_ADDRESS, interface.ADDRESS6) + cache + flags)
    return found


def _names_other_link(request: bytes) -> bool:
    """Whether a request for one link means another one than lo."""
    if len(request) < HEADER.size + 16:
        return True
    (index,) = struct.unpack_from("<i", request, HEADER.size + 4)
    if index:
        return bool(index != interface.INDEX)
    at = HEADER.size + 16
    while at + 4 <= len(request):
        length, kind = struct.unpack_from("<HH", request, at)
        if length < 4:
            return True
        if kind & 0x3FFF == IFLA_IFNAME:
            return request[at + 4 : at + length].split(b"\0", 1)[0] != interface.NAME
        at += (length + 3) & ~3
    return True
