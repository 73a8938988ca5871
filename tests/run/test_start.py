"""``run`` starts fast because it loads little."""

from __future__ import annotations

import subprocess
import sys

# Each of these costs tens of milliseconds, and nothing of `run` needs it.
HEAVY = (
    "argparse",
    "importlib.metadata",
    "importlib.resources",
    "pydantic",
    "rich",
    "typer",
    "elftools.dwarf",
    "email",
)
SOURCE = """
import sys
before = set(sys.modules)
from occlum_async.cli import main
assert main(["run", "true"]) == 0
print(*set(sys.modules) - before)
"""


def test_it_loads_nothing_heavy() -> None:
    done = subprocess.run((sys.executable, "-c", SOURCE), capture_output=True, text=True, check=True, timeout=60)
    loaded = done.stdout.split()
    assert "occlum_async.libos" in loaded
    assert [name for name in loaded if name.startswith(HEAVY)] == []
