"""``syscalls``: which system calls of x86-64 the kernel declares, and which it answers with ENOSYS."""

from __future__ import annotations

import importlib
import pkgutil

from .. import syscalls
from ..abi.numbers import NAMES
from ..syscalls.table import TABLE


def list_syscalls(missing: bool) -> int:
    """Print number and name of each, one a line, and how many there are on the last line."""
    for module in pkgutil.iter_modules(syscalls.__path__):
        importlib.import_module(f"{syscalls.__name__}.{module.name}")
    chosen = [number for number in NAMES if (number in TABLE) != missing]
    for number in chosen:
        print(f"{number:4}  {NAMES[number]}")
    print(f"{len(chosen)} of {len(NAMES)} are {'not ' if missing else ''}declared")
    return 0
