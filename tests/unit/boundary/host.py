"""What the tests of the boundary share: strands that call it, names of the host's sockets, and who listens to them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from occlum_async.io.boundary import Boundary
from occlum_async.sched.strand import CoroutineStrand


def spawn(boundary: Boundary, call: Callable[[], Any]) -> tuple[CoroutineStrand, asyncio.Future[Any]]:
    """Run ``call`` on a strand that the scheduler steps; its result, or its exception."""
    done: asyncio.Future[Any] = boundary.loop.create_future()

    async def run() -> None:
        try:
            result = await call()
        except BaseException as error:
            done.set_result(error)
        else:
            done.set_result(result)

    return boundary.scheduler.spawn(run()), done


def address(port: int) -> bytes:
    """127.0.0.1 and a port as a ``struct sockaddr``."""
    return struct.pack("<H", socket.AF_INET) + struct.pack(">H4s8x", port, b"\x7f\0\0\x01")


def port_of(name: bytes) -> int:
    return int.from_bytes(name[2:4], "big")


def listening(boundary: Boundary, backlog: int) -> tuple[int, int]:
    """A host's descriptor that listens, made through the boundary, and its port."""
    network = boundary.network
    fd = network.socket(socket.AF_INET, socket.SOCK_STREAM)
    network.bind(fd, address(0))
    network.listen(fd, backlog)
    return fd, port_of(network.name(fd))


class Ear:
    """Collects what a receive tells."""

    def __init__(self) -> None:
        self.data = b""
        self.error: int | None = None
        self.pieces = 0
        self.changed = asyncio.Event()

    def __call__(self, data: bytes, error: int) -> None:
        assert self.error is None, "a result after the last one"
        self.data += data
        self.pieces += bool(data)
        if not data:
            self.error = error
        self.changed.set()

    async def ended(self) -> None:
        """Wait for the last result."""
        while self.error is None:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 10)
