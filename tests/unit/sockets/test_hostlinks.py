"""The host's interfaces as programs see them in host mode, and a host that tells nonsense about them."""

from __future__ import annotations

import errno
import ipaddress
import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.io.sockets import hostlinks, nlmsg, rtnetlink
from occlum_async.io.sockets.links import LOOPBACK_ALONE, Links

from .outside import World


@pytest.fixture
async def world(world: World) -> World:
    return world.host()


def _ip(*argv: str) -> Any:
    if shutil.which("ip") is None:
        pytest.skip("this machine has no ip")
    return json.loads(subprocess.run(["ip", "-j", *argv], check=True, capture_output=True, text=True).stdout or "[]")


async def test_what_the_host_has(world: World) -> None:
    links = world.stack.links()
    told = _ip("addr")
    assert [(one["ifindex"], one["ifname"], one["mtu"]) for one in told] == [
        (link.index, link.name.decode(), link.mtu) for link in links.links
    ]
    addresses = {(one["ifindex"], info["local"], info["prefixlen"]) for one in told for info in one["addr_info"]}
    assert {(one.link, str(ipaddress.ip_address(one.host)), one.prefix) for one in links.addresses} == addresses
    routes = [one["dst"] for one in _ip("route") if "dev" in one]
    names = [str(ipaddress.ip_network((one.host, one.prefix))) for one in links.routes if len(one.host) == 4]
    assert ["default" if name == "0.0.0.0/0" else name.removesuffix("/32") for name in names] == routes


async def test_asked_once_a_second_at_most(world: World) -> None:
    world.stack.links()
    before = world.boundary.counters.exits
    assert world.stack.links() is world.stack.links()
    assert world.boundary.counters.exits == before


def test_alone_there_is_lo() -> None:
    (lo,) = LOOPBACK_ALONE.links
    assert lo.name == b"lo" and LOOPBACK_ALONE.address_of(lo) is LOOPBACK_ALONE.addresses[0]
    assert LOOPBACK_ALONE.addresses[0].mask == b"\xff\0\0\0"


class Teller:
    """A host that answers every question with the same datagrams, or with an error."""

    def __init__(self, answers: list[bytes], error: int = 0) -> None:
        self.answers = answers
        self.error = error

    def ask_routes(self, request: bytes) -> Iterator[bytes]:
        if self.error:
            raise SyscallError(self.error)
        yield from self.answers


def told(*answers: bytes, error: int = 0) -> Links:
    return hostlinks.host_links(Teller(list(answers), error))  # type: ignore[arg-type]


def message(kind: int, body: bytes) -> bytes:
    """A message in answer to the question that its type belongs to."""
    return nlmsg.HEADER.pack(nlmsg.HEADER.size + len(body), kind, 2, kind + 2, 0) + body


def test_a_host_that_does_not_tell() -> None:
    assert told(error=errno.EACCES) is LOOPBACK_ALONE
    assert told() is LOOPBACK_ALONE
    assert told(message(2, bytes(4))) is LOOPBACK_ALONE


@pytest.mark.parametrize("name", [b"..", b".", b"", b"a/b", b"x" * 16])
def test_impossible_names(name: bytes) -> None:
    lo = LOOPBACK_ALONE.links[0]
    body = rtnetlink.encode_link(lo).replace(nlmsg.attribute(3, b"lo\0"), nlmsg.attribute(3, name + b"\0"))
    assert rtnetlink.decode_link(rtnetlink.encode_link(lo)) == lo
    assert rtnetlink.decode_link(body) is None


def test_more_than_anybody_has() -> None:
    lo = message(rtnetlink.RTM_NEWLINK, rtnetlink.encode_link(LOOPBACK_ALONE.links[0]))
    assert len(told(*[lo] * (hostlinks.LINKS_MAX + 10)).links) == hostlinks.LINKS_MAX
    assert len(told(*[lo] * (10 * hostlinks.DATAGRAMS_MAX)).links) == hostlinks.LINKS_MAX


def test_any_bytes_are_survived() -> None:
    chance = random.Random(1)
    good = [
        message(rtnetlink.RTM_NEWLINK, rtnetlink.encode_link(LOOPBACK_ALONE.links[0])),
        *(message(rtnetlink.RTM_NEWADDR, rtnetlink.encode_address(one)) for one in LOOPBACK_ALONE.addresses),
    ]
    for _ in range(2000):
        answers = [bytearray(chance.choice(good)) for _ in range(3)]
        for answer in answers:
            for _ in range(chance.randrange(4)):
                answer[chance.randrange(len(answer))] = chance.randrange(256)
        told(*(bytes(answer[: chance.randrange(len(answer) + 1)]) for answer in answers), good[0])
