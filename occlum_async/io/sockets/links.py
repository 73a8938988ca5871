"""Network interfaces, their addresses and the routes over them, as programs are told of them."""

from __future__ import annotations

from functools import cached_property

import msgspec

from ...abi.socket import AF_INET, AF_INET6

ARPHRD_LOOPBACK = 772
IFF_UP, IFF_BROADCAST, IFF_LOOPBACK, IFF_RUNNING, IFF_LOWER_UP = 0x1, 0x2, 0x8, 0x40, 0x10000
SCOPE_HOST, SCOPE_UNIVERSE = 254, 0
IFA_F_PERMANENT = 0x80
TABLE_MAIN, TABLE_LOCAL = 254, 255
COUNTERS = 23  # of struct rtnl_link_stats64, as far as they are told


class Link(msgspec.Struct, frozen=True):
    """An interface. ``flags`` are IFF_*; ``counters`` are those of ``struct rtnl_link_stats64``, in its order."""

    index: int
    name: bytes
    kind: int
    flags: int
    mtu: int
    queue_length: int = 1000
    address: bytes = bytes(6)
    broadcast: bytes = bytes(6)
    state: int = 0
    discipline: bytes = b"noqueue"
    counters: tuple[int, ...] = (0,) * COUNTERS


class Address(msgspec.Struct, frozen=True):
    """An address of the interface ``link``; ``prefix`` is the length of its network's."""

    link: int
    host: bytes
    prefix: int
    scope: int = SCOPE_UNIVERSE
    flags: int = IFA_F_PERMANENT
    broadcast: bytes = b""
    label: bytes = b""

    @property
    def family(self) -> int:
        return AF_INET if len(self.host) == 4 else AF_INET6

    @property
    def mask(self) -> bytes:
        """The netmask, as long as the address is."""
        bits = len(self.host) * 8
        return ((1 << bits) - (1 << bits - self.prefix)).to_bytes(len(self.host), "big")


class Route(msgspec.Struct, frozen=True):
    """A route to ``host``/``prefix`` over the interface ``link``. ``gateway`` and ``source`` may be empty."""

    link: int
    host: bytes
    prefix: int
    gateway: bytes = b""
    source: bytes = b""
    metric: int = 0
    table: int = TABLE_MAIN
    protocol: int = 0
    scope: int = SCOPE_UNIVERSE
    kind: int = 1  # RTN_UNICAST
    flags: int = 0

    def covers(self, host: bytes) -> bool:
        """Whether the route leads to ``host``."""
        if len(host) != len(self.host):
            return False
        shift = len(host) * 8 - self.prefix
        return int.from_bytes(host, "big") >> shift == int.from_bytes(self.host, "big") >> shift


class Links(msgspec.Struct, frozen=True, dict=True):
    """All of them at one moment."""

    links: tuple[Link, ...]
    addresses: tuple[Address, ...]
    routes: tuple[Route, ...] = ()

    @cached_property
    def _by_name(self) -> dict[bytes, Link]:
        return {link.name: link for link in self.links}

    @cached_property
    def _by_index(self) -> dict[int, Link]:
        return {link.index: link for link in self.links}

    def named(self, name: bytes) -> Link | None:
        """The interface of that name."""
        return self._by_name.get(name)

    def numbered(self, index: int) -> Link | None:
        """The interface of that number."""
        return self._by_index.get(index)

    def address_of(self, link: Link) -> Address | None:
        """The first IPv4 address of an interface, which is the one that ioctls know."""
        return next((one for one in self.addresses if one.link == link.index and one.family == AF_INET), None)

    def route_to(self, host: bytes) -> Route | None:
        """The route that leads to ``host``: the most specific one, then the cheapest."""
        found = [route for route in self.routes if route.covers(host)]
        return max(found, key=lambda route: (route.prefix, -route.metric), default=None)


LOOPBACK = Link(
    1, b"lo", ARPHRD_LOOPBACK, IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP, 65536,
)  # fmt: skip
LOOPBACK_ALONE = Links(
    (LOOPBACK,),
    (
        Address(LOOPBACK.index, b"\x7f\0\0\x01", 8, SCOPE_HOST, label=LOOPBACK.name),
        Address(LOOPBACK.index, bytes(15) + b"\x01", 128, SCOPE_HOST),
    ),
)
