"""Fixtures that the tests of servers and clients share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(params=["uring", "ocall"])
def boundary(request: pytest.FixtureRequest) -> str:
    """Both ways in which the kernel reaches the host."""
    kind: str = request.param
    return kind


@pytest.fixture(params=["uring-grants", "ocall-strict"])
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of a LibOS: all that makes it fast, and all that it must work without."""
    boundary, mode = request.param.split("-")
    return {"boundary": boundary, "grants": mode == "grants"}


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    """A folder with a file of a few megabytes."""
    (tmp_path / "blob").write_bytes(os.urandom(5 << 20))
    (tmp_path / "index.html").write_text("<h1>it works</h1>\n")
    tmp_path.chmod(0o755)
    return tmp_path
