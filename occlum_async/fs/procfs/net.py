"""/proc/net: the sockets of the LibOS, and the interfaces that its programs see."""

from __future__ import annotations

import socket
import struct
from typing import Any

from ...io.sockets.links import LOOPBACK, LOOPBACK_ALONE, Links
from ..synthetic import Folder
from .views import KernelView

INET_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
INET6_HEAD = (
    "  sl  local_address                         remote_address                        "
    "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
)
TCP_TAIL, UDP_TAIL = "1 0000000000000000 100 0 0 10 0", "2 0000000000000000 0"
# By family and type: the head, the width of a line, that of a slot's number, and how each line ends.
INET_TABLES: dict[tuple[int, int], tuple[str, int, int, str]] = {
    (socket.AF_INET, socket.SOCK_STREAM): (INET_HEAD, 149, 4, TCP_TAIL),
    (socket.AF_INET6, socket.SOCK_STREAM): (INET6_HEAD, 0, 4, TCP_TAIL),
    (socket.AF_INET, socket.SOCK_DGRAM): (f" {INET_HEAD} ref pointer drops", 127, 5, UDP_TAIL),
    (socket.AF_INET6, socket.SOCK_DGRAM): (f"{INET6_HEAD} ref pointer drops", 0, 5, UDP_TAIL),
}
UNIX_HEAD = "Num       RefCount Protocol Flags    Type St Inode Path\n"
DEV_HEAD = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast"
    "|bytes    packets errs drop fifo colls carrier compressed\n"
)
NETLINK = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
ROUTE_HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT".ljust(127) + "\n"
LOOPBACK_ROUTE6 = f"{1:032x} 80 {0:032x} 00 {0:032x} 00000100 00000002 00000000 80200001       lo\n"
RTF_UP, RTF_GATEWAY, RTF_HOST = 1, 2, 4
SOCKSTAT = (
    "sockets: used {used}\nTCP: inuse {tcp} orphan 0 tw 0 alloc {tcp} mem 0\nUDP: inuse {udp} mem 0\n"
    "UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n"
)
SOCKSTAT6 = "TCP6: inuse {tcp}\nUDP6: inuse {udp}\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n"
ESTABLISHED, CLOSE_WAIT = 1, 8
SNMP = (
    ("Ip", "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards "
     "InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails "
     "FragCreates"),
    ("Icmp", "InMsgs InErrors InCsumErrors InDestUnreachs OutMsgs OutErrors OutDestUnreachs"),
    ("Tcp", "RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs "
     "OutSegs RetransSegs InErrs OutRsts InCsumErrors"),
    ("Udp", "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors"),
)  # fmt: skip
SNMP_VALUES = {"Forwarding": 2, "DefaultTTL": 64, "RtoAlgorithm": 1, "RtoMin": 200, "RtoMax": 120000, "MaxConn": -1}
IGMP_HEAD = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
# The groups of all nodes, on the interface and on the link.
ALL_NODES = (b"\xff\x01" + bytes(13) + b"\1", b"\xff\x02" + bytes(13) + b"\1")
SO_ACCEPTCON = 0x10000


def fill_net(folder: Folder, kernel: KernelView) -> None:
    """Add the files to /proc/net."""
    for name, family, kind in (
        (b"tcp", socket.AF_INET, socket.SOCK_STREAM), (b"tcp6", socket.AF_INET6, socket.SOCK_STREAM),
        (b"udp", socket.AF_INET, socket.SOCK_DGRAM), (b"udp6", socket.AF_INET6, socket.SOCK_DGRAM),
    ):  # fmt: skip
        folder.add(name, lambda family=family, kind=kind: inet(kernel, family, kind))  # type: ignore[misc]
    for name, head in ((b"raw", INET_HEAD), (b"raw6", INET6_HEAD)):
        folder.add(name, head.encode() + b"\n")
    folder.add(b"unix", lambda: unix(kernel))
    for name, show in ((b"dev", dev), (b"route", route), (b"if_inet6", if_inet6), (b"ipv6_route", ipv6_route)):
        folder.add(name, lambda show=show: show(links_of(kernel)).encode())  # type: ignore[misc]
    folder.add(b"arp", b"IP address       HW type     Flags       HW address            Mask     Device\n")
    folder.add(b"netlink", lambda: _netlink(kernel))
    folder.add(b"packet", b"sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n")
    folder.add(b"protocols", b"protocol  size sockets  memory press maxhdr  slab module\n")
    folder.add(b"sockstat", lambda: _sockstat(kernel, SOCKSTAT, socket.AF_INET))
    folder.add(b"sockstat6", lambda: _sockstat(kernel, SOCKSTAT6, socket.AF_INET6))
    folder.add(b"snmp", lambda: _snmp(kernel))
    folder.add(b"wireless", b"")
    folder.add(b"dev_mcast", b"")
    folder.add(b"igmp", lambda: _igmp(kernel))
    folder.add(b"igmp6", lambda: _igmp6(kernel))


