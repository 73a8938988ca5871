"""Programs that make load, on either side of the boundary: iperf 2, wrk and ab."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from occlum_async.libos import Bind
from tests.apps.servers import booted, free_port, native, needs, reachable, run, running, server

MEBIBYTE = 1 << 20
# Parallel flows that overlap: where one ends before another begins, iperf 2.1.8's server frees the sums that both use.
TOGETHER = ("-b", "200m")
pytestmark = pytest.mark.timeout(180)


def nginx_config(port: int, root: str, scratch: str) -> str:
    """One process that serves the files in ``root``."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return f"""
daemon off; master_process off; pid {scratch}/nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
  access_log off; root {root}; {"".join(f"{kind}_temp_path {scratch}/{kind}; " for kind in kinds)}
  server {{ listen {port}; }}
}}
"""


def transferred(report: str) -> int:
    """The bytes of all connections, both ways, that iperf reports with ``-y C``: the eighth field of each line."""
    return sum(int(line.split(",")[7]) for line in report.splitlines() if line.count(",") >= 8)


@needs("iperf")
@pytest.mark.parametrize(
    ("megabytes", "flows", "load"),
    [
        (32, 1, ()), (8, 4, ("-P", "4", *TOGETHER)), (2, 1, ("-l", "1K")), (16, 2, ("--full-duplex",)),
        (16, 1, ("--reverse",)),
    ],
    ids=["one", "parallel", "small", "both-ways", "reverse"],
)  # fmt: skip
async def test_iperf(megabytes: int, flows: int, load: tuple[str, ...], mode: dict[str, Any]) -> None:
    """From the host in, from inside to the host, and between two programs inside."""
    async with booted(network="host", **mode) as libos:
        there, here = free_port(), free_port()
        client = ("iperf", "-c", "127.0.0.1", "-n", f"{megabytes}M", *load, "-y", "C", "-p")
        async with server(libos, there, "iperf", "-s", "-p", str(there)), running("iperf", "-s", "-p", str(here)):
            await reachable(here)
            reports = (
                (await native(*client, str(there))).decode(),
                await run(libos, *client, str(here)),
                await run(libos, *client, str(there)),
            )
    assert [transferred(report) for report in reports] == [megabytes * MEBIBYTE * flows] * 3, reports


@needs("iperf")
async def test_iperf_over_udp(mode: dict[str, Any]) -> None:
    async with booted(network="host", **mode) as libos:
        there, here = free_port(), free_port()
        client = ("iperf", "-u", "-c", "127.0.0.1", "-n", "500K", "-b", "5M", "-l", "1000", "-p")
        listen = ("iperf", "-s", "-u", "-p")
        async with server(libos, there, *listen, str(there), udp=True), running(*listen, str(here)):
            reports = (
                (await native(*client, str(there))).decode(),
                await run(libos, *client, str(here)),
                await run(libos, *client, str(there)),
            )
    for report in reports:
        (lost, sent), *_ = re.findall(r"(\d+)/ *(\d+) \(", report)  # what the server tells of
        assert int(sent) >= 500, report
        assert int(lost) < int(sent) // 5, report


@needs("wrk", "ab", "nginx")
async def test_wrk_and_ab(blob: Path, mode: dict[str, Any]) -> None:
    """nginx inside under load from the host and from inside; then nginx on the host from inside."""
    there, here = free_port(), free_port()
    (blob / "page").write_bytes(bytes(range(256)) * 40)
    (blob / "inside").write_text(nginx_config(there, "/www", "/tmp"))
    (blob / "outside").write_text(nginx_config(here, str(blob), str(blob)))
    loads = (
        ("wrk", "-t", "2", "-c", "20", "-d", "1"), ("ab", "-q", "-n", "300", "-c", "10"),
        ("ab", "-q", "-n", "300", "-c", "10", "-k"),
    )  # fmt: skip
    async with (
        booted(network="host", binds=[Bind(str(blob), "/www", True)], **mode) as libos,
        server(libos, there, "nginx", "-c", "/www/inside"),
        running("nginx", "-c", str(blob / "outside")),
    ):
        await reachable(here)
        for load in loads:
            check(load[0], (await native(*load, f"http://127.0.0.1:{there}/page")).decode())
            check(load[0], await run(libos, *load, f"http://127.0.0.1:{there}/page"))
            check(load[0], await run(libos, *load, f"http://127.0.0.1:{here}/page"))


def check(program: str, report: str) -> None:
    """No request failed, and what came back was the page."""
    if program == "wrk":
        assert "Socket errors" not in report, report
        assert "Non-2xx" not in report, report
        requests = re.search(r"(\d+) requests in", report)
        assert requests is not None
        assert int(requests[1]) > 20, report
    else:
        assert re.search(r"Failed requests: +0\n", report), report
        assert re.search(r"Document Length: +10240 bytes", report), report
