"""Random system calls against a live kernel: no mistake of the kernel's, and nobody else suffers."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import time
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass, field
from pathlib import Path

from occlum_async.libos import Bind, LibOS

HERE = Path(__file__).parent
BUILD = HERE / "build"
ROUND = 20.0  # seconds that one LibOS is fuzzed
SLACK = 60.0  # seconds that a round may take beyond that


@dataclass
class Report:
    """What a run has found: rounds made, tracebacks seen, whether the neighbour was always served."""

    rounds: int = 0
    oopses: list[str] = field(default_factory=list)
    neighbour_served: bool = True

    @property
    def clean(self) -> bool:
        """Nothing was found."""
        return not self.oopses and self.neighbour_served


class _Tracebacks(logging.Handler):
    def __init__(self, report: Report, seed: int) -> None:
        super().__init__(logging.ERROR)
        self.report = report
        self.seed = seed

    def emit(self, record: logging.LogRecord) -> None:
        text = logging.Formatter().format(record)
        self.report.oopses.append(f"seed {self.seed}: {text}")


def build() -> Path:
    """Compile the fuzzing program; the folder that it is in."""
    BUILD.mkdir(exist_ok=True)
    flags = ["-std=gnu11", "-O1", "-g", "-w", "-static", "-pthread"]
    subprocess.run(["gcc", *flags, "-o", str(BUILD / "fuzz"), str(HERE / "fuzz.c")], check=True)
    return BUILD


async def fuzz_round(report: Report, seed: int, seconds: float, user: str, grants: bool) -> None:
    """Fuzz a fresh LibOS for ``seconds``, as ``user``; what is found goes to ``report``."""
    handler = _Tracebacks(report, seed)
    logger = logging.getLogger("occlum_async")
    logger.addHandler(handler)
    try:
        async with LibOS(binds=[Bind(str(build()), "/fuzz", True)], memory="512m", pids=300, grants=grants) as libos:
            neighbour = await libos.spawn("/bin/cat", stdin=PIPE, stdout=PIPE)
            program = await libos.spawn(
                "/fuzz/fuzz", str(seed), str(seconds), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, user=user
            )
            await asyncio.wait_for(program.wait(), seconds + SLACK)
            assert neighbour.stdin is not None and neighbour.stdout is not None
            neighbour.stdin.write(b"still there?\n")
            answer = await asyncio.wait_for(neighbour.stdout.readline(), SLACK)
            report.neighbour_served = report.neighbour_served and answer == b"still there?\n"
            if libos.stats()["oopses"] and not report.oopses:
                report.oopses.append(f"seed {seed}: an oops that was not logged")
    except TimeoutError:
        report.neighbour_served = False
    finally:
        logger.removeHandler(handler)
    report.rounds += 1


async def fuzz(seconds: float, seed: int | None = None, user: str = "1000:1000") -> Report:
    """Fuzz for ``seconds`` (0: until something is found), in both modes in turn, from ``seed`` or from the clock."""
    report = Report()
    seed = int(time.time()) if seed is None else seed
    end = time.monotonic() + seconds if seconds else float("inf")
    while report.clean and (left := end - time.monotonic()) > 0:
        await fuzz_round(report, seed, min(ROUND, left), user, grants=bool(report.rounds % 2))
        seed += 1000
    return report
