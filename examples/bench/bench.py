"""Native and LibOS figures, interleaved in one run: a table, and on request JSON and a plot.

Every figure is the median of several repetitions, native and inside in turn, so that both meet the same machine.
All of it runs twice: pinned to one core, and unpinned, because a wake-up across idle cores costs ten times that on one.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import report

from occlum_async.libos import Bind, LibOS

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
SLEEPERS = 100


@dataclass(frozen=True, slots=True)
class Micro:
    """One benchmark of micro.c: its title, its name there, rounds, the target in ns, and a program for exec.

    ``wakes``: what it measures on several cores is how the machine wakes them, so the target is for one core.
    """

    title: str
    name: str
    rounds: int
    target: float | None
    program: str = ""
    wakes: bool = False


MICROS = (
    Micro("trapped call", "trapped", 20000, 8e3),
    Micro("stat", "stat", 10000, 20e3),
    Micro("open + close", "open_close", 5000, 45e3),
    Micro("4 KiB cached read", "read_4k", 10000, 15e3),
    Micro("pipe ping-pong", "pipe", 3000, 40e3, wakes=True),
    Micro("futex ping-pong", "futex", 5000, None),
    Micro("fork + wait", "fork", 100, 1.5e6),
    Micro("fork + exec + wait, static", "exec", 60, 3e6, "micro-static"),
    Micro("fork + exec + wait, dynamic", "exec", 60, 8e6, "micro"),
)


@dataclass(slots=True)
class Figure:
    """A line of the table; times in nanoseconds, memory in bytes."""

    title: str
    pinned: bool
    native: float | None
    inside: float
    target: float | None
    unit: str = "ns"


def build() -> None:
    """Compile micro.c, dynamic and static."""
    BUILD.mkdir(exist_ok=True)
    for name, options in (("micro", []), ("micro-static", ["-static"])):
        command = ["gcc", "-O2", "-pthread", *options, "-o", str(BUILD / name), str(HERE / "micro.c")]
        subprocess.run(command, check=True)


def pin(cores: set[int]) -> None:
    """Bind this process, and what it starts from now on, to ``cores``."""
    os.sched_setaffinity(0, cores)


async def run_micro(libos: LibOS | None, micro: Micro, rounds: int) -> float:
    """Nanoseconds per operation, natively for None."""
    folder = str(BUILD) if libos is None else "/bench"
    argv = [f"{folder}/micro", micro.name, str(rounds)]
    if micro.program:
        argv.append(f"{folder}/{micro.program}")
    if libos is None:
        process = await asyncio.create_subprocess_exec(*argv, stdout=PIPE)
        output, _ = await process.communicate()
        status = process.returncode
    else:
        inner = await libos.spawn(*argv, stdin=DEVNULL, stdout=PIPE)
        out, _ = await inner.communicate()
        output, status = out or b"", inner.returncode
    if status != 0:
        raise SystemExit(f"{' '.join(argv)} {'natively' if libos is None else 'inside'} ended with {status}")
    return float(output)


async def time_spawn(libos: LibOS | None, *argv: str) -> float:
    """Nanoseconds from the request to start a program until its end."""
    start = time.perf_counter_ns()
    if libos is None:
        native = await asyncio.create_subprocess_exec(*argv, stdin=DEVNULL, stdout=DEVNULL)
        await native.wait()
    else:
        inside = await libos.spawn(*argv, stdin=DEVNULL, stdout=DEVNULL)
        await inside.wait()
    return time.perf_counter_ns() - start


async def time_start() -> float:
    """Nanoseconds of ``python -m occlum_async run /bin/true``, as a shell sees it."""
    return await time_spawn(None, sys.executable, "-m", "occlum_async", "run", "/bin/true")


async def medians(
    repeat: int, native: Callable[[], Awaitable[float]], inside: Callable[[], Awaitable[float]]
) -> tuple[float, float]:
    """The medians of both, measured in turn."""
    samples = await report.in_turn(repeat, {"native": native, "inside": inside})
    return statistics.median(samples["native"]), statistics.median(samples["inside"])


async def measure(pinned: bool, repeat: int, scale: float) -> list[Figure]:
    """Everything once, under the present affinity."""
    figures = []
    async with LibOS(binds=[Bind(str(BUILD), "/bench", True)]) as libos:
        for micro in MICROS:
            rounds = max(10, int(micro.rounds * scale))
            native, inside = await medians(
                repeat,
                lambda m=micro, n=rounds: run_micro(None, m, n),
                lambda m=micro, n=rounds: run_micro(libos, m, n),
            )
            target = micro.target if pinned or not micro.wakes else None
            figures.append(Figure(micro.title, pinned, native, inside, target))
        for title, argv, target in (
            ("spawn of a static program", ("micro-static", "nothing", "0"), 3e6),
            ("python3 -c pass", ("/usr/bin/python3", "-c", "pass"), 80e6),
        ):
            host = argv if argv[0].startswith("/") else (str(BUILD / argv[0]), *argv[1:])
            guest = argv if argv[0].startswith("/") else (f"/bench/{argv[0]}", *argv[1:])
            native, inside = await medians(
                repeat * 3, lambda a=host: time_spawn(None, *a), lambda a=guest: time_spawn(libos, *a)
            )
            figures.append(Figure(title, pinned, native, inside, target))
    native, inside = await medians(repeat, lambda: time_spawn(None, "/bin/true"), time_start)
    figures.append(Figure("run /bin/true from a shell", pinned, native, inside, 200e6))
    return figures


def proportional_memory(group: int) -> int:
    """Bytes (PSS) of all processes in the process group ``group`` and of this process."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            mine = int(entry.name) == os.getpid() or os.getpgid(int(entry.name)) == group
            text = (entry / "smaps_rollup").read_text() if mine else ""
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    return total


