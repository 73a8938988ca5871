"""stress-ng with the stressors of ``stressors.txt``: each verifies what it did, and together they get in their way."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.harness import Outcome, run_inside

LINES = (Path(__file__).parent / "stressors.txt").read_text().splitlines()
STRESSORS = [name for line in LINES if not line.startswith("#") for name in line.split()]
GROUP = 12
# What one says that had not begun when the time was over, where the processors are busy; or that found no memory.
LATE = "aborted early, out of system resources"
PRIVATE = ("exec", "spawn")  # they refuse to be root

pytestmark = pytest.mark.skipif(shutil.which("stress-ng") is None, reason="this machine has no stress-ng")


async def _stress(names: list[str], seconds: int) -> Outcome:
    known = set((await run_inside("stress-ng", "--stressors")).output.split())
    each = [word for name in names if name in known for word in (f"--{name}", "1")]
    user = "1000:1000" if set(names) & set(PRIVATE) else "0:0"
    return await run_inside(
        "stress-ng", *each, "--timeout", f"{seconds}s", "--verify", "--metrics-brief", "--no-rand-seed",
        memory="2g", user=user, time_limit=200,
    )  # fmt: skip


def _check(outcome: Outcome) -> None:
    assert outcome.returncode == 0, outcome.output[-5000:]
    assert not re.search(r"\bfail:", outcome.output), outcome.output[-5000:]
    assert outcome.stats["oopses"] == 0


GROUPS = [STRESSORS[start : start + GROUP] for start in range(0, len(STRESSORS), GROUP)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("names", GROUPS, ids=lambda names: f"{names[0]}-to-{names[-1]}")
async def test_stressors_pass_side_by_side(names: list[str]) -> None:
    outcome = await _stress(names, 2)
    if LATE in outcome.output:
        outcome = await _stress(names, 15)
    _check(outcome)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", STRESSORS)
async def test_stressor_passes_alone(name: str) -> None:
    _check(await _stress([name], 2))
