"""Messages of rtnetlink(7): interfaces, addresses and routes as bytes, and back.

What is decoded comes from the host: a message that is too short, or says what can't be, is ``None`` or left out.
"""

from __future__ import annotations

import struct

from ...abi.socket import AF_INET, AF_INET6, INT
from .links import COUNTERS, TABLE_LOCAL, Address, Link, Route
from .nlmsg import attribute, attributes

RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 18, 20, 22
RTM_NEWROUTE, RTM_GETROUTE, RTM_GETNEIGH, RTM_GETRULE = 24, 26, 30, 34
RTM_MAX = 119

IFINFO = struct.Struct("<BxHiII")  # family, kind, index, flags, change
IFADDR = struct.Struct("<4BI")  # family, prefix, flags, scope, index
RTMSG = struct.Struct("<8BI")  # family, prefixes of destination and source, tos, table, protocol, scope, kind, flags
RULE = struct.Struct("<5B2xBI")  # family, prefixes of destination and source, tos, table, action, flags
CACHEINFO = struct.Struct("<4I")
STATISTICS = struct.Struct(f"<{COUNTERS}Q")

IFLA_ADDRESS, IFLA_BROADCAST, IFLA_IFNAME, IFLA_MTU, IFLA_QDISC, IFLA_STATS, IFLA_TXQLEN = 1, 2, 3, 4, 6, 7, 13
IFLA_OPERSTATE, IFLA_LINKMODE, IFLA_STATS64, IFLA_GROUP, IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 16, 17, 23, 27, 31, 32
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_CACHEINFO, IFA_FLAGS = 1, 2, 3, 4, 6, 8
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_TABLE, RTA_PREF, RTA_UID = 1, 4, 5, 6, 7, 15, 20, 25
FRA_PRIORITY, FRA_SUPPRESS_PREFIX, FRA_TABLE, FR_ACT_TO_TABLE = 6, 14, 15, 1
RTM_F_CLONED, RTCF_LOCAL = 0x200, 0x80000000
FOREVER = 0xFFFFFFFF

SIZES = {AF_INET: 4, AF_INET6: 16}
NAME_MAX = 15
HARDWARE_MAX = 32  # bytes of a hardware address


# -- out ---------------------------------------------------------------------------


def encode_link(link: Link) -> bytes:
    """``struct ifinfomsg`` with its attributes."""
    return b"".join((
        IFINFO.pack(0, link.kind, link.index, link.flags, 0),
        attribute(IFLA_IFNAME, link.name + b"\0"),
        attribute(IFLA_TXQLEN, INT.pack(link.queue_length)),
        attribute(IFLA_OPERSTATE, bytes((link.state,))),
        attribute(IFLA_LINKMODE, b"\0"),
        attribute(IFLA_MTU, INT.pack(link.mtu)),
        attribute(IFLA_GROUP, INT.pack(0)),
        attribute(IFLA_NUM_TX_QUEUES, INT.pack(1)),
        attribute(IFLA_NUM_RX_QUEUES, INT.pack(1)),
        attribute(IFLA_QDISC, link.discipline + b"\0"),
        attribute(IFLA_ADDRESS, link.address),
        attribute(IFLA_BROADCAST, link.broadcast),
        attribute(IFLA_STATS64, STATISTICS.pack(*link.counters)),
        attribute(IFLA_STATS, struct.pack(f"<{COUNTERS}I", *(count & 0xFFFFFFFF for count in link.counters))),
    ))  # fmt: skip


def encode_address(address: Address) -> bytes:
    """``struct ifaddrmsg`` with its attributes."""
    parts = [IFADDR.pack(address.family, address.prefix, address.flags & 0xFF, address.scope, address.link)]
    parts.append(attribute(IFA_ADDRESS, address.host))
    if address.family == AF_INET:
        parts.append(attribute(IFA_LOCAL, address.host))
        if address.broadcast:
            parts.append(attribute(IFA_BROADCAST, address.broadcast))
        parts.append(attribute(IFA_LABEL, address.label + b"\0"))
    parts.append(attribute(IFA_FLAGS, struct.pack("<I", address.flags)))
    parts.append(attribute(IFA_CACHEINFO, CACHEINFO.pack(FOREVER, FOREVER, 0, 0)))
    return b"".join(parts)


