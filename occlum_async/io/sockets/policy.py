"""Who may talk to whom: the rules of a network policy, and the callbacks that have a say beside them.

A rule concerns one direction: ``out`` (a destination of connect(2) and of datagrams), ``in`` (a local address to
be bound) or ``from`` (the peer of a connection or datagram that comes in). A denying rule wins over an allowing
one; where a direction has allowing rules, what none of them allows is refused.
"""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import msgspec

from ...abi.socket import InetAddress

log = logging.getLogger(__name__)

OUT, IN, FROM = "out", "in", "from"
TOLD_MAX = 256  # refusals that are told one by one

# ``callback(address, port, protocol)``: whether it may be.
Verdict = Callable[[str, int, str], "bool | Awaitable[bool]"]

# IPv6 addresses that stand for an IPv4 one which a gateway or a tunnel leads to: NAT64 and 6to4.
NAT64 = bytes.fromhex("0064ff9b") + bytes(8)
SIX_TO_FOUR = bytes.fromhex("2002")


class Rule(msgspec.Struct, frozen=True):
    """``networks`` is empty for any address, ``protocol`` for any protocol; ``ports`` are the first and the last."""

    direction: str
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    ports: tuple[int, int] = (0, 65535)
    protocol: str = ""

    def matches(self, direction: str, host: bytes, port: int, protocol: str) -> bool:
        """Whether the rule is about this."""
        if direction != self.direction or not self.ports[0] <= port <= self.ports[1]:
            return False
        if self.protocol not in ("", protocol):
            return False
        if not self.networks:
            return True
        addresses = [ip_address(alias) for alias in aliases(host)]
        return any(address in network for network in self.networks for address in addresses)


def aliases(host: bytes) -> list[bytes]:
    """``host``, and the IPv4 address that it stands for if it is an IPv6 one that does."""
    if len(host) == 16:
        if host.startswith(NAT64) or (not any(host[:12]) and any(host[12:15])):
            return [host, host[12:]]
        if host.startswith(SIX_TO_FOUR):
            return [host, host[2:6]]
    return [host]


def text_of(host: bytes) -> str:
    """A packed address as people write it."""
    return str(ip_address(host))


class Policy:
    """All rules and callbacks of one LibOS. ``refused`` counts refusals by direction."""

    def __init__(
        self,
        allow: Sequence[Rule] = (),
        deny: Sequence[Rule] = (),
        on_connect: Verdict | None = None,
        on_bind: Verdict | None = None,
    ) -> None:
        self.allow = tuple(allow)
        self.deny = tuple(deny)
        self.callbacks: dict[str, Verdict | None] = {OUT: on_connect, IN: on_bind, FROM: None}
        self.refused: Counter[str] = Counter()
        self._told: set[tuple[str, bytes, int, str]] = set()

    def allows(self, direction: str, address: InetAddress, protocol: str) -> bool:
        """What the rules say; a refusal is counted and logged."""
        case = (direction, address.host, address.port, protocol)
        allowing = [rule for rule in self.allow if rule.direction == direction]
        fine = not any(rule.matches(*case) for rule in self.deny)
        fine = fine and (not allowing or any(rule.matches(*case) for rule in allowing))
        if not fine:
            self._refuse(*case)
        return fine

    async def admits(self, direction: str, address: InetAddress, protocol: str) -> bool:
        """What the rules say, and then the callback. A callback that fails refuses."""
        if not self.allows(direction, address, protocol):
            return False
        callback = self.callbacks[direction]
        if callback is None:
            return True
        try:
            answer: Any = callback(text_of(address.host), address.port, protocol)
            if inspect.isawaitable(answer):
                answer = await answer
        except Exception:
            log.exception("the callback on %s failed: refused", direction)
            answer = False
        if not answer:
            self._refuse(direction, address.host, address.port, protocol)
        return bool(answer)

    def asks(self, direction: str) -> bool:
        """Whether somebody must be asked beside the rules."""
        return self.callbacks[direction] is not None

    def _refuse(self, direction: str, host: bytes, port: int, protocol: str) -> None:
        self.refused[direction] += 1
        case = (direction, host, port, protocol)
        if case not in self._told and len(self._told) < TOLD_MAX:
            self._told.add(case)
            log.warning("network policy: refused %s %s %s port %d", protocol, direction, text_of(host), port)
