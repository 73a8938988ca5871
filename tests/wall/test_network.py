"""Guests that want to reach what the policy forbids, or to take all memory by sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from occlum_async.process import hoststat

from .wall import Wall

MEGABYTE = 1 << 20
# How each way ends; all others must be refused as connect(2) or sendto(2) are.
OTHERWISE = {
    "::127.0.0.1": ("ECONNREFUSED", "ENETUNREACH"),
    "127.0.0.2": ("ECONNREFUSED",),  # not forbidden, but nobody listens there
    "without waiting": ("EINPROGRESS",),
    "again": ("ECONNABORTED",),
    "send without connect": ("EPIPE",),
    "the host's abstract name": ("ECONNREFUSED",),
    "raw": ("EPERM",),
    "ping": ("EACCES",),
    "ping by IPv6": ("EACCES",),
    "packet": ("EPERM",),
    "vsock": ("EAFNOSUPPORT",),
    "tipc": ("EAFNOSUPPORT",),
    "bind to another's address": ("EADDRNOTAVAIL",),
    "share a port of the host's": ("EACCES",),
    "listen without a name": ("EACCES",),
}
FINE = ("bound to lo", "bind", "connect to what is allowed", "send there", "AF_UNSPEC")


class Forbidden:
    """Sockets of the host that no guest may reach, one that it may, and an abstract name."""

    def __init__(self, stack: ExitStack) -> None:
        self.tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0), reuse_port=True))
        self.port = self.tcp.getsockname()[1]
        try:
            self.tcp6 = stack.enter_context(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        except OSError:
            pytest.skip("this machine has no IPv6, or the port is taken there")
        self.udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.udp.bind(("127.0.0.1", 0))
        self.udp_port = self.udp.getsockname()[1]
        self.udp6 = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        self.udp6.bind(("::1", self.udp_port))
        self.unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        self.name = f"forbidden-{os.getpid()}"
        self.unix.bind(f"\0{self.name}")
        self.unix.listen(5)
        self.open = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.open.bind(("127.0.0.1", 0))
        self.open_port = self.open.getsockname()[1]

    @property
    def rules(self) -> list[str]:
        """What forbids them, and that programs listen."""
        hosts = ("127.0.0.1", "[::1]")
        ports = (f"{self.port}/tcp", f"{self.udp_port}/udp")
        return [*(f"{host}:{port}" for host in hosts for port in ports), "in:0.0.0.0", f"in:127.0.0.1:{self.port}"]

    def arguments(self, name: str = "") -> tuple[str, ...]:
        return str(self.port), str(self.udp_port), str(self.open_port), name or self.name

    def untouched(self) -> bool:
        """Whether nobody has come."""
        for sock in (self.tcp, self.tcp6, self.udp, self.udp6, self.unix):
            sock.setblocking(False)
            try:
                sock.recv(1) if sock.type == socket.SOCK_DGRAM else sock.accept()
            except BlockingIOError:
                continue
            return False
        return True


@pytest.fixture
def forbidden() -> Iterator[Forbidden]:
    with ExitStack() as stack:
        yield Forbidden(stack)


MakeWall = Callable[..., Awaitable[Wall]]


@pytest.mark.parametrize("boundary", ["auto", "ocall"])
async def test_no_way_around_the_policy(make_wall: MakeWall, forbidden: Forbidden, boundary: str) -> None:
    wall = await make_wall(network="host", deny=forbidden.rules, boundary=boundary)
    attack = await wall.attack("network", "forbidden", *forbidden.arguments())
    lines = (await wall.output(attack)).splitlines()
    assert attack.returncode == 0
    for line in lines:
        way, _, end = line.rpartition(": ")
        if way == "sendmmsg":
            assert end == "1", line
        elif way in FINE:
            assert end == "done", line
        else:
            assert end in OTHERWISE.get(way, ("ECONNREFUSED", "EACCES")), line
    assert len(lines) == 49
    assert forbidden.untouched()
    assert wall.libos.stats()["network"]["refused"] >= 25
    # What is allowed has gone through: once sent, once as the first of two, once corked.
    forbidden.open.settimeout(20)
    assert [forbidden.open.recv(100) for _ in range(3)] == [b"loot"] * 3
    await wall.finish()


async def test_an_address_that_changes(make_wall: MakeWall, forbidden: Forbidden) -> None:
    wall = await make_wall(network="host", deny=forbidden.rules)
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as allowed:
        arguments = list(forbidden.arguments())
        arguments[2] = str(allowed.getsockname()[1])
        attack = await wall.attack("network", "flip", *arguments)
        assert await wall.output(attack) == "flipped\n"
    assert forbidden.untouched()
    await wall.finish()


async def test_a_name_that_rebinds(make_wall: MakeWall, forbidden: Forbidden, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is allowed; at the start it means one address, for the program another, which is not allowed."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        return await real("127.0.0.9" if host == "rebind.test" else host, *arguments, **options)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    wall = await make_wall(network="host", allow=[f"rebind.test:{forbidden.port}"])
    found = "$(getent ahostsv4 rebind.test | head -1 | cut -d' ' -f1)"
    script = (
        f"echo 127.0.0.1 rebind.test > /etc/hosts && /attack/network address {' '.join(forbidden.arguments(found))}"
    )
    shell = await wall.libos.spawn("/bin/sh", "-c", script, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(shell.communicate(), 30)
    assert output == b"by name: ECONNREFUSED\n"
    assert forbidden.untouched()
    with socket.create_server(("127.0.0.9", forbidden.port)) as meant:
        script = script.replace("127.0.0.1", "127.0.0.9")
        shell = await wall.libos.spawn("/bin/sh", "-c", script, stdout=asyncio.subprocess.PIPE)
        output, _ = await asyncio.wait_for(shell.communicate(), 30)
        assert output == b"by name: done\n"
        assert meant.accept()[0].recv(10) == b"loot"
    await wall.finish()


async def test_full_sockets_without_end(make_wall: MakeWall) -> None:
    wall = await make_wall(memory="256m", pids=200)
    before = hoststat.memory_usage(os.getpid())[1]
    attack = await wall.attack("network", "sockets", "0", "0", "0", "")
    for _ in range(16):
        assert await wall.line(attack) == "full"
    account = wall.libos.kernel.network.memory
    assert account.pressed and account.used < 128 * MEGABYTE
    assert hoststat.memory_usage(os.getpid())[1] - before < 512 * MEGABYTE, "twice the limit"
    await wall.others_go_on()
    attack.kill()
    shell = await wall.libos.spawn("/bin/sh", "-c", "kill -9 -1")
    await asyncio.wait_for(shell.wait(), 30)
