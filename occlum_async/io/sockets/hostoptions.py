"""Which options of a socket concern the host, and how they get there.

An option that changes what the other side or the network sees is set on the host's descriptor: when that is made,
and whenever it changes. All others are the affair of the socket inside. TCP_NODELAY is always set there, as what a
turn of the event loop wrote leaves as one piece anyway; TCP_CORK is the wire's, which holds the bytes back itself.
"""

from __future__ import annotations

import logging
import socket as s
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.socket import INT, SO_MAX_PACING_RATE, SOCK_STREAM, SOL_IP, SOL_IPV6, SOL_TCP
from ..boundary.network import HostNetwork
from . import ipoptions as ip
from .tcpoptions import TcpOptions

if TYPE_CHECKING:
    from .inet import InetSocket

log = logging.getLogger(__name__)

GENERAL = frozenset((
    (s.SOL_SOCKET, s.SO_SNDBUF), (s.SOL_SOCKET, s.SO_RCVBUF), (s.SOL_SOCKET, s.SO_PRIORITY),
    (s.SOL_SOCKET, s.SO_DONTROUTE), (s.SOL_SOCKET, SO_MAX_PACING_RATE), (SOL_IP, ip.IP_TOS), (SOL_IP, ip.IP_TTL),
    (SOL_IP, ip.IP_MTU_DISCOVER), (SOL_IP, ip.IP_MINTTL), (SOL_IPV6, ip.IPV6_TCLASS),
    (SOL_IPV6, ip.IPV6_UNICAST_HOPS), (SOL_IPV6, ip.IPV6_MTU_DISCOVER), (SOL_IPV6, ip.IPV6_DONTFRAG),
    (SOL_IPV6, ip.IPV6_MINHOPCOUNT), (SOL_IPV6, ip.IPV6_AUTOFLOWLABEL),
))  # fmt: skip
STREAM = GENERAL | {
    (s.SOL_SOCKET, s.SO_KEEPALIVE), (SOL_TCP, s.TCP_KEEPIDLE), (SOL_TCP, s.TCP_KEEPINTVL), (SOL_TCP, s.TCP_KEEPCNT),
    (SOL_TCP, s.TCP_USER_TIMEOUT), (SOL_TCP, s.TCP_SYNCNT), (SOL_TCP, s.TCP_MAXSEG), (SOL_TCP, s.TCP_QUICKACK),
    (SOL_TCP, s.TCP_LINGER2), (SOL_TCP, s.TCP_WINDOW_CLAMP), (SOL_TCP, s.TCP_DEFER_ACCEPT), (SOL_TCP, s.TCP_FASTOPEN),
    (SOL_TCP, ip.TCP_THIN_LINEAR), (SOL_TCP, ip.TCP_TX_DELAY),
}  # fmt: skip
DATAGRAM = GENERAL | {
    (s.SOL_SOCKET, s.SO_BROADCAST), (SOL_IP, ip.IP_PKTINFO), (SOL_IP, ip.IP_RECVTTL), (SOL_IP, ip.IP_RECVTOS),
    (SOL_IP, ip.IP_RECVORIGDSTADDR), (SOL_IPV6, ip.IPV6_RECVPKTINFO), (SOL_IPV6, ip.IPV6_RECVHOPLIMIT),
    (SOL_IPV6, ip.IPV6_RECVTCLASS),
}  # fmt: skip
# What the connection on the host knows better than anybody inside.
ASKED = frozenset((
    (SOL_TCP, s.TCP_INFO), (SOL_TCP, s.TCP_MAXSEG), (SOL_IP, ip.IP_MTU), (SOL_IPV6, ip.IPV6_MTU),
))  # fmt: skip


def passes(socket: InetSocket, level: int, name: int) -> bool:
    """Whether an option of ``socket`` concerns the host."""
    if (level, name) == (SOL_TCP, s.TCP_CONGESTION):
        return True
    return (level, name) in (STREAM if socket.type == SOCK_STREAM else DATAGRAM)


def pass_options(network: HostNetwork, fd: int, socket: InetSocket) -> None:
    """Set on the host what was set inside; what the host refuses stays the socket's own affair."""
    for level, name in socket.options:
        if passes(socket, level, name):
            pass_option(network, fd, socket, level, name)
    if isinstance(socket, TcpOptions) and socket.congestion:
        pass_option(network, fd, socket, SOL_TCP, s.TCP_CONGESTION)


def pass_option(network: HostNetwork, fd: int, socket: InetSocket, level: int, name: int) -> None:
    """Set one option on the host as it is inside."""
    if (level, name) == (SOL_TCP, s.TCP_CONGESTION) and isinstance(socket, TcpOptions):
        value = socket.congestion
    else:
        value = INT.pack(socket.option(name, level))
    try:
        network.set_option(fd, level, name, value)
    except SyscallError as error:
        log.debug("setsockopt(%d, %d): %s", level, name, error)
