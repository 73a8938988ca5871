"""What the benchmarks of the network share: a server that runs natively and behind each boundary, and the report.

The clients always run natively: they are the outside that the server is reached from. Each kernel has a process of its
own, and no client is forked from it. One that was kept coming to the processor of the kernel that it talked to, and
took that away from it: redis-benchmark had a fifth to a third less than when it was started from anywhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import statistics
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import report
from inside import Task

KINDS = NATIVE, OCALL, URING = ("native", "ocall", "uring")
PATIENCE = 30.0  # seconds until a server must listen
SGX_EXIT = 8000  # cycles
_LISTEN = "0A"  # a socket's state


@dataclass(frozen=True, slots=True)
class Variant:
    """How a server runs: natively, or behind a boundary whose exits cost ``exit_cost`` cycles."""

    kind: str
    exit_cost: int = 0


BASE = (Variant(NATIVE), Variant(OCALL), Variant(URING))
COSTLY = (Variant(OCALL, SGX_EXIT), Variant(URING, SGX_EXIT))


class Server:
    """A server that listens on ``port`` of the host. Figures are since it was started."""

    def __init__(self, port: int, process: Process) -> None:
        self.port = port
        self.process = process

    async def exits(self) -> int:
        """Exits of the kernel that it runs in; 0 natively."""
        return 0

    def cpu(self) -> float:
        """Seconds of CPU that it, and the kernel that it runs in, have taken."""
        total = 0
        for pid in _family(self.process.pid):
            for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    total += int(thread.read_text().split()[0])
        return total / 1e9


class Inside(Server):
    """A server in the LibOS of a process that runs ``inside``."""

    async def exits(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        return await _answer(self.process)


async def _answer(process: Process) -> int:
    """The next number that ``inside`` tells."""
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
    if not line:
        raise SystemExit("the LibOS has ended")
    return int(line)


def _listens(port: int) -> bool:
    tables = (Path("/proc/net/tcp").read_text(), Path("/proc/net/tcp6").read_text())
    rows = (line.split() for table in tables for line in table.splitlines()[1:])
    return any(row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port for row in rows)


async def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: nobody listens after {PATIENCE:g} seconds")
        await asyncio.sleep(0.01)


def _family(pid: int) -> list[int]:
    """``pid`` and its descendants."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return found


