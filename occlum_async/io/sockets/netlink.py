"""AF_NETLINK, as far as programs need it to learn of the network: rtnetlink's questions about interfaces,
addresses and routes.

See netlink(7) and rtnetlink(7). Requests that would change something are refused with EPERM.
"""

from __future__ import annotations

import errno
from dataclasses import replace
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
from . import rtnetlink as rt
from .links import Link, Links, Route
from .records import RecordSocket
from .socket import Ancillary, Chunk

if TYPE_CHECKING:
    from .stack import NetworkStack

QUEUE_LIMIT = 64  # answers that wait to be read
REQUEST_MAX = 65536  # bytes
ANSWER_SIZE = 3584  # bytes that one datagram of a long answer has at most: programs read into a page
OVERHEAD = 768
RTN_LOCAL = 2
FAMILIES = {4: AF_INET, 16: AF_INET6}
PORTS_TOP = 0xFFFFFFFF - 4096


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
            port = next(one for one in range(PORTS_TOP, 0, -1) if one not in self.stack.netlink_ports)
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
        for kind, flags, sequence, request in rt.messages(data):
            if flags & rt.NLM_F_REQUEST and kind >= rt.RTM_BASE:
                self._request(kind, flags, sequence, request)
            elif flags & rt.NLM_F_ACK:
                self._error(0, sequence, request[: rt.HEADER.size])

    def _request(self, kind: int, flags: int, sequence: int, request: bytes) -> None:
        head = request[: rt.HEADER.size]
        if kind > rt.RTM_MAX:
            self._error(errno.EOPNOTSUPP, sequence, head)
        elif kind & 3 != 2:
            self._error(errno.EPERM, sequence, head)
        elif flags & rt.NLM_F_DUMP and kind in (rt.RTM_GETLINK, rt.RTM_GETADDR, rt.RTM_GETROUTE, rt.RTM_GETNEIGH):
            family = request[rt.HEADER.size] if len(request) > rt.HEADER.size else 0
            self._dump(kind, sequence, _objects(self.stack.links(), kind, family))
        else:
            self._single(kind, flags, sequence, request)

    def _dump(self, kind: int, sequence: int, bodies: list[bytes]) -> None:
        data = b""
        for body in bodies:
            message = self._message(kind - 2, rt.NLM_F_MULTI, sequence, body)  # RTM_GETx is RTM_NEWx + 2
            if data and len(data) + len(message) > ANSWER_SIZE:
                self._answer(data)
                data = b""
            data += message
        if data:
            self._answer(data)
        self._answer(self._message(rt.NLMSG_DONE, rt.NLM_F_MULTI, sequence, INT.pack(0)))

    def _single(self, kind: int, flags: int, sequence: int, request: bytes) -> None:
        """A question about one object."""
        head = request[: rt.HEADER.size]
        links = self.stack.links()
        if kind == rt.RTM_GETLINK:
            link, error = _link_meant(links, request), errno.ENODEV
            body = None if link is None else rt.encode_link(link)
        elif kind == rt.RTM_GETROUTE:
            body, error = self._route(links, request), errno.ENETUNREACH
        else:
            body, error = None, errno.EOPNOTSUPP
        if body is None:
            self._error(error, sequence, head)
            return
        self._answer(self._message(kind - 2, 0, sequence, body))
        if flags & rt.NLM_F_ACK:
            self._error(0, sequence, head)

    def _route(self, links: Links, request: bytes) -> bytes | None:
        """The way to an address, as ``ip route get`` asks."""
        host = rt.attributes(request, rt.HEADER.size + rt.RTMSG.size).get(rt.RTA_DST, b"")
        if len(host) not in (4, 16):
            return None
        whole = len(host) * 8
        if self.stack.is_own(host):
            flags = rt.RTM_F_CLONED | rt.RTCF_LOCAL
            found = Route(interface.INDEX, host, whole, source=host, kind=RTN_LOCAL, flags=flags)
        else:
            way = links.route_to(host)
            if way is None:
                return None
            found = replace(way, host=host, prefix=whole, metric=0, protocol=0, scope=0, flags=rt.RTM_F_CLONED)
        return rt.encode_route(found) + rt.attribute(rt.RTA_UID, INT.pack(self.stack.identify().uid))

    def _message(self, kind: int, flags: int, sequence: int, body: bytes) -> bytes:
        message = rt.HEADER.pack(rt.HEADER.size + len(body), kind, flags, sequence, self.port) + body
        return message + bytes(-len(message) % 4)

    def _error(self, number: int, sequence: int, request_head: bytes) -> None:
        self._answer(self._message(rt.NLMSG_ERROR, 0, sequence, INT.pack(-number) + request_head))

    def _answer(self, data: bytes) -> None:
        if len(self.inbox) >= QUEUE_LIMIT or (self.inbox and self.stack.memory.pressed):
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


def _objects(links: Links, kind: int, family: int) -> list[bytes]:
    """All objects of a kind, of the family (0: of all)."""
    if kind == rt.RTM_GETLINK:
        return [rt.encode_link(link) for link in links.links]
    if kind == rt.RTM_GETADDR:
        return [rt.encode_address(one) for one in links.addresses if family in (0, one.family)]
    if kind == rt.RTM_GETROUTE:
        return [rt.encode_route(one) for one in links.routes if family in (0, FAMILIES[len(one.host)])]
    return []


def _link_meant(links: Links, request: bytes) -> Link | None:
    """The interface that a request is about, by number or by name."""
    if len(request) < rt.HEADER.size + rt.IFINFO.size:
        return None
    _, _, index, _, _ = rt.IFINFO.unpack_from(request, rt.HEADER.size)
    if index:
        return links.numbered(index)
    name = rt.attributes(request, rt.HEADER.size + rt.IFINFO.size).get(rt.IFLA_IFNAME, b"")
    return links.named(name.split(b"\0", 1)[0])