def links_of(kernel: KernelView) -> Links:
    """The interfaces that programs see."""
    links: Links = kernel.network.links() if kernel.network is not None else LOOPBACK_ALONE
    return links


def _table(kernel: KernelView, family: int, kind: int = 0) -> list[dict[str, Any]]:
    return list(kernel.network.table(family, kind)) if kernel.network is not None else []


def _address(name: tuple[bytes, int]) -> str:
    """An address as Linux prints it: each 32-bit word of the host in the machine's order, and the port."""
    host, port = name
    words = struct.unpack(f"<{len(host) // 4}I", host)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def inet(kernel: KernelView, family: int, kind: int) -> bytes:
    """/proc/net/tcp and its like. Those of IPv4 have lines of one width."""
    head, width, slot_width, tail = INET_TABLES[family, kind]
    lines = [head.ljust(width)]
    for slot, row in enumerate(_table(kernel, family, kind)):
        text = (
            f"{slot:{slot_width}d}: {_address(row['local'])} {_address(row['remote'])} {row['state']:02X} "
            f"{row['send_queue']:08X}:{row['receive_queue']:08X} 00:00000000 00000000 {row['uid']:5d} "
            f"       0 {row['inode']} {tail}"
        )
        lines.append(text.ljust(width))
    return "".join(line + "\n" for line in lines).encode()


def unix(kernel: KernelView) -> bytes:
    """/proc/net/unix."""
    text = [UNIX_HEAD.encode()]
    for row in _table(kernel, socket.AF_UNIX):
        flags = SO_ACCEPTCON if row["listening"] else 0
        name = row["name"]
        shown = b"@" + name[1:].replace(b"\0", b"@") if name[:1] == b"\0" else name
        line = (
            f"{0:016x}: {row['references']:08X} {0:08X} {flags:08X} {row['type']:04X} "
            f"{row['state']:02X} {row['inode']:5d}"
        )
        text.append(line.encode() + (b" " + shown if shown else b"") + b"\n")
    return b"".join(text)


def dev(links: Links) -> str:
    """/proc/net/dev: what went over each interface."""
    lines = [DEV_HEAD]
    for link in links.links:
        # struct rtnl_link_stats64 by its columns here; the errors of some kinds are summed, as Linux does.
        (
            rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped, multicast,
            collisions, length, over, crc, frame, fifo, missed, aborted, carrier, tx_fifo, heartbeat, window,
            rx_compressed, tx_compressed,
        ) = link.counters  # fmt: skip
        lines.append(
            f"{link.name.decode('ascii', 'replace'):>6}: {rx_bytes:7d} {rx_packets:7d} {rx_errors:4d} "
            f"{rx_dropped + missed:4d} {fifo:4d} {length + over + crc + frame:5d} {rx_compressed:10d} {multicast:9d} "
            f"{tx_bytes:8d} {tx_packets:7d} {tx_errors:4d} {tx_dropped:4d} {tx_fifo:4d} {collisions:5d} "
            f"{carrier + aborted + window + heartbeat:7d} {tx_compressed:10d}\n"
        )
    return "".join(lines)


def _names(links: Links) -> dict[int, str]:
    return {link.index: link.name.decode("ascii", "replace") for link in links.links}


def _hex4(host: bytes) -> str:
    return f"{int.from_bytes(host, 'little'):08X}"


def route(links: Links) -> str:
    """/proc/net/route: the IPv4 routes."""
    names = _names(links)
    lines = [ROUTE_HEAD]
    for one in links.routes:
        if len(one.host) == 4:
            flags = RTF_UP | (RTF_GATEWAY if one.gateway else 0) | (RTF_HOST if one.prefix == 32 else 0)
            mask = ((1 << 32) - (1 << 32 - one.prefix)).to_bytes(4, "big")
            text = (
                f"{names[one.link]}\t{_hex4(one.host)}\t{_hex4(one.gateway)}\t{flags:04X}\t0\t0\t{one.metric}\t"
                f"{_hex4(mask)}\t0\t0\t0"
            )
            lines.append(text.ljust(127) + "\n")
    return "".join(lines)


