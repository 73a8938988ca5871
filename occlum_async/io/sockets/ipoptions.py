"""The options of IP, IPv6, TCP and UDP that are stored and given back: their values from the start and their limits.

See ip(7), ipv6(7), tcp(7), udp(7). What an option does, where it does something, is its protocol's affair; which of
them concern the host is ``hostoptions``' one.
"""

from __future__ import annotations

import errno
import socket as s
from typing import NamedTuple

from ...abi.errors import SyscallError
from ...abi.socket import SOCK_DGRAM, SOL_IP, SOL_IPV6, SOL_TCP, SOL_UDP

IP_TOS, IP_TTL, IP_OPTIONS, IP_RECVOPTS, IP_PKTINFO, IP_MTU_DISCOVER = 1, 2, 4, 6, 8, 10
IP_RECVERR, IP_RECVTTL, IP_RECVTOS, IP_PASSSEC, IP_CHECKSUM, IP_RECVFRAGSIZE = 11, 12, 13, 18, 23, 25
IP_MTU, IP_FREEBIND, IP_TRANSPARENT, IP_RECVORIGDSTADDR, IP_MINTTL, IP_BIND_ADDRESS_NO_PORT = 14, 15, 19, 20, 21, 24
IP_MULTICAST_IF, IP_MULTICAST_TTL, IP_MULTICAST_LOOP, IP_MULTICAST_ALL, IP_UNICAST_IF = 32, 33, 34, 49, 50
IP_LOCAL_PORT_RANGE, IP_RETOPTS, IP_RECVERR_RFC4884 = 51, 7, 26
IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP = 35, 36
IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP = 20, 21
IPV6_UNICAST_HOPS, IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP = 16, 17, 18, 19
IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_RECVERR, IPV6_V6ONLY, IPV6_MULTICAST_ALL = 23, 24, 25, 26, 29
IPV6_RECVERR_RFC4884, IPV6_RECVPKTINFO, IPV6_PKTINFO, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT = 31, 49, 50, 51, 52
IPV6_RECVTCLASS, IPV6_TCLASS, IPV6_FREEBIND, IPV6_ADDR_PREFERENCES, IPV6_DONTFRAG = 66, 67, 78, 72, 62
IPV6_AUTOFLOWLABEL, IPV6_MINHOPCOUNT, IPV6_TRANSPARENT, IPV6_UNICAST_IF = 70, 73, 75, 76
IPV6_RECVHOPOPTS, IPV6_RECVRTHDR, IPV6_RECVDSTOPTS, IPV6_RECVPATHMTU = 53, 56, 58, 60

TCP_THIN_LINEAR, TCP_THIN_DUPACK, TCP_TIMESTAMP, TCP_SAVE_SYN, TCP_INQ = 16, 17, 24, 27, 36
TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE, TCP_ULP, TCP_TX_DELAY = 30, 34, 31, 37
UDP_CORK, UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX, UDP_SEGMENT, UDP_GRO = 1, 101, 102, 103, 104

INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1
DEFAULT_HOPS = 64


class Rule(NamedTuple):
    """What an option may be. A ``flag`` is 1 for any number but 0; ``automatic`` lets -1 stand for the default.

    ``kind`` is the type of socket that it is for, 0 for any.
    """

    default: int = 0
    low: int = INT_MIN
    high: int = INT_MAX
    flag: bool = False
    automatic: bool = False
    kind: int = 0

    def accept(self, number: int) -> int:
        """What is stored when the option is set to ``number``; EINVAL."""
        if self.flag:
            return int(number != 0)
        if self.automatic and number == -1:
            return self.default
        if not self.low <= number <= self.high:
            raise SyscallError(errno.EINVAL)
        return number


FLAG, SWITCH = Rule(flag=True), Rule(low=0, high=1)
HOPS = Rule(DEFAULT_HOPS, 1, 255, automatic=True)
GROUP_HOPS = Rule(1, 0, 255, automatic=True, kind=SOCK_DGRAM)
MTU_DISCOVER = Rule(1, 0, 5)

