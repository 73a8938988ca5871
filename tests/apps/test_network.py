"""Debian's servers and clients, unmodified, across the boundary in both directions; what arrives is checksummed."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from pathlib import Path

import pytest

from occlum_async.libos import Bind, LibOS
from tests.apps.servers import TIME, digest, free_port, inside, listening, native, needs, reachable, running, serving
from tests.harness import ENVIRONMENT

pytestmark = pytest.mark.timeout(180)


# -- outside to inside ---------------------------------------------------------------


@needs("redis-server", "redis-cli", "redis-benchmark")
async def test_redis(boundary: str) -> None:
    redis = ("redis-server", "--save", "", "--appendonly", "no")
    async with serving(6379, *redis, boundary=boundary) as port:
        cli = ("redis-cli", "-p", str(port))
        value = os.urandom(1 << 20)
        assert await native(*cli, "-x", "set", "blob", stdin=value) == b"OK\n"
        assert digest((await native(*cli, "get", "blob"))[:-1]) == digest(value)
        tests = ("-t", "set,get,lpush,lrange_100", "-n", "2000", "-c", "50", "--csv")
        benchmark = ("redis-benchmark", "-p", str(port), *tests)
        rows = (await native(*benchmark)).decode().splitlines()
        assert [row.split(",")[0] for row in rows if row.startswith('"')][-3:]
        await native(*benchmark, "-P", "16")
        assert await native(*cli, "llen", "mylist") == b"8000\n"


@needs("nginx", "curl")
async def test_nginx(boundary: str, blob: Path) -> None:
    config = blob / "nginx.conf"
    config.write_text(
        "worker_processes 2; pid /tmp/nginx.pid; error_log /tmp/error.log;\n"
        "events { worker_connections 64; }\n"
        "http { access_log off; gzip on; gzip_types *; sendfile on; root /www;\n"
        "  client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f;\n"
        "  uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;\n"
        "  server { listen 80; }\n  server { listen 81; location / { proxy_pass http://127.0.0.1:80; } } }\n"
    )
    server = ("/usr/sbin/nginx", "-c", "/www/nginx.conf", "-g", "daemon off; user root;")
    async with serving(81, *server, boundary=boundary, binds=[Bind(str(blob), "/www", True)]) as port:
        url = f"http://127.0.0.1:{port}"
        assert await native("curl", "-sS", f"{url}/") == b"<h1>it works</h1>\n"
        wanted = digest((blob / "blob").read_bytes())
        fetches = [native("curl", "-sS", *extra, f"{url}/blob") for extra in ((), ("--compressed",), ("-0",), ())]
        assert {digest(data) for data in await asyncio.gather(*fetches)} == {wanted}
        part = await native("curl", "-sS", "-r", "100-199", f"{url}/blob")
        assert part == (blob / "blob").read_bytes()[100:200]


@needs("curl")
async def test_python_http_server(boundary: str, blob: Path) -> None:
    server = ("/usr/bin/python3", "-m", "http.server", "8000", "--directory", "/www")
    async with serving(8000, *server, boundary=boundary, binds=[Bind(str(blob), "/www", True)]) as port:
        data = await native("curl", "-sS", f"http://127.0.0.1:{port}/blob")
        assert digest(data) == digest((blob / "blob").read_bytes())
        assert b"404" in await native("curl", "-sS", f"http://127.0.0.1:{port}/missing")


@needs("memcached")
async def test_memcached(boundary: str) -> None:
    async with serving(11211, "memcached", "-u", "root", "-t", "2", boundary=boundary) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        value = os.urandom(500_000)
        writer.write(b"set blob 0 0 %d\r\n%b\r\n" % (len(value), value))
        assert await asyncio.wait_for(reader.readline(), TIME) == b"STORED\r\n"
        writer.write(b"get blob\r\n")
        assert await asyncio.wait_for(reader.readline(), TIME) == b"VALUE blob 0 %d\r\n" % len(value)
        assert await asyncio.wait_for(reader.readexactly(len(value)), TIME) == value
        writer.close()


@needs("socat")
async def test_socat_echoes(boundary: str) -> None:
    async with serving(7000, "socat", "TCP-LISTEN:7000,fork,reuseaddr", "EXEC:cat", boundary=boundary) as port:
        data = os.urandom(300_000)
        answers = await asyncio.gather(
            *(native("socat", "-t", "20", "-", f"TCP:127.0.0.1:{port}", stdin=data) for _ in range(3))
        )
        assert {digest(answer) for answer in answers} == {digest(data)}


# -- both directions, as the host's program ----------------------------------------------


@needs("iperf3")
@pytest.mark.parametrize("direction", [(), ("-R",)], ids=["in", "out"])
@pytest.mark.parametrize("load", [("-n", "64M"), ("-n", "32M", "-P", "4"), ("-u", "-b", "50M", "-n", "4M")],
                         ids=["tcp", "parallel", "udp"])  # fmt: skip
async def test_iperf3(boundary: str, direction: tuple[str, ...], load: tuple[str, ...]) -> None:
    port = free_port()
    async with LibOS(env=ENVIRONMENT, boundary=boundary, network="host") as libos:
        server = await libos.spawn("iperf3", "-s", "-1", "-p", str(port), stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
        assert server.stdout is not None
        output = asyncio.ensure_future(server.stdout.read())
        await listening(libos, port)
        report = json.loads(await native("iperf3", "-J", "-c", "127.0.0.1", "-p", str(port), *load, *direction))
        assert await asyncio.wait_for(server.wait(), TIME) == 0, (await output).decode()
    end = report["end"]
    if "-u" in load:
        assert end["sum"]["lost_percent"] < 20
    else:
        # What the receiver counts leaves out what was under way when the sender said that it was done.
        assert end["sum_sent"]["bytes"] >= 30 << 20


# -- inside to outside -------------------------------------------------------------------


@needs("curl", "wget")
async def test_curl_and_wget_to_the_host(boundary: str, blob: Path) -> None:
    port = free_port()
    server = ("/usr/bin/python3", "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(blob))
    async with running(*server):
        await reachable(port)
        fetch = f"curl -sS http://localhost:{port}/blob | sha256sum; wget -qO- http://127.0.0.1:{port}/blob | sha256sum"
        allow = [f"127.0.0.1:{port}", f"[::1]:{port}"]
        status, output = await inside("/bin/sh", "-c", fetch, boundary=boundary, allow=allow)
        assert (status, output.count(digest((blob / "blob").read_bytes()))) == (0, 2), output
        curl = ("curl", "-sS", f"http://127.0.0.1:{port}/")
        status, output = await inside(*curl, boundary=boundary, allow=["192.0.2.1"])
        assert status == 7, output
        for network in ("none", "private"):
            status, output = await inside(*curl, boundary=boundary, network=network)
            assert status == 7, output


@needs("ncat")
async def test_ncat_to_the_host(boundary: str, blob: Path) -> None:
    data = (blob / "blob").read_bytes()
    received = asyncio.get_running_loop().create_future()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.read(-1))
        writer.close()

    server = await asyncio.start_server(collect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    status, output = await inside("ncat", "--send-only", "127.0.0.1", str(port), boundary=boundary, stdin=data)
    assert status == 0, output
    assert digest(await asyncio.wait_for(received, TIME)) == digest(data)
    server.close()


# -- refusals ---------------------------------------------------------------------------


async def test_published_port_in_use() -> None:
    from occlum_async.errors import ConfigError

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            async with LibOS(publish=[f"127.0.0.1:{port}:80"]):
                pass
    assert str(port) in caught.value.message
    assert "in use" in caught.value.message
    assert "\n" not in str(caught.value)


async def test_callbacks_decide(boundary: str) -> None:
    asked = []

    async def on_connect(address: str, port: int, protocol: str) -> bool:
        asked.append((address, protocol))
        return False

    script = "import socket; print(socket.socket().connect_ex(('127.0.0.1', 9)))"
    status, output = await inside("/usr/bin/python3", "-c", script, boundary=boundary, on_connect=on_connect)
    assert (status, output.strip()) == (0, "111")
    assert asked == [("127.0.0.1", "tcp")]