@contextlib.asynccontextmanager
async def _natively(argv: Sequence[str], port: int) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(*argv, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    try:
        await _until(lambda: _listens(port) or process.returncode is not None, argv[0])
        yield Server(port, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def _inside(task: Task) -> AsyncIterator[Server]:
    command = [sys.executable, str(Path(__file__).with_name("inside.py")), msgspec.json.encode(task).decode()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # it imports what we do
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=environment)
    try:
        yield Inside(await _answer(process), process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@contextlib.asynccontextmanager
async def serving(
    variant: Variant, argv: Callable[[int], Sequence[str]], files: Callable[[int], Mapping[str, bytes]] = lambda _: {},
    folders: Sequence[str] = (),
) -> AsyncIterator[Server]:  # fmt: skip
    """Run ``argv(port)`` natively or inside, beside ``files(port)``, which inside lie in memory, and ``folders``."""
    port = free_port()
    command, wanted = list(argv(port)), dict(files(port))
    if variant.kind == NATIVE:
        for path, data in wanted.items():
            Path(path).write_bytes(data)
        running = _natively(command, port)
    else:
        running = _inside(Task(variant.kind, variant.exit_cost, port, command, wanted, list(folders)))
    async with running as server:
        yield server


@contextlib.asynccontextmanager
async def every(
    serve: Callable[[Variant], contextlib.AbstractAsyncContextManager[Server]],
) -> AsyncIterator[dict[Variant, Server]]:
    """A server of each variant that is measured, all at once."""
    async with contextlib.AsyncExitStack() as stack:
        yield {variant: await stack.enter_async_context(serve(variant)) for variant in (*BASE, *COSTLY)}


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def client(*argv: str) -> str:
    """Run a client natively; what it printed."""
    process = await asyncio.create_subprocess_exec(*argv, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(argv)}: {errors.decode(errors='replace').strip() or output.decode()}")
    return output.decode()


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: the figure, and how many exits it took for each unit of work."""

    value: float
    exits: float = 0.0


async def counted(server: Server, measure: Callable[[], Any], work: Callable[[float], float]) -> Sample:
    """Measure once; ``work(value)`` is how many units of work that was."""
    before = await server.exits()
    value = await measure()
    return Sample(value, (await server.exits() - before) / work(value))


async def compare(
    costly: bool, repeat: int, measure: Callable[[Variant], Awaitable[Sample]]
) -> dict[str, list[Sample]]:
    """Measure natively and behind both boundaries, in turn; ``costly``: with exits as expensive as an enclave's."""
    variants = (BASE[0], *COSTLY) if costly else BASE
    return await report.in_turn(repeat, {variant.kind: partial(measure, variant) for variant in variants})


def named(group: str, costly: bool) -> str:
    """A group of lines, and what its exits cost."""
    return f"{group}, exits of {SGX_EXIT} cycles" if costly else group


@dataclass(slots=True)
class Line:
    """One line of a report. ``ratio`` and ``least`` are targets: of native's figure, or absolute, for the io_uring."""

    group: str
    title: str
    unit: str
    samples: dict[str, list[Sample]]
    ratio: float | None = None
    least: float | None = None
    most: float | None = None

    def median(self, kind: str) -> float | None:
        """The median of a variant's figures."""
        samples = self.samples.get(kind)
        return None if not samples else statistics.median(sample.value for sample in samples)

    def exits(self, kind: str) -> float | None:
        """The median of exits for each unit of work."""
        samples = self.samples.get(kind)
        return None if not samples else statistics.median(sample.exits for sample in samples)

    def of_native(self, kind: str) -> float | None:
        """How a variant compares with native."""
        native, value = self.median(NATIVE), self.median(kind)
        return None if not native or value is None else value / native

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        value, ratio = self.median(URING), self.of_native(URING)
        if self.ratio is not None:
            return None if ratio is None else ratio >= self.ratio
        if value is None or (self.least is None and self.most is None):
            return None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    @property
    def target(self) -> str:
        """The target in words."""
        if self.ratio is not None:
            return f"{self.ratio:g} x native"
        if self.least is not None:
            return f">= {report.human(self.least, self.unit)}"
        return "" if self.most is None else f"<= {report.human(self.most, self.unit)}"


def tell(title: str, work: str, lines: Sequence[Line], json: str | None, plot: str | None) -> None:
    """The table, and on request JSON and the plot. ``work`` is what exits are counted for: "MB", "request"."""
    groups = {key: list(found) for key, found in itertools.groupby(lines, lambda line: (line.group, line.unit))}
    rows: list[list[str]] = []
    for (group, unit), found in groups.items():
        rows.append([f"{group}, {unit}"])
        rows += map(_row, found)
    headings = (
        "",
        *KINDS,
        "ocall / native",
        "uring / native",
        "uring / ocall",
        f"exits per {work}: ocall",
        "uring",
        "target",
        "",
    )
    report.show(title, headings, rows)
    if json:
        report.write_json(json, [_figures(line) for line in lines])
    if plot:
        report.plot(plot, [_panel(group, unit, found) for (group, unit), found in groups.items()])


def _row(line: Line) -> list[str]:
    ocall, uring = line.median(OCALL), line.median(URING)
    gain = uring / ocall if uring and ocall else None
    ratios = (line.of_native(OCALL), line.of_native(URING), gain)
    return [
        line.title,
        *(report.human(line.median(kind), "") for kind in KINDS),
        *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
        *(report.human(line.exits(kind), "") for kind in (OCALL, URING)),
        line.target,
        report.verdict(line.met),
    ]


def _figures(line: Line) -> dict[str, Any]:
    medians = {kind: line.median(kind) for kind in KINDS}
    samples = {kind: [(one.value, one.exits) for one in samples] for kind, samples in line.samples.items()}
    return {
        "group": line.group, "title": line.title, "unit": line.unit, "medians": medians,
        "exits": {kind: line.exits(kind) for kind in KINDS}, "target": line.target, "met": line.met,
        "samples": samples,
    }  # fmt: skip


def _panel(group: str, unit: str, lines: Sequence[Line]) -> report.Panel:
    series = {kind: [line.median(kind) or 0.0 for line in lines] for kind in KINDS}
    return report.Panel(group, unit, [line.title for line in lines], series)
