"""Every example of docs/run.md and docs/embedding.md does what is said there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / name).read_text(), re.MULTILINE | re.DOTALL)


def sessions() -> list[tuple[str, str]]:
    """Commands (in their order, since later ones use what earlier ones made) and what they print."""
    found = []
    for block in blocks("run.md", "console"):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = entry.partition("\n")
            found.append((command, output))
    return found


def test_the_examples_of_run(tmp_path: Path) -> None:
    wrapper = tmp_path / "occlum-async"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -m occlum_async "$@"\n')
    wrapper.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(DOCS.parent)}
    assert len(sessions()) > 10
    for command, output in sessions():
        done = subprocess.run(
            ["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=tmp_path, env=environment, text=True, timeout=60,
        )  # fmt: skip
        assert done.stdout == output, command


@pytest.mark.parametrize("number", range(len(blocks("embedding.md", "python"))))
def test_the_examples_of_embedding(number: int, tmp_path: Path) -> None:
    before = "\n".join(re.findall(r"^(?:from|import) .*$", "\n".join(blocks("embedding.md", "python")), re.MULTILINE))
    block = blocks("embedding.md", "python")[number].replace("/srv/data", str(tmp_path))
    source = f"{before}\nasync def example():\n{textwrap.indent(block, '    ')}"
    names: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
    exec(compile(source, f"embedding.md, example {number}", "exec"), names)
    asyncio.run(names["example"]())
