"""nginx, unmodified, under curl, wrk and ab: TLS, HTTP/2, gzip, ranges, uploads, proxying, reloads, dying workers."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from occlum_async.libos import Bind, LibOS
from tests.apps.servers import (
    TIME,
    booted,
    digest,
    free_port,
    native,
    needs,
    reachable,
    run,
    running,
    server,
    serving,
)

NGINX = ("nginx", "-c", "/www/nginx.conf")
PORTS = PLAIN, PROXY, TLS = 8080, 8081, 8443
TEMPORARY = "".join(f"{name}_temp_path /tmp/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
pytestmark = [pytest.mark.timeout(180), needs("nginx", "curl", "openssl")]


def config(greeting: str, outside: int = 1, ports: Sequence[int] = PORTS) -> str:
    """Two workers: files, a proxy in front of them and of a server of the host, uploads, TLS."""
    plain, proxy, tls = ports
    return f"""
daemon off; user root; worker_processes 2; pid /tmp/nginx.pid; error_log /tmp/error.log;
events {{ worker_connections 256; }}
http {{
  {TEMPORARY}
  access_log /tmp/access.log; root /www; sendfile on; tcp_nopush on; gzip_types text/plain; default_type text/plain;
  client_max_body_size 64m;
  upstream files {{ server 127.0.0.1:{plain}; keepalive 4; }}
  server {{
    listen {plain}; listen unix:/tmp/socket; gzip on; gzip_min_length 100;
    location = /greeting {{ return 200 "{greeting} $remote_addr\\n"; }}
    location /upload/ {{ root /tmp; dav_methods PUT DELETE; create_full_put_path on; }}
  }}
  server {{
    listen {proxy};
    location / {{ proxy_pass http://files; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    location /local/ {{ proxy_pass http://unix:/tmp/socket:/; }}
    location /outside/ {{ proxy_pass http://127.0.0.1:{outside}/; proxy_buffering off; }}
    location /nobody/ {{ proxy_pass http://127.0.0.1:1/; }}
  }}
  server {{
    listen {tls} ssl http2; ssl_certificate /www/cert; ssl_certificate_key /www/key; ssl_session_cache shared:s:1m;
  }}
}}
"""


@pytest.fixture
async def site(blob: Path) -> Path:
    """A folder with files and a certificate."""
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(blob / "key"))
    await native("openssl", "req", "-x509", *key, "-out", str(blob / "cert"), "-days", "2", *subject)
    (blob / "text").write_bytes(b"".join(b"line %d\n" % number for number in range(20_000)))
    return blob


@contextlib.asynccontextmanager
async def nginx(site: Path, **options: Any) -> AsyncIterator[tuple[LibOS, Any, dict[int, int]]]:
    """The server in a LibOS, its process, and to which of its ports which port of the host leads."""
    (site / "nginx.conf").write_text(config("old"))
    publish = [f"127.0.0.1:0:{port}" for port in PORTS]
    async with booted(binds=[Bind(str(site), "/www", True)], publish=publish, **options) as libos:
        ports = {inner: outer for outer, inner in libos.published}
        async with server(libos, TLS, *NGINX) as process:
            yield libos, process, ports


def url(ports: dict[int, int], port: int, path: str) -> str:
    return f"http{'s' if port == TLS else ''}://localhost:{ports[port]}/{path}"


async def curl(*argv: str, status: int = 0) -> bytes:
    return await native("curl", "-sS", "--ipv4", *argv, status=status)


async def test_files_and_ways_to_send_them(site: Path, mode: dict[str, Any]) -> None:
    data, text = (site / "blob").read_bytes(), (site / "text").read_bytes()
    async with nginx(site, **mode) as (_, _, ports):
        secure = ("--cacert", str(site / "cert"))
        fetches = [
            curl(url(ports, PLAIN, "blob")), curl(url(ports, PROXY, "blob")), curl(*secure, url(ports, TLS, "blob")),
            curl(*secure, "--http2", url(ports, TLS, "blob")), curl("-0", url(ports, PLAIN, "blob")),
            curl(url(ports, PROXY, "local/blob")),
        ]  # fmt: skip
        assert {digest(body) for body in await asyncio.gather(*fetches)} == {digest(data)}
        squeezed = await curl("-H", "Accept-Encoding: gzip", url(ports, PLAIN, "text"))
        assert len(squeezed) < len(text) // 2
        assert gzip.decompress(squeezed) == text
        assert await curl("-r", "100-199,-50", url(ports, PLAIN, "blob")) != b""
        assert await curl("-r", "100-199", url(ports, PLAIN, "blob")) == data[100:200]
        headers = (await curl("-I", url(ports, PLAIN, "text"))).decode()
        tag = re.search(r"ETag: (.*)\r", headers)
        assert tag is not None
        codes = ("-o", "/dev/null", "-w", "%{http_code} %{http_version}")
        assert await curl(*codes, "-H", f"If-None-Match: {tag[1]}", url(ports, PLAIN, "text")) == b"304 1.1"
        assert await curl(*codes, url(ports, PLAIN, "missing")) == b"404 1.1"
        assert await curl(*codes, url(ports, PROXY, "nobody/")) == b"502 1.1"
        assert await curl(*codes, *secure, url(ports, TLS, "text")) == b"200 2"
        assert b"certificate" in await curl(url(ports, TLS, "text"), status=60)
        upload = ("-T", str(site / "blob"), url(ports, PLAIN, "upload/deep/blob"))
        assert await curl(*codes, *upload) == b"201 1.1"
        assert digest(await curl(url(ports, PLAIN, "upload/deep/blob"))) == digest(data)
        several = [word for number in range(20) for word in (url(ports, PLAIN, f"text?{number}"),)]
        assert digest(await curl(*several)) == digest(text * 20)


@needs("/var/www/html/index.nginx-debian.html")
async def test_as_debian_configures_it(mode: dict[str, Any]) -> None:
    async with serving(80, "nginx", "-g", "daemon off;", **mode) as port:
        assert b"Welcome to nginx!" in await curl(f"http://localhost:{port}/index.nginx-debian.html")


@needs("ab")
async def test_reloads_lose_no_request(site: Path, mode: dict[str, Any]) -> None:
    async with nginx(site, **mode) as (libos, _, ports):
        address = url(ports, PLAIN, "greeting")
        assert await curl(address) == b"old 127.0.0.1\n"
        load = asyncio.ensure_future(native("ab", "-q", "-l", "-n", "1000", "-c", "8", address))
        reloads = 0
        while not load.done():
            reloads += 1
            (site / "nginx.conf").write_text(config(f"new {reloads}"))
            await run(libos, *NGINX, "-s", "reload")
            async with asyncio.timeout(TIME):
                while await curl(address) != f"new {reloads} 127.0.0.1\n".encode():
                    await asyncio.sleep(0.01)
        report = (await load).decode()
        assert re.search(r"Complete requests: +1000\n", report), report
        assert re.search(r"Failed requests: +0\n", report), report
        (site / "nginx.conf").write_text("nonsense;")
        assert 'unknown directive "nonsense"' in await run(libos, *NGINX, "-s", "reload", status=1)
        assert await curl(address) == f"new {reloads} 127.0.0.1\n".encode()


async def test_a_killed_worker_is_replaced(site: Path, boundary: str) -> None:
    async with nginx(site, boundary=boundary) as (libos, master, ports):
        workers = f"pgrep -P {master.pid}"
        before = (await run(libos, "sh", "-c", workers)).split()
        assert len(before) == 2
        await run(libos, "kill", "-KILL", *before)
        async with asyncio.timeout(TIME):
            while len(after := set((await run(libos, "sh", "-c", workers)).split()) - set(before)) < 2:
                await asyncio.sleep(0.01)
        log = await libos.fs.read_text("/tmp/error.log")
        assert all(f"worker process {pid} exited on signal 9" in log for pid in before)
        assert digest(await curl(url(ports, PLAIN, "blob"))) == digest((site / "blob").read_bytes())
        assert after


async def test_a_proxy_between_the_host_and_inside(site: Path, mode: dict[str, Any]) -> None:
    outside, *ports = (free_port() for _ in range(4))
    _, proxy, tls = ports
    (site / "nginx.conf").write_text(config("host", outside, ports))
    files = ("/usr/bin/python3", "-m", "http.server", str(outside), "--bind", "127.0.0.1", "--directory", str(site))
    options = {"network": "host", "binds": [Bind(str(site), "/www", True)]}
    async with running(*files), booted(**options, **mode) as libos, server(libos, tls, *NGINX):
        await reachable(outside)
        wanted = digest((site / "blob").read_bytes())
        address = f"http://127.0.0.1:{proxy}"
        bodies = await asyncio.gather(*(curl(f"{address}/outside/blob") for _ in range(4)))
        assert {digest(body) for body in bodies} == {wanted}
        for way in (f"{address}/outside/blob", f"{address}/blob", f"--cacert /www/cert https://localhost:{tls}/blob"):
            assert await run(libos, "sh", "-c", f"curl -sS {way} | sha256sum") == f"{wanted}  -\n"


@needs("wget")
async def test_tls_to_the_host(site: Path, mode: dict[str, Any]) -> None:
    port = free_port()
    files = ("openssl", "s_server", "-accept", str(port), "-cert", "cert", "-key", "key", "-quiet", "-WWW")
    address = f"https://localhost:{port}/blob"
    clients = (
        ("curl", "-sS", "--cacert", "/www/cert", "-o", "/tmp/blob"),
        ("wget", "-q", "--ca-certificate=/www/cert", "-O", "/tmp/blob"),
    )
    async with (
        running(*files, cwd=site),
        booted(network="host", binds=[Bind(str(site), "/www", True)], **mode) as libos,
    ):
        await reachable(port)
        for client in clients:
            await run(libos, *client, address)
            assert digest(await libos.fs.read_bytes("/tmp/blob")) == digest((site / "blob").read_bytes())
        assert "certificate" in await run(libos, "curl", "-sS", address, status=60)
