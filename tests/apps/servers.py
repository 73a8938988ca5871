"""What the tests of servers and clients share: running them inside and on the host, and waiting until they listen."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from occlum_async.abi.socket import InetAddress
from occlum_async.libos import LibOS, Process
from tests.harness import ENVIRONMENT

TIME = 60.0  # seconds that any one step may take
PATH = f"{ENVIRONMENT['PATH']}:/usr/sbin:/sbin"
LOOPBACK = b"\x7f\0\0\x01"


def needs(*programs: str) -> Callable[[Any], Any]:
    """Skip where the host lacks one of the programs: names, or paths."""
    missing = [name for name in programs if not (os.path.isfile(name) or shutil.which(name, path=PATH))]
    return pytest.mark.skipif(bool(missing), reason=f"this machine has no {', '.join(missing)}")


async def native(*argv: str, stdin: bytes | None = None, status: int = 0, **options: Any) -> bytes:
    """Run on the host; what it printed. Its status must be ``status``."""
    feed = DEVNULL if stdin is None else PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdin=feed, stdout=PIPE, stderr=STDOUT, **options)
    try:
        output, _ = await asyncio.wait_for(process.communicate(stdin), TIME)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == status, output.decode(errors="replace")
    return output


@contextlib.asynccontextmanager
async def running(*argv: str, **options: Any) -> AsyncIterator[None]:
    """A server on the host."""
    process = await asyncio.create_subprocess_exec(*argv, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, **options)
    try:
        yield
    finally:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def booted(env: dict[str, str] | None = None, **options: Any) -> AsyncIterator[LibOS]:
    """A LibOS whose kernel must not stumble once."""
    async with LibOS(env={**ENVIRONMENT, "PATH": PATH, **(env or {})}, **options) as libos:
        yield libos
        assert libos.stats()["oopses"] == 0


@contextlib.asynccontextmanager
async def serving(inside: int, *argv: str, **options: Any) -> AsyncIterator[int]:
    """A server inside whose port is published; the host's port, once somebody listens there."""
    async with booted(publish=[f"127.0.0.1:0:{inside}"], **options) as libos, server(libos, inside, *argv):
        yield libos.published[0][0]


@contextlib.asynccontextmanager
async def server(libos: LibOS, port: int, *argv: str, udp: bool = False) -> AsyncIterator[Process]:
    """A program inside, once it listens on a port (``udp``: has bound it).

    It is asked to end, and must; what it left behind may live on.
    """
    process = await libos.spawn(*argv, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, cwd="/tmp")
    output = bytearray()
    reader = asyncio.ensure_future(collect(process, output))
    try:
        await listening(libos, port, process, udp)
        yield process
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait_for(process.wait(), TIME)
    except BaseException:
        print(output.decode(errors="replace"))
        raise
    finally:
        reader.cancel()


async def collect(process: Process, output: bytearray) -> None:
    """Keep what a program prints."""
    assert process.stdout is not None
    while data := await process.stdout.read(1 << 16):
        output += data


async def listening(libos: LibOS, port: int, process: Process | None = None, udp: bool = False) -> None:
    """Wait until somebody inside listens on a port, which ``process`` is expected to do."""
    network, address = libos.kernel.network, InetAddress(LOOPBACK, port)
    async with asyncio.timeout(TIME):
        while not (network.udp_ports.find(False, address) if udp else network.listeners(address)):
            assert process is None or process.returncode is None, f"it ended with status {process.returncode}"
            await asyncio.sleep(0.01)


async def run(libos: LibOS, *argv: str, stdin: bytes | None = None, status: int = 0, time: float = TIME) -> str:
    """Run a program inside to its end, for ``time`` seconds at most; what it printed. Its status must be ``status``."""
    feed = DEVNULL if stdin is None else PIPE
    process = await libos.spawn(*argv, stdin=feed, stdout=PIPE, stderr=STDOUT, cwd="/tmp")
    data, _ = await asyncio.wait_for(process.communicate(stdin), time)
    output = (data or b"").decode(errors="replace")
    assert process.returncode == status, output
    return output


async def inside(*argv: str, network: str = "host", stdin: bytes | None = None, **options: Any) -> tuple[int, str]:
    """Run a program in a LibOS of its own; its status and output."""
    async with booted(network=network, **options) as libos:
        feed = DEVNULL if stdin is None else PIPE
        process = await libos.spawn(*argv, stdin=feed, stdout=PIPE, stderr=STDOUT, cwd="/tmp")
        output, _ = await asyncio.wait_for(process.communicate(stdin), TIME)
        assert process.returncode is not None
        return process.returncode, (output or b"").decode(errors="replace")


async def reachable(port: int) -> None:
    """Wait until a server of the host listens."""
    async with asyncio.timeout(TIME):
        while True:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    return
            await asyncio.sleep(0.02)


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def digest(data: bytes) -> str:
    """What two ends compare."""
    return hashlib.sha256(data).hexdigest()


def numbers(text: str) -> Iterator[int]:
    """The whole numbers of a text, in order."""
    return (int(word) for word in text.split() if word.isdigit())
