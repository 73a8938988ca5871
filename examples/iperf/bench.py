"""How fast bytes come in and go out: iperf natively, over plain calls and over the io_uring, in turn.

The server runs natively or inside, the client natively. "in" is towards the server. Without --quick that takes about
ten minutes. iperf3 is needed; iperf 2, which has a thread for each stream, is measured too where it is there.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import network
import report

MB = 1e6
RATIO = 0.5  # of native, for one stream of iperf3
SIZES = {"1K": 1 << 10, "8K": 8 << 10, "128K": 128 << 10, "1M": 1 << 20}


@dataclass(frozen=True, slots=True)
class Load:
    """What a client does: the program, the direction, streams, and the size of its reads and writes."""

    tool: str
    inward: bool
    streams: int
    size: str

    @property
    def title(self) -> str:
        """As it stands in the table."""
        streams = "1 stream" if self.streams == 1 else f"{self.streams} streams"
        return f"{'in' if self.inward else 'out'}, {streams}, {self.size}"


def loads(tools: list[str], quick: bool) -> list[Load]:
    """All that is measured: every size with one stream, the usual size with eight."""
    sizes = ["128K"] if quick else list(SIZES)
    return [
        Load(tool, inward, streams, size)
        for tool in tools for inward in (True, False) for streams in (1, 8)
        for size in (sizes if streams == 1 and tool == "iperf3" else ["128K"])
    ]  # fmt: skip


def serving(tool: str, variant: network.Variant) -> contextlib.AbstractAsyncContextManager[network.Server]:
    """A server of ``tool``."""
    return network.serving(variant, lambda port: [tool, "-s", "-p", str(port)])


async def throughput(load: Load, port: int, seconds: float) -> float:
    """Bytes a second, as the receiving side saw them."""
    argv = [load.tool, "-c", "127.0.0.1", "-p", str(port), "-t", f"{seconds:g}", "-P", str(load.streams)]
    argv += ["-l", load.size] + ([] if load.inward else ["-R"])
    if load.tool == "iperf3":
        answer = json.loads(await network.client(*argv, "-J"))
        return float(answer["end"]["sum_received"]["bits_per_second"]) / 8
    rows = [line.split(",") for line in (await network.client(*argv, "-y", "C")).split()]
    return sum(float(row[8]) for row in rows) / 8


async def measure(load: Load, server: network.Server, seconds: float) -> network.Sample:
    """Throughput in MB/s, and exits per MB."""

    async def once() -> float:
        return await throughput(load, server.port, seconds) / MB

    return await network.counted(server, once, lambda speed: speed * seconds)


async def lines(tools: list[str], quick: bool) -> list[network.Line]:
    """Everything, with exits that cost nothing and with those of an enclave."""
    repeat, seconds = (1, 1.0) if quick else (3, 2.0)
    found = []
    async with contextlib.AsyncExitStack() as stack:
        servers = {tool: await stack.enter_async_context(network.every(partial(serving, tool))) for tool in tools}
        for costly, load in itertools.product((False, True), loads(tools, quick)):
            samples = await network.compare(
                costly, repeat, lambda variant, load=load: measure(load, servers[load.tool][variant], seconds)
            )
            ratio = RATIO if load == Load("iperf3", load.inward, 1, "128K") and not costly else None
            found.append(network.Line(network.named(load.tool, costly), load.title, "MB/s", samples, ratio=ratio))
            print(found[-1].group, found[-1].title, file=sys.stderr)
    return found


def main() -> None:
    """Measure, and tell."""
    options = report.options(__doc__).parse_args()
    tools = [tool for tool in ("iperf3", "iperf") if shutil.which(tool)]
    if "iperf3" not in tools:
        raise SystemExit("iperf3 is missing: apt-get install iperf3")
    found = report.run(lines(tools, options.quick))
    network.tell("iperf: native, plain calls, io_uring; medians", "MB", found, options.json, options.plot)


if __name__ == "__main__":
    main()
