"""The benchmarks' own machinery: what they measure with, and what they make of it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "bench"))

import network
import report
from network import NATIVE, OCALL, URING, Line, Sample


def samples(**values: float) -> dict[str, list[Sample]]:
    return {kind: [Sample(value * factor, 2.0) for factor in (0.5, 1, 4)] for kind, value in values.items()}


@pytest.mark.parametrize(
    ("uring", "target", "met", "words"),
    [
        (40, {"ratio": 0.4}, True, "0.4 x native"),
        (39, {"ratio": 0.4}, False, "0.4 x native"),
        (5000, {"least": 5000}, True, ">= 5,000"),
        (6, {"most": 5}, False, "<= 5"),
        (6, {}, None, ""),
    ],
)
def test_targets_are_held_against_medians(uring: float, target: dict[str, float], met: bool | None, words: str) -> None:
    line = Line("group", "title", "unit", samples(native=100, ocall=20, uring=uring), **target)
    assert (line.median(NATIVE), line.of_native(OCALL), line.exits(URING)) == (100, 0.2, 2.0)
    assert (line.met, line.target) == (met, words)


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [Line("one", "title", "MB/s", samples(native=3000, ocall=750, uring=1500), ratio=0.5)]
    network.tell("all of it", "MB", lines, str(tmp_path / "figures.json"), None)
    told = capsys.readouterr().out
    assert "one, MB/s" in told and "3,000" in told and "0.50" in told and "met" in told
    (figures,) = json.loads((tmp_path / "figures.json").read_text())
    assert figures["medians"] == {"native": 3000, "ocall": 750, "uring": 1500} and figures["met"] is True


async def test_variants_are_measured_in_turn() -> None:
    order = []

    async def measure(name: str) -> int:
        order.append(name)
        return len(order)

    found = await report.in_turn(2, {"a": lambda: measure("a"), "b": lambda: measure("b")})
    assert found == {"a": [1, 3], "b": [2, 4]} and order == ["a", "b", "a", "b"]


@pytest.mark.parametrize("variant", [network.Variant(NATIVE), network.Variant(OCALL), network.Variant(OCALL, 1000)])
async def test_a_server_is_reached(variant: network.Variant, tmp_path: Path) -> None:
    page = str(tmp_path / "page")

    def argv(port: int) -> list[str]:
        return ["/usr/bin/python3", "-m", "http.server", "-b", "127.0.0.1", "-d", str(tmp_path), str(port)]

    async with network.serving(variant, argv, lambda port: {page: b"works"}) as server:
        before = await server.exits()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /page HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"works")
        writer.close()
        assert (await server.exits() > before) == (variant.kind != NATIVE)
        assert server.cpu() > 0
