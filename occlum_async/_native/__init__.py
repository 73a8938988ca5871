"""What ``pip install`` built from ``native/``: the shim (a program, as a data file) and the cffi modules.

A package with a shim is installed as files, so they are found beside this one, in a wheel and in an editable
install alike.
"""

from __future__ import annotations

import os


def shim_path() -> str:
    """The shim's executable file."""
    return _beside("shim")


def header_path() -> str:
    """The header of the memory that shim and kernel share, as the shim was built from it."""
    return _beside("occlum_abi.h")


def _beside(name: str) -> str:
    return os.path.join(os.path.dirname(__file__), name)
