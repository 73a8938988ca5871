"""The kernel's counters as a table on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def print_stats(stats: Mapping[str, Any]) -> None:
    """Print the (possibly nested) counters of ``LibOS.stats``."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="kernel counters", title_justify="left", show_header=False)
    table.add_column("counter")
    table.add_column("value", justify="right")
    for name, value in flatten(stats):
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    Console(stderr=True).print(table)


def flatten(stats: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested counters as dotted names, in their order."""
    rows: list[tuple[str, Any]] = []
    for name, value in stats.items():
        if isinstance(value, Mapping):
            rows.extend(flatten(value, f"{prefix}{name}."))
        else:
            rows.append((f"{prefix}{name}", value))
    return rows
