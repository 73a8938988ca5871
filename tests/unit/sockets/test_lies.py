"""A host that lies and fails: the LibOS believes nothing impossible, loses no control, and works on afterwards."""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.errors import HostUnsupported
from occlum_async.io.boundary import Boundary
from occlum_async.io.boundary.ocall import OcallBoundary
from occlum_async.io.boundary.uring import UringBoundary
from occlum_async.io.sockets import ipoptions as ip
from occlum_async.sched.strand import Scheduler

from .outside import World, client, inet, port_of, reset, server, within

ERRORS = (
    errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENOBUFS, errno.ECONNRESET, errno.EPIPE, errno.EAGAIN, errno.EINTR,
    errno.ETIMEDOUT, errno.EBADF, errno.EFAULT, errno.ENOSYS, 4095,
)  # fmt: skip
ONE = struct.pack("<i", 1)
IMPOSSIBLE_NUMBERS = (-(2**31), -5000, -1, 0, 1, 2, 2**20 + 7, 2**31 - 1)
IMPOSSIBLE_BYTES = (b"", b"\x02", bytes(16), b"\xff" * 28, b"\x02\0" + bytes(9), b"\x0a\0" + bytes(14))


class Liar:
    """Decides when to lie: one answer in ``every``, from a seed."""

    def __init__(self, seed: int, every: int) -> None:
        self.random = random.Random(seed)
        self.every = every
        self.told = 0

    def now(self) -> bool:
        lie = self.every > 0 and self.random.randrange(self.every) == 0
        self.told += lie
        return lie

    def answer(self, truth: Any) -> Any:
        """Something else than the truth, of its kind; or an error."""
        if self.random.random() < 0.4:
            raise SyscallError(self.random.choice(ERRORS))
        if isinstance(truth, int):
            return self.random.choice(IMPOSSIBLE_NUMBERS)
        if isinstance(truth, bytes):
            return self.random.choice(IMPOSSIBLE_BYTES)
        if isinstance(truth, tuple):
            return tuple(self.answer(part) for part in truth)
        return truth


class LyingCalls:
    """What a lying boundary does with plain calls."""

    liar: Liar

    def call(self, operation: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        truth = super().call(operation, function, *arguments, **options)  # type: ignore[misc]
        if operation == "socket" or not self.liar.now():
            return truth  # a lie about a descriptor would have the test close its own
        return self.liar.answer(truth)


class LyingUring(LyingCalls, UringBoundary):
    """Lies about completions as well."""

    def _complete(self, number: int, result: int, flags: int = 0) -> None:
        operation = self._pending.get(number)
        if operation is None or operation.results is None or not self.liar.now():
            super()._complete(number, result, flags)
            return
        if self.liar.random.random() < 0.2:
            super()._complete(number + 10**6, result, flags)  # of an operation that nobody has started
        choice = self.liar.random.random()
        if choice < 0.5 and result < 0:
            result = -self.liar.random.choice(ERRORS)
        elif choice < 0.7:
            flags ^= 0xFFFF << 16  # another buffer
        elif choice < 0.9 and result > 0:
            result = self.liar.random.choice([number for number in IMPOSSIBLE_NUMBERS if number > 2])
        super()._complete(number, result, flags)


class LyingOcall(LyingCalls, OcallBoundary):
    """Lies about plain calls, of which it has no others."""


def lying(kind: type[Boundary], liar: Liar) -> Boundary:
    kind.liar = liar  # type: ignore[attr-defined]
    try:
        return kind(Scheduler(asyncio.get_running_loop()))
    except HostUnsupported as error:
        pytest.skip(str(error))


async def exercise(world: World) -> None:
    """Everything that a network does, whatever comes of it; errors are those of system calls."""
    with server() as outside:
        with suppress(SyscallError, TimeoutError):
            listener = world.listener()
            peers = [client(port_of(listener)) for _ in range(4)]
            for peer in peers:
                peer.sendall(b"x" * 5000)
            for _ in peers:
                sock = await asyncio.wait_for(listener.accept(), 0.1)
                with suppress(SyscallError, TimeoutError):
                    data = await asyncio.wait_for(sock.read(100), 0.1)
                    assert len(data) <= 100
                    await asyncio.wait_for(sock.write(data), 0.1)
                sock.close()
            listener.close()
            for peer in peers:
                reset(peer)
        for _ in range(3):
            with suppress(SyscallError, TimeoutError):
                sock = world.tcp()
                await asyncio.wait_for(sock.connect(inet(outside.getsockname()[1])), 0.1)
                await asyncio.wait_for(sock.write(b"hello"), 0.1)
                sock.close()
        with suppress(SyscallError, TimeoutError):
            one = world.udp()
            one.bind(inet(0))
            await asyncio.wait_for(one.send(b"datagram", 0, inet(outside.getsockname()[1])), 0.1)
            one.close()
    await exercise_facts(world)


async def exercise_facts(world: World) -> None:
    """What is asked of the host beside bytes: urgent marks, facts about datagrams, interfaces, options."""
    assert world.stack.links().links
    world.stack.outside._links = None  # type: ignore[attr-defined]
    with suppress(SyscallError, TimeoutError):
        listener = world.tcp()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, ONE)
        listener.bind(inet(0))
        listener.listen(5)
        peer = client(port_of(listener))
        peer.send(b"one!", socket.MSG_OOB)
        peer.sendall(b"two")
        sock = await asyncio.wait_for(listener.accept(), 0.1)
        with suppress(SyscallError, TimeoutError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
            assert len(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)) <= 232
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 4)
            assert len(await asyncio.wait_for(sock.read(100), 0.1)) <= 7
        sock.close()
        listener.close()
        reset(peer)
    with suppress(SyscallError, TimeoutError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        one = world.udp()
        for name in (ip.IP_PKTINFO, ip.IP_RECVTTL, ip.IP_RECVTOS, ip.IP_RECVORIGDSTADDR):
            one.setsockopt(socket.SOL_IP, name, ONE)
        one.bind(inet(0))
        for _ in range(3):
            sender.sendto(b"datagram", ("127.0.0.1", port_of(one)))
            received = await asyncio.wait_for(one.receive(100), 0.1)
            assert len(received.data) <= 100 and len(received.control) <= 4
        one.close()


@pytest.mark.parametrize("kind", [LyingUring, LyingOcall])
@pytest.mark.parametrize("seed", range(6))
async def test_lies(kind: type[Boundary], seed: int, caplog: pytest.LogCaptureFixture) -> None:
    liar = Liar(seed, 0)
    boundary = lying(kind, liar)
    liar.every = 5
    world = World(boundary).host()
    with caplog.at_level(logging.CRITICAL, "occlum_async.io.boundary.calls"):
        while liar.told < 25:
            await exercise(world)
        liar.every = 0
    assert not [record.message for record in caplog.records if "oops" in record.message]
    # The host has come to its senses: so has the network.
    with server() as outside:
        sock = world.tcp()
        await within(sock.connect(inet(outside.getsockname()[1])))
        peer, _ = outside.accept()
        await within(sock.write(b"truth"))
        await world.settle(lambda: not sock.peer.inbox)  # type: ignore[union-attr]
        assert peer.recv(10) == b"truth"
        peer.close()
        sock.close()
    world.stack.outside.close()
    await asyncio.sleep(0.01)
    await boundary.shutdown()
