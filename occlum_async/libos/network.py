"""The network of a LibOS as its user chooses it: the words of the options, and the making of it at boot."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import msgspec

from ..abi.errors import SyscallError
from ..errors import ConfigError
from ..io.boundary import Boundary
from ..io.sockets.hostside import HostSide
from ..io.sockets.policy import FROM, OUT, Policy, Rule, Verdict
from ..io.sockets.private import PrivateNetwork, Publication
from ..io.sockets.stack import NetworkStack

MODES = ("none", "private", "host")
RULE = re.compile(
    r"(?:(?P<direction>out|in|from):)?"
    r"(?P<target>\[[0-9a-fA-F:.]+(?:/\d+)?\]|[^:\[\]]+)"
    r"(?::(?P<first>\d+)(?:-(?P<last>\d+))?)?"
)
NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
PROTOCOLS = ("tcp", "udp")
RULE_HINT = "write [out:|in:|from:]ADDRESS|CIDR|NAME|*[:PORT[-PORT]][/tcp|/udp], IPv6 in brackets"
PUBLISH_HINT = "write [ADDRESS:]HOST_PORT:PORT[/udp], like 8080:80"


class NetworkSpec(msgspec.Struct, frozen=True):
    """``publish``, ``allow`` and ``deny`` as the options have them; see docs/network.md."""

    mode: str = "private"
    publish: Sequence[str] = ()
    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    on_connect: Verdict | None = None
    on_bind: Verdict | None = None

    def check(self) -> None:
        """``ConfigError`` for what can't be meant; names are not looked up yet."""
        if self.mode not in MODES:
            raise ConfigError(f"unknown network {self.mode!r}", f"it is one of {', '.join(MODES)}")
        if self.publish and self.mode != "private":
            raise ConfigError(f"--publish needs --network private, not {self.mode}", "leave out one of them")
        for text in self.publish:
            parse_publish(text)
        for text in (*self.allow, *self.deny):
            parse_rule(text)


def parse_publish(text: str) -> Publication:
    """``[ADDRESS:]HOST:GUEST[/udp]``; 0.0.0.0 where no address is given, a HOST of 0 lets the host choose."""
    rest, _, protocol = text.partition("/")
    address, _, ports = rest.rpartition("]:") if rest.startswith("[") else ("", "", rest)
    if not address and ports.count(":") == 2:
        address, _, ports = ports.partition(":")
    numbers = re.fullmatch(r"(\d{1,5}):(\d{1,5})", ports)
    if numbers is None or protocol not in ("", *PROTOCOLS):
        raise ConfigError(f"--publish: {text!r} can't be read", PUBLISH_HINT)
    host, guest = int(numbers[1]), int(numbers[2])
    if host > 65535 or not 0 < guest < 65536:
        raise ConfigError(f"--publish: {text!r} has a port out of range", "ports lie between 1 and 65535")
    try:
        packed = ip_address(address.lstrip("[") or "0.0.0.0").packed
    except ValueError:
        raise ConfigError(f"--publish: {address!r} is no address", PUBLISH_HINT) from None
    return Publication(packed, host, guest, protocol or "tcp")


class RuleText(msgspec.Struct, frozen=True):
    """A rule that was read; ``name`` is a host's name that has to be looked up, or empty."""

    direction: str
    network: IPv4Network | IPv6Network | None
    name: str
    ports: tuple[int, int]
    protocol: str


def parse_rule(text: str) -> RuleText:
    """One --allow or --deny."""
    body, protocol = text, ""
    head, slash, tail = text.rpartition("/")
    if slash and tail in PROTOCOLS:
        body, protocol = head, tail
    match = RULE.fullmatch(body)
    if match is None:
        raise ConfigError(f"network rule {text!r} can't be read", RULE_HINT)
    first = int(match["first"] or 0)
    last = int(match["last"] or match["first"] or 65535)
    if not 0 <= first <= last <= 65535:
        raise ConfigError(f"network rule {text!r} has a port out of range", RULE_HINT)
    target = match["target"].strip("[]")
    network, name = None, ""
    if target != "*":
        try:
            network = ip_network(target, strict=False)
        except ValueError:
            name = target
    if name and (not NAME.fullmatch(name) or re.fullmatch(r"[\d.]+", name)):
        raise ConfigError(f"network rule {text!r}: {name!r} is neither an address nor a name", RULE_HINT)
    return RuleText(match["direction"] or "", network, name, (first, last), protocol)


async def make_policy(spec: NetworkSpec) -> Policy:
    """The policy with every name looked up, once: whoever answers for the name later can't change the rules."""
    allow = [rule for text in spec.allow for rule in await _rules(text, denying=False)]
    deny = [rule for text in spec.deny for rule in await _rules(text, denying=True)]
    return Policy(allow, deny, spec.on_connect, spec.on_bind)


async def _rules(text: str, denying: bool) -> list[Rule]:
    read = parse_rule(text)
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    if read.name:
        networks = await _look_up(read.name)
    elif read.network is not None:
        networks = (_canonical(read.network),)
    rule = Rule(read.direction or OUT, networks, read.ports, read.protocol)
    if denying and not read.direction and read.ports == (0, 65535):
        # An address that is denied altogether may not connect to us either.
        return [rule, Rule(FROM, networks, read.ports, read.protocol)]
    return [rule]


def _canonical(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """An IPv4-mapped IPv6 network as the IPv4 one that it is."""
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        return IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network


async def _look_up(name: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"network rule: {name}: {error.strerror}", "name a host that can be looked up") from None
    addresses = {str(entry[4][0]).partition("%")[0] for entry in found}
    return tuple(_canonical(ip_network(address)) for address in sorted(addresses))


async def connect_network(stack: NetworkStack, spec: NetworkSpec, boundary: Boundary) -> Policy:
    """Give ``stack`` its outside; the policy. ``ConfigError`` for a port that can't be published."""
    policy = await make_policy(spec)
    if spec.mode == "host":
        stack.outside = HostSide(stack, boundary, policy)
    elif spec.mode == "private" and spec.publish:
        private = PrivateNetwork(stack, boundary, policy)
        stack.outside = private
        for text in spec.publish:
            _publish(private, text)
    return policy


def _publish(private: PrivateNetwork, text: str) -> None:
    wanted = parse_publish(text)
    try:
        private.publish(wanted)
    except SyscallError as error:
        hints = {
            errno.EADDRINUSE: "another program has that port: choose another one",
            errno.EACCES: "ports below 1024 need a privilege: choose a higher one",
            errno.EADDRNOTAVAIL: "that address is not this host's",
        }
        message = f"port {wanted.port} can't be published: {os.strerror(error.errno)}"
        raise ConfigError(message, hints.get(error.errno, "choose another one")) from None
