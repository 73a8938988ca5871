"""What all benchmarks share: the command line, measuring in turn, and telling it as a table, JSON and a plot."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

T = TypeVar("T")
WORDS, FIGURE = 40, 9  # characters: the most that a column of words takes, and that a figure is sure of


def options(doc: str | None) -> argparse.ArgumentParser:
    """A command line with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: for a look, not for a report")
    parser.add_argument("--json", metavar="FILE", help="write the figures for machines")
    parser.add_argument("--plot", metavar="NAME", help="draw NAME.svg and NAME.png")
    return parser


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` on the loop that ``python -m occlum_async run`` would use."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def in_turn(repeat: int, variants: Mapping[str, Callable[[], Awaitable[T]]]) -> dict[str, list[T]]:
    """Measure every variant ``repeat`` times, one after the other, so that all meet the same machine."""
    samples: dict[str, list[T]] = {name: [] for name in variants}
    for _ in range(repeat):
        for name, measure in variants.items():
            samples[name].append(await measure())
    return samples


def human(value: float | None, unit: str) -> str:
    """A figure with the unit that fits it: "ns", "bytes", or any other, which stays as it is."""
    if value is None:
        return ""
    if unit == "bytes":
        return f"{value / 1e6:.0f} MB"
    if unit != "ns":
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    for limit, name in ((1e3, "ns"), (1e6, "us"), (1e9, "ms")):
        if value < limit:
            return f"{value / (limit / 1e3):.3g} {name}"
    return f"{value / 1e9:.3g} s"


def verdict(met: bool | None) -> str:
    """Whether a target is met; nothing where there is none."""
    return "" if met is None else "[green]met" if met else "[red]missed"


def show(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> None:
    """Print a table whose first ``words`` columns are words and whose others are figures. A row of one is a heading."""
    table = Table(title=title, title_justify="left")
    for place, heading in enumerate(headings):
        least = max((cell_len(row[place]) for row in rows if len(row) > 1 and "[" not in row[place]), default=0)
        if place < words:
            table.add_column(heading, min_width=min(least, WORDS), max_width=WORDS)
        else:
            table.add_column(heading, justify="right", min_width=min(least, FIGURE))
    for row in rows:
        if len(row) == 1:
            table.add_section()
        table.add_row(*row, style="bold" if len(row) == 1 else "")
    Console(width=170).print(table)


def write_json(path: str, figures: Sequence[Mapping[str, Any]]) -> None:
    """Write the figures for machines."""
    Path(path).write_text(json.dumps(list(figures), indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram of bars: for each label a group, with one bar for each series."""

    title: str
    unit: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    logarithmic: bool = False


def plot(name: str, panels: Sequence[Panel]) -> None:
    """Draw the panels, one above the other, as ``name``.svg and ``name``.png. Needs matplotlib (extra ``bench``)."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install 'occlum-async[bench]'") from None
    matplotlib.use("agg")
    from matplotlib import pyplot

    heights = [0.16 * len(panel.labels) * len(panel.series) + 1.0 for panel in panels]
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(9, sum(heights)), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for panel, (drawing,) in zip(panels, axes, strict=True):
        width = 0.8 / len(panel.series)
        for place, (series, values) in enumerate(panel.series.items()):
            shift = (place - (len(panel.series) - 1) / 2) * width
            drawing.barh([row + shift for row in range(len(panel.labels))], values, width, label=series)
        drawing.set_yticks(range(len(panel.labels)), panel.labels)
        drawing.set_title(panel.title, loc="left", fontsize=10)
        drawing.set_xlabel(panel.unit)
        if panel.logarithmic:
            drawing.set_xscale("log")
        drawing.invert_yaxis()
        drawing.legend(fontsize=8)
    pyplot.tight_layout()
    figure.savefig(f"{name}.svg")
    figure.savefig(f"{name}.png", dpi=110)
