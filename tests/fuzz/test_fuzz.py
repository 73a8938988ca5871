"""A bounded run of the fuzzer; ``python -m tests.fuzz`` goes on until it finds something."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz.runner import Report, fuzz_round

SECONDS = 8.0


@pytest.mark.parametrize("user", ["1000:1000", "0:0"])
@pytest.mark.parametrize("mode", ["strict", "grants"])
async def test_random_calls(mode: str, user: str) -> None:
    report = Report()
    await fuzz_round(report, seed=20240 + len(mode), seconds=SECONDS, user=user, grants=mode == "grants")
    assert report.oopses == []
    assert report.neighbour_served