def encode_route(route: Route) -> bytes:
    """``struct rtmsg`` with its attributes."""
    family = AF_INET if len(route.host) == 4 else AF_INET6
    parts = [
        RTMSG.pack(family, route.prefix, 0, 0, route.table, route.protocol, route.scope, route.kind, route.flags),
        attribute(RTA_TABLE, INT.pack(route.table)),
    ]
    if route.prefix:
        parts.append(attribute(RTA_DST, route.host))
    if route.metric:
        parts.append(attribute(RTA_PRIORITY, struct.pack("<I", route.metric)))
    if route.gateway:
        parts.append(attribute(RTA_GATEWAY, route.gateway))
    if route.source:
        parts.append(attribute(RTA_PREFSRC, route.source))
    parts.append(attribute(RTA_OIF, INT.pack(route.link)))
    if family == AF_INET6:
        parts.append(attribute(RTA_PREF, b"\0"))
    return b"".join(parts)


def encode_rule(family: int, priority: int, table: int) -> bytes:
    """``struct fib_rule_hdr`` with its attributes: all addresses are looked for in ``table``."""
    return b"".join((
        RULE.pack(family, 0, 0, 0, table, FR_ACT_TO_TABLE, 0),
        attribute(FRA_TABLE, INT.pack(table)),
        attribute(FRA_SUPPRESS_PREFIX, INT.pack(-1)),
        attribute(FRA_PRIORITY, INT.pack(priority)) if priority else b"",
    ))  # fmt: skip


# -- in ----------------------------------------------------------------------------


def decode_link(body: bytes) -> Link | None:
    """An RTM_NEWLINK without its header."""
    if len(body) < IFINFO.size:
        return None
    _, kind, index, flags, _ = IFINFO.unpack_from(body)
    found = attributes(body, IFINFO.size)
    name = found.get(IFLA_IFNAME, b"").split(b"\0", 1)[0]
    # Names become names of files: the host must not choose "..", or one with a slash.
    if index <= 0 or not 0 < len(name) <= NAME_MAX or name in (b".", b"..") or b"/" in name:
        return None
    statistics = found.get(IFLA_STATS64, b"")[: STATISTICS.size].ljust(STATISTICS.size, b"\0")
    return Link(
        index, name, kind, flags, _number(found.get(IFLA_MTU)), _number(found.get(IFLA_TXQLEN)),
        found.get(IFLA_ADDRESS, b"")[:HARDWARE_MAX], found.get(IFLA_BROADCAST, b"")[:HARDWARE_MAX],
        found.get(IFLA_OPERSTATE, b"\0")[:1][0] if found.get(IFLA_OPERSTATE) else 0,
        found.get(IFLA_QDISC, b"").split(b"\0", 1)[0][:NAME_MAX], STATISTICS.unpack(statistics),
    )  # fmt: skip


def decode_address(body: bytes) -> Address | None:
    """An RTM_NEWADDR without its header."""
    if len(body) < IFADDR.size:
        return None
    family, prefix, flags, scope, index = IFADDR.unpack_from(body)
    found = attributes(body, IFADDR.size)
    size = SIZES.get(family, 0)
    host = found.get(IFA_LOCAL, found.get(IFA_ADDRESS, b""))
    if not size or len(host) != size or prefix > size * 8:
        return None
    broadcast = found.get(IFA_BROADCAST, b"")
    label = found.get(IFA_LABEL, b"").split(b"\0", 1)[0][:NAME_MAX]
    flags = _number(found.get(IFA_FLAGS)) or flags
    return Address(index, host, prefix, scope, flags, broadcast if len(broadcast) == size else b"", label)


def decode_route(body: bytes) -> Route | None:
    """An RTM_NEWROUTE without its header; None also for what no program inside can use (local, multipath)."""
    if len(body) < RTMSG.size:
        return None
    family, prefix, _, _, table, protocol, scope, kind, flags = RTMSG.unpack_from(body)
    found = attributes(body, RTMSG.size)
    size = SIZES.get(family, 0)
    host = found.get(RTA_DST, bytes(size))
    gateway, source = found.get(RTA_GATEWAY, b""), found.get(RTA_PREFSRC, b"")
    index = _number(found.get(RTA_OIF))
    if not size or table == TABLE_LOCAL or not index or len(host) != size or prefix > size * 8:
        return None
    if len(gateway) not in (0, size) or len(source) not in (0, size):
        return None
    metric = _number(found.get(RTA_PRIORITY))
    return Route(index, host, prefix, gateway, source, metric, table, protocol, scope, kind, flags)


def _number(data: bytes | None) -> int:
    """A 32-bit number, 0 where there is none; what no ``int`` holds is cut."""
    return int.from_bytes((data or b"")[:4], "little") & 0x7FFFFFFF
