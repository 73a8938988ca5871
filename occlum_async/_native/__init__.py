"""What ``pip install`` built from ``native/``: the shim (a program, as a data file) and the cffi modules.

``shim_path`` is the only way to find the shim, in a wheel and in an editable install alike.
"""

from __future__ import annotations

from pathlib import Path


def shim_path() -> Path:
    """The shim's executable file."""
    return Path(__file__).with_name("shim")