def if_inet6(links: Links) -> str:
    """/proc/net/if_inet6: the IPv6 addresses. A scope is told in the number that it has in the kernel."""
    names = _names(links)
    scopes = {254: 0x10, 253: 0x20}
    return "".join(
        f"{one.host.hex()} {one.link:02x} {one.prefix:02x} {scopes.get(one.scope, 0):02x} {one.flags & 0xFF:02x} "
        f"{names[one.link]:>8}\n"
        for one in links.addresses
        if len(one.host) == 16
    )


def ipv6_route(links: Links) -> str:
    """/proc/net/ipv6_route: the IPv6 routes, and the one to oneself."""
    names = _names(links)
    lines = []
    for one in links.routes:
        if len(one.host) == 16:
            flags = RTF_UP | (RTF_GATEWAY if one.gateway else 0) | (RTF_HOST if one.prefix == 128 else 0)
            lines.append(
                f"{one.host.hex()} {one.prefix:02x} {0:032x} 00 {one.gateway.hex() or '0' * 32} {one.metric:08x} "
                f"00000001 00000000 {flags:08x} {names[one.link]:>8}\n"
            )
    return "".join(lines) + LOOPBACK_ROUTE6


def _netlink(kernel: KernelView) -> bytes:
    """/proc/net/netlink: the sockets of that family, without the kernel's own."""
    lines = [NETLINK]
    for row in _table(kernel, socket.AF_NETLINK):
        lines.append(
            f"{0:016x} {row['protocol']:<3d} {row['port']:<10d} {row['groups']:08x} {row['receive_queue']:<8d} "
            f"{0:<8d} {0:<5d} {2:<8d} {0:<8d} {row['inode']:<8d}\n"
        )
    return "".join(lines).encode()


def _groups(kernel: KernelView, size: int, always: tuple[bytes, ...]) -> list[tuple[bytes, int]]:
    """The multicast groups of that length of addresses, with how many sockets are members; ``always``: lo's own."""
    members = dict.fromkeys(always, 1)
    for row in _table(kernel, socket.AF_INET, socket.SOCK_DGRAM) + _table(kernel, socket.AF_INET6, socket.SOCK_DGRAM):
        for group in row["memberships"]:
            if len(group) == size:
                members[group] = members.get(group, 0) + 1
    return sorted(members.items(), reverse=True)


def _igmp(kernel: KernelView) -> bytes:
    """/proc/net/igmp: the groups of IPv4, all of them on lo."""
    groups = _groups(kernel, 4, (bytes((224, 0, 0, 1)),))
    lines = [IGMP_HEAD, f"{LOOPBACK.index}\tlo        : {len(groups):5d}      V3\n"]
    lines += [f"\t\t\t\t{_hex4(group)} {users:5d} 0:00000000\t\t0\n" for group, users in groups]
    return "".join(lines).encode()


def _igmp6(kernel: KernelView) -> bytes:
    """/proc/net/igmp6: the groups of IPv6, all of them on lo."""
    groups = _groups(kernel, 16, ALL_NODES)
    text = (f"{LOOPBACK.index:<4d} {'lo':<15s} {group.hex()} {users:5d} 0000000C 0\n" for group, users in groups)
    return "".join(text).encode()


def _sockstat(kernel: KernelView, text: str, family: int) -> bytes:
    """/proc/net/sockstat and sockstat6. ``used`` counts all that there are, of any family."""
    tcp = len(_table(kernel, family, socket.SOCK_STREAM))
    udp = len(_table(kernel, family, socket.SOCK_DGRAM))
    used = len(kernel.network.sockets) if kernel.network is not None else 0
    return text.format(used=used, tcp=tcp, udp=udp).encode()


def _snmp(kernel: KernelView) -> bytes:
    """/proc/net/snmp. Nobody counts packets where there are none: of the numbers that vary CurrEstab alone is told."""
    rows = [*_table(kernel, socket.AF_INET, socket.SOCK_STREAM), *_table(kernel, socket.AF_INET6, socket.SOCK_STREAM)]
    established = sum(row["state"] in (ESTABLISHED, CLOSE_WAIT) for row in rows)
    lines = []
    for name, fields in SNMP:
        values = [established if field == "CurrEstab" else SNMP_VALUES.get(field, 0) for field in fields.split()]
        lines.append(f"{name}: {fields}\n{name}: {' '.join(map(str, values))}\n")
    return "".join(lines).encode()
