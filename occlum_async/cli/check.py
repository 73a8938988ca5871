"""``check``: the host's features as a table, and one sentence that says what follows."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from ..process.hostcheck import Probe, probe_all, required_missing
from . import EXIT_FAILED
from .parsing import option

PIPE_WIDTH = 160


@dataclass(frozen=True, slots=True)
class Options:
    """Tell whether this host can run the LibOS, what it lacks, and which fallbacks apply."""

    json: bool = option("--json", help="Print it for machines.")


def command(options: Options) -> int:
    """Print what the host has; the status is 0 when the LibOS can run here, 125 otherwise."""
    probes = probe_all()
    missing = required_missing(probes)
    if options.json:
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(probes), indent=2).decode() + "\n")
    else:
        _print_table(probes)
        if missing:
            print(f"This host can't run Occlum Async: {', '.join(probe.name for probe in missing)} missing.")
        else:
            fallbacks = sum(not probe.present for probe in probes)
            print(f"This host can run Occlum Async, with {fallbacks or 'no'} fallback{'s' * (fallbacks != 1)}.")
    return EXIT_FAILED if missing else 0


def _print_table(probes: list[Probe]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("feature", "", "found", "otherwise"):
        table.add_column(heading, overflow="fold")
    for probe in probes:
        state = "[green]ok" if probe.present else "[red]missing" if probe.required else "[yellow]fallback"
        table.add_row(probe.name, state, probe.found, "" if probe.present else probe.otherwise)
    # A pipe has no width: the lines stay whole for who searches them.
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)