async def measure_sleepers() -> Figure:
    """The memory that a LibOS with many sleeping programs takes in all, this Python process included."""
    before = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    async with LibOS() as libos:
        for _ in range(SLEEPERS):
            await libos.spawn("/bin/sleep", "1000", stdin=DEVNULL, stdout=DEVNULL)
        await asyncio.sleep(0.5)  # not a wait: the sleepers' own start-up is part of what is measured
        guests = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()} - before
        groups = {os.getpgid(pid) for pid in guests if Path(f"/proc/{pid}").exists()} - {os.getpgrp()}
        total = max((proportional_memory(group) for group in groups), default=proportional_memory(-1))
    return Figure(f"{SLEEPERS} sleepers, PSS in all", False, None, total, 150e6, "bytes")


def show(figures: list[Figure]) -> None:
    """The table: medians, the ratio, and whether the target is met."""
    rows = [
        [
            figure.title, "one" if figure.pinned else "all", report.human(figure.native, figure.unit),
            report.human(figure.inside, figure.unit), f"{figure.inside / figure.native:.1f}" if figure.native else "",
            report.human(figure.target, figure.unit),
            report.verdict(None if figure.target is None else figure.inside <= figure.target),
        ]
        for figure in figures
    ]  # fmt: skip
    headings = ("operation", "cores", "native", "LibOS", "ratio", "target", "")
    report.show("Occlum Async: native and LibOS, medians", headings, rows, words=2)


def panel(figures: list[Figure]) -> report.Panel:
    """Native against LibOS on a logarithmic axis."""
    timed = [figure for figure in figures if figure.native]
    labels = [f"{figure.title} ({'one core' if figure.pinned else 'all cores'})" for figure in timed]
    series = {
        "native": [(figure.native or 0) / 1e3 for figure in timed],
        "LibOS": [figure.inside / 1e3 for figure in timed],
    }
    return report.Panel("native and LibOS", "microseconds", labels, series, logarithmic=True)


def main() -> None:
    """Measure, and tell."""
    options = report.options(__doc__).parse_args()
    repeat, scale = (3, 0.2) if options.quick else (7, 1.0)
    build()
    cores = os.sched_getaffinity(0)
    figures = []
    for pinned in (True, False):
        pin({min(cores)} if pinned else cores)
        figures += asyncio.run(measure(pinned, repeat, scale))
    figures.append(asyncio.run(measure_sleepers()))
    show(figures)
    if options.json:
        report.write_json(options.json, [asdict(figure) for figure in figures])
    if options.plot:
        report.plot(options.plot, [panel(figures)])


if __name__ == "__main__":
    main()
