"""Debian's programs, unmodified, doing real work: each file under ``programs`` must behave inside as on Linux.

The first lines of a file say what it ``needs:``, and how much ``memory:`` and ``time:`` (seconds) it may take.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from occlum_async.libos import Bind
from tests.harness import TIME_LIMIT, run_inside, run_natively

PROGRAMS = Path(__file__).parent / "programs"
INTERPRETERS = {
    "bash": ("/bin/bash",),
    "busybox": ("/bin/busybox", "sh"),
    "dash": ("/bin/dash",),
    "node": ("/usr/bin/node",),
    "perl": ("/usr/bin/perl",),
    "python": ("/usr/bin/python3",),
}


def _option(text: str, name: str, default: str = "") -> str:
    found = re.search(rf"^(?:#|//) {name}: (.+)$", text, re.MULTILINE)
    return found[1] if found else default


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*/*.*")), ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_it_does_inside_what_it_does_on_linux(path: Path) -> None:
    text = path.read_text()
    interpreter = INTERPRETERS[path.parent.name]
    missing = [name for name in (interpreter[0], *_option(text, "needs").split()) if shutil.which(name) is None]
    if missing:
        pytest.skip(f"this machine has no {', '.join(missing)}")
    limit = float(_option(text, "time", str(TIME_LIMIT)))
    native = await run_natively(*interpreter, str(path), time_limit=limit)
    inside = await run_inside(
        *interpreter, f"/programs/{path.relative_to(PROGRAMS)}", binds=[Bind(str(PROGRAMS), "/programs", True)],
        memory=_option(text, "memory", "1g"), time_limit=limit,
    )  # fmt: skip
    assert inside.output == native.output
    assert inside.returncode == native.returncode
    assert inside.stats["oopses"] == 0
