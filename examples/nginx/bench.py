"""How fast Debian's nginx serves: a page of 1 KiB, new connections, and 1000 connections that do nothing.

Beside it a server that only accepts (accept.c). Natively, over plain calls and over the io_uring, in turn; the clients
(wrk, accept.c, and this script) run natively.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import network
import report

CLIENTS = 50
IDLE = 1000
PAGE = 1024
PATH = "/usr/sbin:/usr/bin"
HERE = Path(__file__).resolve().parent
ACCEPTS = {"least": 5000.0}
CONNECTORS = 4  # processes that connect
# What is asked for, with which headers, and the targets.
LOADS: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {
    f"1 KiB, {CLIENTS} connections": ((), {"ratio": 0.3}),
    "1 KiB, a connection for each": (("Connection: close",), {}),
}
IDLE_MOST = 5.0  # ms of CPU in a second

CONFIGURATION = """
user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid {folder}/nginx-{port}.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    keepalive_timeout 300;
    client_body_temp_path {folder}/body-{port};
    proxy_temp_path {folder}/proxy-{port};
    fastcgi_temp_path {folder}/fastcgi-{port};
    uwsgi_temp_path {folder}/uwsgi-{port};
    scgi_temp_path {folder}/scgi-{port};
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder};
    }}
}}
"""


@contextlib.asynccontextmanager
async def serving(variant: network.Variant, folder: str) -> AsyncIterator[network.Server]:
    """nginx with one worker; its page and its configuration are in ``folder``."""

    def argv(port: int) -> list[str]:
        return [shutil.which("nginx", path=PATH) or "nginx", "-c", f"{folder}/{port}.conf"]

    def files(port: int) -> dict[str, bytes]:
        configuration = CONFIGURATION.format(port=port, folder=folder)
        return {f"{folder}/{port}.conf": configuration.encode(), f"{folder}/page": b"x" * PAGE}

    async with network.serving(variant, argv, files) as server:
        yield server


async def wrk(server: network.Server, seconds: int, *headers: str) -> network.Sample:
    """Requests a second, and exits for each."""

    async def once() -> float:
        output = await network.client(
            "wrk", "-t", "1", "-c", str(CLIENTS), "-d", str(seconds), *(f"-H{header}" for header in headers),
            f"http://127.0.0.1:{server.port}/page",
        )  # fmt: skip
        speed = re.search(r"Requests/sec:\s*([\d.]+)", output)
        if speed is None or "Non-2xx" in output:
            raise SystemExit(f"wrk: {output}")
        return float(speed.group(1))

    return await network.counted(server, once, lambda speed: speed * seconds)


async def idle(server: network.Server, seconds: int) -> network.Sample:
    """Milliseconds of CPU that ``IDLE`` connections cost in a second, and exits for each second."""
    connections = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(IDLE)]
    for _, writer in connections:
        writer.write(b"GET /page HTTP/1.1\r\nHost: idle\r\n\r\n")
    for reader, _ in connections:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(PAGE)

    async def once() -> float:
        before = server.cpu()
        await asyncio.sleep(seconds)
        return (server.cpu() - before) * 1000 / seconds

    try:
        return await network.counted(server, once, lambda _: seconds)
    finally:
        for _, writer in connections:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in connections), return_exceptions=True)


async def lines(quick: bool, folder: str) -> list[network.Line]:
    """Everything, with exits that cost nothing and with those of an enclave."""
    repeat, seconds = (1, 1) if quick else (5, 2)
    found = []
    async with network.every(lambda variant: serving(variant, folder)) as servers:
        for costly, (title, (headers, targets)) in itertools.product((False, True), LOADS.items()):
            samples = await network.compare(
                costly, repeat, lambda variant, headers=headers: wrk(servers[variant], seconds, *headers)
            )
            found.append(network.Line(
                network.named("nginx", costly), title, "requests/s", samples, **({} if costly else targets)
            ))  # fmt: skip
            print(found[-1].group, title, file=sys.stderr)
    return found


async def accepting(program: Path, server: network.Server, count: int) -> network.Sample:
    """Connections that are accepted and closed in a second, and exits for each."""

    async def once() -> float:
        return float(await network.client(str(program), "client", str(server.port), str(CONNECTORS), str(count)))

    return await network.counted(server, once, lambda _: CONNECTORS * count)


async def accept_lines(quick: bool, folder: str) -> list[network.Line]:
    """How fast connections are accepted where nothing else is done with them."""
    repeat, count = (1, 1000) if quick else (5, 5000)
    program = Path(folder) / "accept"
    subprocess.run(["gcc", "-O2", "-o", str(program), str(HERE / "accept.c")], check=True)
    found = []

    def serve(variant: network.Variant) -> contextlib.AbstractAsyncContextManager[network.Server]:
        return network.serving(variant, lambda port: [str(program), "server", str(port)], folders=[folder])

    async with network.every(serve) as servers:
        for costly in False, True:
            samples = await network.compare(costly, repeat, lambda variant: accepting(program, servers[variant], count))
            targets = {} if costly else ACCEPTS
            group = network.named("accept and close", costly)
            found.append(network.Line(group, f"{CONNECTORS} clients", "connections/s", samples, **targets))
    return found


async def idle_line(quick: bool, folder: str) -> network.Line:
    """What idle connections cost, each variant by itself."""
    samples = {}
    for variant in network.BASE:
        async with serving(variant, folder) as server:
            samples[variant.kind] = [await idle(server, 2 if quick else 5)]
    return network.Line("nginx, idle", f"{IDLE} connections", "ms of CPU/s", samples, most=IDLE_MOST)


async def everything(quick: bool) -> list[network.Line]:
    """All lines of the report."""
    with tempfile.TemporaryDirectory(prefix="occlum-nginx-") as folder:
        measured = [*await lines(quick, folder), *await accept_lines(quick, folder)]
        return [*measured, await idle_line(quick, folder)]


def main() -> None:
    """Measure, and tell."""
    options = report.options(__doc__).parse_args()
    if not (shutil.which("nginx", path=PATH) and shutil.which("wrk")):
        raise SystemExit("nginx or wrk is missing: apt-get install nginx-light wrk")
    found = report.run(everything(options.quick))
    network.tell("nginx: native, plain calls, io_uring; medians", "request", found, options.json, options.plot)


if __name__ == "__main__":
    main()
