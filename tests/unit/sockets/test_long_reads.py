"""Long reads, straight to where the bytes are wanted."""

from __future__ import annotations

import asyncio
import itertools
import os

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.user import PythonBuffer, VectorBuffer

from ..conftest import opened
from .outside import World, blocking, inet, server, within


@pytest.mark.parametrize("kind", ["uring", "ocall"])
async def test_long_reads_lose_nothing(kind: str) -> None:
    """Over several chunks, parts of them, and into memory that is not there."""
    data = os.urandom(3 << 20)
    boundary = opened(kind)
    with server() as outside:
        sock = World(boundary).host().tcp()
        await within(sock.connect(inet(outside.getsockname()[1])))
        peer, _ = outside.accept()
        sending = asyncio.ensure_future(blocking(lambda: (peer.sendall(data), peer.close())))
        got = bytearray()
        for size in itertools.cycle((100_000, 40_000, 1 << 20, 33_333)):
            with pytest.raises(SyscallError, match="EFAULT"):
                await within(sock.read_into(PythonBuffer(b"read-only"), 5))
            # The second half is not there: what has come so far is told, what has not been copied stays.
            half = PythonBuffer(bytearray(size // 2))
            cut = VectorBuffer([half, PythonBuffer(bytes(size))])
            try:
                count = await within(sock.read_into(cut, size))
            except SyscallError:
                count = 0
            assert count <= size // 2
            got += half.data[:count]
            buffer = PythonBuffer(bytearray(size))
            count = await within(sock.read_into(buffer, size))
            got += buffer.data[:count]
            if len(got) == len(data):
                break
        assert await within(sock.read_into(PythonBuffer(bytearray(100)), 100)) == 0
        assert got == data
        await sending
        sock.close()
    await boundary.shutdown()
