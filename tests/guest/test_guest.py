"""Linux is the oracle: each guest program must print the same natively and in the LibOS.

Every program in ``tests/guest/*/*.c`` is built three ways (glibc static, glibc dynamic, musl static) and run
in both modes. The binaries are built by ``make -C tests/guest``, which this module calls.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from occlum_async.libos import Bind
from tests.harness import Outcome, run_inside, run_natively

HERE = Path(__file__).parent
BUILD = HERE / "build"
# The programs in ``disk`` want a file system with a disk: see test_disk.py.
PROGRAMS = sorted(
    str(path.relative_to(HERE).with_suffix("")) for path in HERE.glob("*/*.c") if path.parent.name != "disk"
)
WAYS = ("static", "dynamic", "musl")

# Exit statuses by which a program says that the oracle itself can't answer, or that its premises failed.
CANT_SAY, CANT_BEGIN = 98, 99

_native: dict[tuple[str, str], Outcome] = {}


@pytest.fixture(scope="session", autouse=True)
def binaries() -> None:
    """All guest programs, built from their present sources."""
    subprocess.run(["make", "--no-print-directory", "-j2", "-C", str(HERE)], check=True)


@pytest.mark.parametrize("mode", ("strict", "grants"))
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("program", PROGRAMS)
async def test_same_as_linux(program: str, way: str, mode: str) -> None:
    if way == "musl" and shutil.which("musl-gcc") is None:
        pytest.skip("musl-gcc is not installed")
    binary = BUILD / way / program
    if (program, way) not in _native:
        _native[program, way] = await run_natively(str(binary))
    native = _native[program, way]
    if native.returncode == CANT_SAY:
        pytest.skip("this host's file system lacks what the claim is about")
    assert native.returncode != CANT_BEGIN, f"the program can't make its claim natively: {native.output}"
    inside = await run_inside(
        f"/guest/{way}/{program}", binds=[Bind(str(BUILD), "/guest", True)], grants=mode == "grants"
    )
    assert inside.output == native.output
    assert inside.returncode == native.returncode
