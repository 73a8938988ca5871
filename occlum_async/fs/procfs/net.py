"""/proc/net: the sockets and interfaces of the LibOS's own network, which is the loopback interface."""

from __future__ import annotations

import socket
import struct
from typing import Any

from ..synthetic import Folder
from .views import KernelView

INET_HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
)
INET6_HEAD = (
    "  sl  local_address                         remote_address                        "
    "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
)
UNIX_HEAD = "Num       RefCount Protocol Flags    Type St Inode Path\n"
DEV = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast"
    "|bytes    packets errs drop fifo colls carrier compressed\n"
    "    lo:       0       0    0    0    0     0          0         0"
    "        0       0    0    0    0     0       0          0\n"
)
NETLINK = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
ROUTE = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT".ljust(127) + "\n"
IF_INET6 = "00000000000000000000000000000001 01 80 10 80       lo\n"
IPV6_ROUTE = f"{1:032x} 80 {0:032x} 00 {0:032x} 00000100 00000002 00000000 80200001       lo\n"
SOCKSTAT = "sockets: used {used}\nTCP: inuse {tcp} orphan 0 tw 0 alloc {tcp} mem 0\nUDP: inuse {udp} mem 0\n"
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
    folder.add(b"dev", DEV.encode())
    folder.add(b"route", ROUTE.encode())
    folder.add(b"if_inet6", IF_INET6.encode())
    folder.add(b"ipv6_route", IPV6_ROUTE.encode())
    folder.add(b"arp", b"IP address       HW type     Flags       HW address            Mask     Device\n")
    folder.add(b"netlink", NETLINK.encode())
    folder.add(b"packet", b"sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n")
    folder.add(b"protocols", b"protocol  size sockets  memory press maxhdr  slab module\n")
    folder.add(b"sockstat", lambda: _sockstat(kernel))
    folder.add(b"wireless", b"")


def _table(kernel: KernelView, family: int, kind: int = 0) -> list[dict[str, Any]]:
    return list(kernel.network.table(family, kind)) if kernel.network is not None else []


def _address(name: tuple[bytes, int]) -> str:
    """An address as Linux prints it: each 32-bit word of the host in the machine's order, and the port."""
    host, port = name
    words = struct.unpack(f"<{len(host) // 4}I", host)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def inet(kernel: KernelView, family: int, kind: int) -> bytes:
    """/proc/net/tcp and its like."""
    head = INET_HEAD if family == socket.AF_INET else INET6_HEAD
    lines = [head.ljust(149) if family == socket.AF_INET else head]
    for slot, row in enumerate(_table(kernel, family, kind)):
        text = (
            f"{slot:4d}: {_address(row['local'])} {_address(row['remote'])} {row.get('state', 7):02X} "
            f"{row['send_queue']:08X}:{row['receive_queue']:08X} 00:00000000 00000000 {row['uid']:5d} "
            f"       0 {row['inode']} 1 0000000000000000 100 0 0 10 0"
        )
        lines.append(text.ljust(149) if family == socket.AF_INET else text)
    return "".join(line + "\n" for line in lines).encode()


def unix(kernel: KernelView) -> bytes:
    """/proc/net/unix."""
    text = [UNIX_HEAD.encode()]
    for row in _table(kernel, socket.AF_UNIX):
        flags = SO_ACCEPTCON if row.get("listening") else 0
        name = row.get("name") or b""
        shown = b"@" + name[1:].replace(b"\0", b"@") if name[:1] == b"\0" else name
        state = row.get("state", 1)
        line = (
            f"{0:016x}: {max(1, row['references']):08X} {0:08X} {flags:08X} {row['type']:04X} "
            f"{state:02X} {row['inode']:5d}"
        )
        text.append(line.encode() + (b" " + shown if shown else b"") + b"\n")
    return b"".join(text)


def _sockstat(kernel: KernelView) -> bytes:
    tcp = len(_table(kernel, socket.AF_INET, socket.SOCK_STREAM))
    udp = len(_table(kernel, socket.AF_INET, socket.SOCK_DGRAM))
    used = tcp + udp + len(_table(kernel, socket.AF_UNIX))
    return SOCKSTAT.format(used=used, tcp=tcp, udp=udp).encode()
