"""``stats``: run a program and show what the kernel counted."""

from __future__ import annotations

from dataclasses import dataclass

from . import run


@dataclass(frozen=True, slots=True)
class Options:
    """Run PROGRAM as `run --stats` does, with every other option at its default."""

    program: str
    arguments: tuple[str, ...] = ()


def command(options: Options) -> int:
    """Run it; the exit status is the program's."""
    return run.command(run.Options(options.program, options.arguments, stats=True))
