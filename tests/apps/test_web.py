"""Web servers in five languages that keep one contract (``web``), under requests from all sides.

``GET /blob/SIZE`` and ``GET /chunks/COUNT`` answer at once and piece by piece, ``POST /digest`` tells the SHA-256 of
what was sent, and ``POST /fetch`` that of what stands at the URL that was sent: the server's own way out.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from occlum_async.libos import Bind
from tests.apps.servers import TIME, booted, digest, free_port, native, needs, reachable, run, running, server, serving

PROGRAMS = Path(__file__).parent / "web"
CLIENTS = 16
SERVERS = {
    "aiohttp": ("/usr/bin/python3", "/web/app_aiohttp.py"),
    "uvicorn": ("/usr/bin/python3", "/web/app_uvicorn.py"),
    "node": ("node", "/web/server.js"),
    "java": ("java", "-Xmx128m", "-cp", "/built", "Server"),
    "go": ("/built/server",),
}
pytestmark = pytest.mark.timeout(180)


def module(name: str) -> Any:
    """Skip where Debian's Python has no such module."""
    folder = Path("/usr/lib/python3/dist-packages", name)
    return pytest.mark.skipif(not folder.exists(), reason=f"this machine has no python3-{name}")


MARKS = {
    "aiohttp": module("aiohttp"), "uvicorn": module("uvicorn"), "node": needs("node"), "java": needs("java", "javac"),
    "go": needs("go"),
}  # fmt: skip


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compiles on the host, once, what a language wants compiled; the folder with all that was."""
    folder = tmp_path_factory.mktemp("built")
    folder.chmod(0o755)
    settings = {"GOCACHE": str(folder / "cache"), "GO111MODULE": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    commands = {
        "java": ["javac", "-d", str(folder), str(PROGRAMS / "Server.java")],
        "go": ["go", "build", "-o", str(folder / "server"), str(PROGRAMS / "server.go")],
    }

    def compiled(language: str) -> Path:
        if language in commands:
            subprocess.run(commands.pop(language), check=True, env={**os.environ, **settings}, timeout=TIME)
        return folder

    return compiled


def pattern(size: int) -> bytes:
    """What ``/blob/SIZE`` must be."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class Client:
    """A browser of sorts: one connection that is kept, and blocks."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIME)

    def ask(self, method: str, path: str, body: bytes | None = None, status: int = 200) -> bytes:
        self.connection.request(method, path, body)
        answer = self.connection.getresponse()
        data = answer.read()
        assert answer.status == status, data
        return data

    def visit(self, seed: int) -> None:
        """All that the contract says, on one connection."""
        body = os.urandom(100_000 + seed * 7919)
        assert self.ask("POST", "/digest", body).decode() == digest(body)
        assert self.ask("GET", f"/blob/{seed * 10_007}") == pattern(seed * 10_007)
        assert self.ask("GET", f"/chunks/{seed + 20}") == b"".join(b"%d\n" % n for n in range(seed + 20))
        self.ask("GET", "/missing", status=404)
        assert self.ask("GET", "/blob/1") == b"\0"
        self.connection.close()


async def visits(port: int, count: int) -> None:
    """That many clients at once, from the host."""
    with ThreadPoolExecutor(count) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(pool, Client(port).visit, seed) for seed in range(count)))


@pytest.mark.parametrize("language", [pytest.param(name, marks=MARKS[name]) for name in SERVERS])
async def test_web_server(language: str, mode: dict[str, Any], build: Callable[[str], Path], blob: Path) -> None:
    binds = [Bind(str(PROGRAMS), "/web", True), Bind(str(build(language)), "/built", True)]
    port, outside = free_port(), free_port()
    options = {"network": "host", "binds": binds, "memory": "2g", "env": {"PYTHONDONTWRITEBYTECODE": "1"}, **mode}
    files = ("/usr/bin/python3", "-m", "http.server", str(outside), "--bind", "127.0.0.1", "--directory", str(blob))
    async with booted(**options) as libos, running(*files):
        await reachable(outside)
        async with server(libos, port, *SERVERS[language], "127.0.0.1", str(port)):
            await visits(port, CLIENTS)
            fetch = Client(port).ask
            wanted = digest((blob / "blob").read_bytes())
            url = f"http://127.0.0.1:{outside}/blob".encode()
            assert (await asyncio.to_thread(fetch, "POST", "/fetch", url)).decode() == wanted
            url = f"http://127.0.0.1:{port}/blob/3000000".encode()
            assert (await asyncio.to_thread(fetch, "POST", "/fetch", url)).decode() == digest(pattern(3_000_000))
            size = 2_000_000
            curl = f"head -c {size} /dev/zero | curl -sS --data-binary @- http://127.0.0.1:{port}/digest"
            assert await run(libos, "sh", "-c", curl) == digest(bytes(size))


WEB_SOCKETS = """
import asyncio, os, sys
from aiohttp import ClientSession

async def talk(session, seed):
    async with session.ws_connect(sys.argv[1]) as socket:
        sent = [os.urandom(size) for size in (1, 125, 126, 65535, 65536, 300_000 + seed)] * 3
        for data in sent:
            await socket.send_bytes(data)
        assert [await socket.receive_bytes() for _ in sent] == sent
        return len(sent)

async def main():
    async with ClientSession() as session:
        print(sum(await asyncio.gather(*(talk(session, seed) for seed in range(5)))))

asyncio.run(main())
"""


@MARKS["aiohttp"]
async def test_web_sockets(mode: dict[str, Any]) -> None:
    program = (*SERVERS["aiohttp"], "0.0.0.0", "8000")
    client = ("/usr/bin/python3", "-c", WEB_SOCKETS)
    async with serving(8000, *program, binds=[Bind(str(PROGRAMS), "/web", True)], **mode) as port:
        assert await native(*client, f"http://127.0.0.1:{port}/echo") == b"90\n"
