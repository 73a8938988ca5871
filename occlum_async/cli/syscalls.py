"""``syscalls``: which system calls of x86-64 are there, and which are answered with ENOSYS."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

from .. import syscalls
from ..abi.numbers import NAMES, SHIM_CALLS
from ..syscalls.table import TABLE
from .parsing import option


@dataclass(frozen=True, slots=True)
class Options:
    """List the system calls of x86-64 that the kernel declares or the shim does by itself."""

    missing: bool = option("--missing", help="Those that are not there, and answered with ENOSYS.")


def command(options: Options) -> int:
    """Print number and name of each, one a line, and how many there are on the last line."""
    for module in pkgutil.iter_modules(syscalls.__path__):
        importlib.import_module(f"{syscalls.__name__}.{module.name}")
    there = TABLE.keys() | SHIM_CALLS
    chosen = [number for number in NAMES if (number in there) != options.missing]
    for number in chosen:
        print(f"{number:4}  {NAMES[number]}{'' if number in TABLE or options.missing else '  (shim)'}")
    print(f"{len(chosen)} of {len(NAMES)} are {'not ' if options.missing else ''}there")
    return 0
