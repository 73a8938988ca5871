"""The words of --network, --publish, --allow and --deny."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from occlum_async.abi.socket import InetAddress
from occlum_async.errors import ConfigError
from occlum_async.io.sockets.policy import FROM, IN, OUT, Policy, aliases
from occlum_async.io.sockets.private import Publication
from occlum_async.libos.network import NetworkSpec, make_policy, parse_publish, parse_rule

LOOPBACK = b"\x7f\0\0\x01"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("8080:80", Publication(bytes(4), 8080, 80, "tcp")),
        ("127.0.0.1:8080:80", Publication(LOOPBACK, 8080, 80, "tcp")),
        ("0:53/udp", Publication(bytes(4), 0, 53, "udp")),
        ("[::1]:8080:80/tcp", Publication(bytes(15) + b"\x01", 8080, 80, "tcp")),
    ],
)
def test_publish(text: str, meaning: Publication) -> None:
    assert parse_publish(text) == meaning


@pytest.mark.parametrize(
    "text", ["", "80", "a:b", "80:0", "80:65536", "70000:1", "1.2.3:4:5", "80:80/sctp", "[::1:80:80"]
)
def test_publish_mistakes(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_publish(text)


@pytest.mark.parametrize(
    ("text", "direction", "network", "name", "ports", "protocol"),
    [
        ("10.0.0.0/8", "", ip_network("10.0.0.0/8"), "", (0, 65535), ""),
        ("10.0.0.0/8:80/tcp", "", ip_network("10.0.0.0/8"), "", (80, 80), "tcp"),
        ("in:*:8000-9000", IN, None, "", (8000, 9000), ""),
        ("out:[2001:db8::]/udp", OUT, ip_network("2001:db8::"), "", (0, 65535), "udp"),
        ("from:[2001:db8::/32]:443", FROM, ip_network("2001:db8::/32"), "", (443, 443), ""),
        ("db.example.org:5432", "", None, "db.example.org", (5432, 5432), ""),
    ],
)
def test_rules(text: str, direction: str, network: object, name: str, ports: tuple[int, int], protocol: str) -> None:
    rule = parse_rule(text)
    assert (rule.direction, rule.network, rule.name) == (direction, network, name)
    assert (rule.ports, rule.protocol) == (ports, protocol)


@pytest.mark.parametrize(
    "text", ["", ":80", "10.0.0.0/33", "1.2.3", "a b", "x:99999", "x:9-8", "in:", "[::1", "256.1.1.1"]
)
def test_rule_mistakes(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_rule(text)


@pytest.mark.parametrize(
    "spec",
    [NetworkSpec("bridge"), NetworkSpec("host", publish=["80:80"]), NetworkSpec("private", publish=["x"]),
     NetworkSpec("host", allow=["::"])],
)  # fmt: skip
def test_specs_that_mean_nothing(spec: NetworkSpec) -> None:
    with pytest.raises(ConfigError):
        spec.check()


def allowed(policy: Policy, direction: str, host: bytes, port: int, protocol: str = "tcp") -> bool:
    return policy.allows(direction, InetAddress(host, port), protocol)


async def test_deny_wins_and_allow_excludes() -> None:
    policy = await make_policy(NetworkSpec("host", allow=["127.0.0.1:5432", "10.0.0.0/8"], deny=["10.1.0.0/16"]))
    assert allowed(policy, OUT, LOOPBACK, 5432)
    assert not allowed(policy, OUT, LOOPBACK, 5433)
    assert allowed(policy, OUT, b"\x0a\x02\0\x01", 1)
    assert not allowed(policy, OUT, b"\x0a\x01\0\x01", 1)
    assert not allowed(policy, FROM, b"\x0a\x01\0\x01", 1)
    assert allowed(policy, FROM, b"\x0a\x02\0\x01", 1)
    assert allowed(policy, IN, LOOPBACK, 80)
    assert policy.refused == {OUT: 2, FROM: 1}


async def test_other_ways_to_write_a_denied_address() -> None:
    policy = await make_policy(NetworkSpec("host", deny=["10.0.0.0/8", "[::ffff:192.0.2.0/120]"]))
    ten = b"\x0a\0\0\x01"
    for host in (ten, bytes.fromhex("0064ff9b") + bytes(8) + ten, b"\x20\x02" + ten + bytes(10), bytes(12) + ten):
        assert not allowed(policy, OUT, host, 80), host.hex()
    assert not allowed(policy, OUT, b"\xc0\0\x02\x05", 80)
    assert aliases(bytes(15) + b"\x01") == [bytes(15) + b"\x01"]


async def test_names_are_looked_up_once() -> None:
    policy = await make_policy(NetworkSpec("host", allow=["localhost:80"]))
    assert allowed(policy, OUT, LOOPBACK, 80)
    assert not allowed(policy, OUT, b"\x0a\0\0\x01", 80)
    with pytest.raises(ConfigError):
        await make_policy(NetworkSpec("host", allow=["does-not-exist.invalid"]))