RULES: dict[tuple[int, int], Rule] = {
    **dict.fromkeys(
        (
            (SOL_IP, IP_RECVOPTS), (SOL_IP, IP_RETOPTS), (SOL_IP, IP_PKTINFO), (SOL_IP, IP_RECVERR),
            (SOL_IP, IP_RECVTTL), (SOL_IP, IP_RECVTOS), (SOL_IP, IP_FREEBIND), (SOL_IP, IP_PASSSEC),
            (SOL_IP, IP_RECVORIGDSTADDR), (SOL_IP, IP_CHECKSUM), (SOL_IP, IP_BIND_ADDRESS_NO_PORT),
            (SOL_IPV6, IPV6_RECVERR), (SOL_IPV6, IPV6_V6ONLY), (SOL_IPV6, IPV6_RECVPKTINFO),
            (SOL_IPV6, IPV6_RECVHOPLIMIT), (SOL_IPV6, IPV6_RECVHOPOPTS), (SOL_IPV6, IPV6_RECVRTHDR),
            (SOL_IPV6, IPV6_RECVDSTOPTS), (SOL_IPV6, IPV6_RECVPATHMTU), (SOL_IPV6, IPV6_DONTFRAG),
            (SOL_IPV6, IPV6_RECVTCLASS), (SOL_IPV6, IPV6_FREEBIND), (SOL_UDP, UDP_CORK),
            (SOL_UDP, UDP_NO_CHECK6_TX), (SOL_UDP, UDP_NO_CHECK6_RX), (SOL_UDP, UDP_GRO),
            (SOL_TCP, s.TCP_NODELAY), (SOL_TCP, s.TCP_CORK), (SOL_TCP, s.TCP_QUICKACK),
        ), FLAG,
    ),
    **dict.fromkeys(
        (
            (SOL_IP, IP_RECVERR_RFC4884), (SOL_IPV6, IPV6_RECVERR_RFC4884), (SOL_TCP, TCP_THIN_LINEAR),
            (SOL_TCP, TCP_FASTOPEN_CONNECT), (SOL_TCP, TCP_FASTOPEN_NO_COOKIE), (SOL_TCP, TCP_INQ),
        ), SWITCH,
    ),
    (SOL_IP, IP_TOS): Rule(), (SOL_IP, IP_TTL): HOPS, (SOL_IP, IP_MTU_DISCOVER): MTU_DISCOVER,
    (SOL_IP, IP_MINTTL): Rule(0, 0, 255), (SOL_IP, IP_RECVFRAGSIZE): Rule(flag=True, kind=SOCK_DGRAM),
    (SOL_IP, IP_MULTICAST_TTL): GROUP_HOPS, (SOL_IP, IP_MULTICAST_LOOP): Rule(1, flag=True),
    (SOL_IP, IP_MULTICAST_ALL): Rule(1, 0, 1), (SOL_IP, IP_LOCAL_PORT_RANGE): Rule(),
    (SOL_IPV6, IPV6_UNICAST_HOPS): HOPS._replace(low=0), (SOL_IPV6, IPV6_MULTICAST_HOPS): GROUP_HOPS,
    (SOL_IPV6, IPV6_MULTICAST_LOOP): Rule(1, 0, 1), (SOL_IPV6, IPV6_MULTICAST_ALL): Rule(1, flag=True),
    (SOL_IPV6, IPV6_MTU_DISCOVER): MTU_DISCOVER, (SOL_IPV6, IPV6_AUTOFLOWLABEL): Rule(1, flag=True),
    (SOL_IPV6, IPV6_TCLASS): Rule(0, 0, 255, automatic=True), (SOL_IPV6, IPV6_MINHOPCOUNT): Rule(0, 0, 255),
    (SOL_IPV6, IPV6_ADDR_PREFERENCES): Rule(2),
    (SOL_TCP, s.TCP_KEEPIDLE): Rule(7200, 1, 32767), (SOL_TCP, s.TCP_KEEPINTVL): Rule(75, 1, 32767),
    (SOL_TCP, s.TCP_KEEPCNT): Rule(9, 1, 127), (SOL_TCP, s.TCP_SYNCNT): Rule(6, 1, 127),
    (SOL_TCP, s.TCP_LINGER2): Rule(60), (SOL_TCP, s.TCP_DEFER_ACCEPT): Rule(),
    (SOL_TCP, s.TCP_WINDOW_CLAMP): Rule(), (SOL_TCP, s.TCP_QUICKACK): Rule(1, flag=True),
    (SOL_TCP, s.TCP_USER_TIMEOUT): Rule(0, 0), (SOL_TCP, s.TCP_FASTOPEN): Rule(0, 0),
    (SOL_TCP, s.TCP_NOTSENT_LOWAT): Rule(), (SOL_TCP, TCP_THIN_DUPACK): SWITCH,
    (SOL_UDP, UDP_SEGMENT): Rule(0, 0, 65535),
    (SOL_TCP, TCP_TIMESTAMP): Rule(0, 0), (SOL_TCP, TCP_SAVE_SYN): Rule(0, 0, 2), (SOL_TCP, TCP_TX_DELAY): Rule(0, 0),
}  # fmt: skip

# Interfaces by number, in the machine's order for IPv6 and in the network's for IPv4: 0 for any.
INTERFACES = frozenset((
    (SOL_IP, IP_UNICAST_IF), (SOL_IPV6, IPV6_UNICAST_IF), (SOL_IPV6, IPV6_MULTICAST_IF),
))  # fmt: skip
# They ask for a privilege unless they are switched off.
PRIVILEGED = frozenset(((SOL_IP, IP_TRANSPARENT), (SOL_IPV6, IPV6_TRANSPARENT)))
# Two names of one and the same bit.
SAME = {(SOL_IPV6, IPV6_FREEBIND): (SOL_IP, IP_FREEBIND)}

FIN_TIMEOUT_MAX = 120  # seconds
RETRY_MAX = 120  # seconds between two tries of a handshake, of which there are at most
TRIES_MAX = 255
FASTOPEN_QUEUE_MAX = 4096
WINDOW_MIN = 1152


def type_of_service(number: int, stream: bool) -> int:
    """IP_TOS: TCP keeps the two bits of congestion notification to itself."""
    return number & (0xFC if stream else 0xFF)


def deferral(seconds: int) -> int:
    """TCP_DEFER_ACCEPT is kept as a number of retries, each twice as long as the last; the seconds of those."""
    if seconds <= 0:
        return 0
    period = pause = tries = 1
    while period < seconds and tries < TRIES_MAX:
        tries += 1
        pause = min(2 * pause, RETRY_MAX)
        period += pause
    return period
