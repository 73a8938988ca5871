"""NETLINK_ROUTE: questions about interfaces, addresses and routes, see rtnetlink(7)."""

from __future__ import annotations

import errno

from msgspec.structs import replace

from ...abi.errors import SyscallError
from ...abi.socket import AF_INET, AF_INET6, INT
from . import interface
from . import nlmsg as nl
from . import rtnetlink as rt
from .links import Link, Links, Route
from .netlink import NetlinkSocket

RTN_LOCAL = 2
FAMILIES = {4: AF_INET, 16: AF_INET6}
DUMPED = (rt.RTM_GETLINK, rt.RTM_GETADDR, rt.RTM_GETROUTE, rt.RTM_GETNEIGH, rt.RTM_GETRULE)
# What every network has that nobody made rules for: which tables are asked, by priority.
RULES = ((AF_INET, 0, 255), (AF_INET, 32766, 254), (AF_INET, 32767, 253), (AF_INET6, 0, 255), (AF_INET6, 32766, 254))


class RouteSocket(NetlinkSocket):
    """Answers what the LibOS lets programs see of interfaces, and refuses every change."""

    def request(self, kind: int, flags: int, sequence: int, request: bytes) -> None:
        if kind > rt.RTM_MAX:
            raise SyscallError(errno.EOPNOTSUPP)
        if kind & 3 != 2:
            raise SyscallError(errno.EPERM)
        answer = kind - 2  # RTM_GETx is RTM_NEWx + 2
        if flags & nl.NLM_F_DUMP and kind in DUMPED:
            family = request[nl.HEADER.size] if len(request) > nl.HEADER.size else 0
            self.dump(answer, sequence, _objects(self.stack.links(), kind, family))
        else:
            self.reply(answer, sequence, self._single(kind, request))

    def _single(self, kind: int, request: bytes) -> bytes:
        """The answer to a question about one object."""
        links = self.stack.links()
        if kind == rt.RTM_GETLINK:
            link = _link_meant(links, request)
            if link is None:
                raise SyscallError(errno.ENODEV)
            return rt.encode_link(link)
        if kind == rt.RTM_GETROUTE:
            return self._route(links, request)
        raise SyscallError(errno.EOPNOTSUPP)

    def _route(self, links: Links, request: bytes) -> bytes:
        """The way to an address, as ``ip route get`` asks."""
        host = nl.attributes(request, nl.HEADER.size + rt.RTMSG.size).get(rt.RTA_DST, b"")
        if len(host) not in FAMILIES:
            raise SyscallError(errno.ENETUNREACH)
        whole = len(host) * 8
        if self.stack.is_own(host):
            flags = rt.RTM_F_CLONED | rt.RTCF_LOCAL
            found = Route(interface.INDEX, host, whole, source=host, kind=RTN_LOCAL, flags=flags)
        else:
            way = links.route_to(host)
            if way is None:
                raise SyscallError(errno.ENETUNREACH)
            found = replace(way, host=host, prefix=whole, metric=0, protocol=0, scope=0, flags=rt.RTM_F_CLONED)
        return rt.encode_route(found) + nl.attribute(rt.RTA_UID, INT.pack(self.stack.identify().uid))


def _objects(links: Links, kind: int, family: int) -> list[bytes]:
    """All objects of a kind, of the family (0: of all)."""
    if kind == rt.RTM_GETLINK:
        return [rt.encode_link(link) for link in links.links]
    if kind == rt.RTM_GETADDR:
        return [rt.encode_address(one) for one in links.addresses if family in (0, one.family)]
    if kind == rt.RTM_GETROUTE:
        return [rt.encode_route(one) for one in links.routes if family in (0, FAMILIES[len(one.host)])]
    if kind == rt.RTM_GETRULE:
        return [rt.encode_rule(*rule) for rule in RULES if family in (0, rule[0])]
    return []


def _link_meant(links: Links, request: bytes) -> Link | None:
    """The interface that a request is about, by number or by name."""
    if len(request) < nl.HEADER.size + rt.IFINFO.size:
        return None
    _, _, index, _, _ = rt.IFINFO.unpack_from(request, nl.HEADER.size)
    if index:
        return links.numbered(index)
    name = nl.attributes(request, nl.HEADER.size + rt.IFINFO.size).get(rt.IFLA_IFNAME, b"")
    return links.named(name.split(b"\0", 1)[0])
