"""How fast Debian's redis-server answers redis-benchmark: natively, over plain calls and over the io_uring, in turn."""

from __future__ import annotations

import csv
import itertools
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import network
import report

CLIENTS = 50
# How many requests each client has under way, how many are made, and the target as a part of native.
PIPELINES = {1: (60_000, 0.3), 16: (400_000, 0.35)}
COMMANDS = ("SET", "GET")


def server_argv(port: int) -> list[str]:
    """A redis-server that writes nothing to disk."""
    return ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]


async def measure(server: network.Server, command: str, pipeline: int, requests: int) -> network.Sample:
    """Requests a second, and exits for each."""

    async def once() -> float:
        output = await network.client(
            "redis-benchmark", "-p", str(server.port), "-t", command.lower(), "-c", str(CLIENTS), "-P", str(pipeline),
            "-n", str(requests), "--csv",
        )  # fmt: skip
        (row,) = (row for row in csv.reader(output.splitlines()) if row and row[0] == command)
        return float(row[1])

    return await network.counted(server, once, lambda _: requests)


async def lines(quick: bool) -> list[network.Line]:
    """Everything, with exits that cost nothing and with those of an enclave."""
    repeat, part = (1, 3) if quick else (5, 1)
    found = []
    async with network.every(lambda variant: network.serving(variant, server_argv)) as servers:
        for costly, pipeline, command in itertools.product((False, True), PIPELINES, COMMANDS):
            requests, ratio = PIPELINES[pipeline]
            samples = await network.compare(
                costly, repeat,
                lambda variant, c=command, p=pipeline, n=requests // part: measure(servers[variant], c, p, n),
            )  # fmt: skip
            title = f"{command}, {CLIENTS} clients, -P {pipeline}"
            found.append(network.Line(
                network.named("redis", costly), title, "requests/s", samples, ratio=None if costly else ratio
            ))  # fmt: skip
            print(found[-1].group, title, file=sys.stderr)
    return found


def main() -> None:
    """Measure, and tell."""
    options = report.options(__doc__).parse_args()
    if not (shutil.which("redis-server") and shutil.which("redis-benchmark")):
        raise SystemExit("redis is missing: apt-get install redis-server redis-tools")
    found = report.run(lines(options.quick))
    network.tell("redis: native, plain calls, io_uring; medians", "request", found, options.json, options.plot)


if __name__ == "__main__":
    main()
