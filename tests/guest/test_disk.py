"""The programs of ``files`` and ``disk``, and some of ``memory``, with an ext2 disk or a sefs under their /tmp.

What they print is what they print natively, and afterwards e2fsck(8) finds nothing to say about the disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from occlum_async.libos import Bind, Ext2Mount, SefsMount
from occlum_async.libos.mounts import DiskMount
from tests.guest.test_guest import BUILD, CANT_BEGIN, CANT_SAY, HERE, binaries
from tests.harness import run_inside, run_natively

__all__ = ["binaries"]

# ``holes`` allocates behind the end of the file, of which neither can keep account.
MEMORY = ("efault", "file", "madvise", "mremap", "truncate")
PROGRAMS = sorted(
    str(path.relative_to(HERE).with_suffix(""))
    for path in (*HERE.glob("disk/*.c"), *HERE.glob("files/*.c"), *(HERE / "memory" / f"{name}.c" for name in MEMORY))
    if path.stem != "holes"
)
SIZE = 32 << 20


async def compare(program: str, mount: DiskMount) -> None:
    """Run it natively, and inside with ``mount`` at /tmp."""
    native = await run_natively(str(BUILD / "static" / program))
    if native.returncode == CANT_SAY:
        pytest.skip("this host's file system lacks what the claim is about")
    assert native.returncode != CANT_BEGIN, f"the program can't make its claim natively: {native.output}"
    inside = await run_inside(f"/guest/static/{program}", binds=[Bind(str(BUILD), "/guest", True)], mounts=[mount])
    assert inside.output == native.output
    assert inside.returncode == native.returncode
    assert inside.stats["oopses"] == 0


@pytest.mark.parametrize("program", PROGRAMS)
async def test_same_as_linux_on_sefs(program: str, tmp_path: Path) -> None:
    (tmp_path / "sefs").mkdir()
    mount = SefsMount("/tmp", tmp_path / "sefs", key=bytes(32))
    given = await run_inside("/bin/chown", f"{os.getuid()}:{os.getgid()}", "/tmp", user="0:0", mounts=[mount])
    assert given.returncode == 0, given.output
    await compare(program, mount)


@pytest.mark.skipif(shutil.which("mke2fs") is None, reason="e2fsprogs is not installed")
@pytest.mark.parametrize("program", PROGRAMS)
async def test_same_as_linux(program: str, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(SIZE)
    owner = f"root_owner={os.getuid()}:{os.getgid()}"
    subprocess.run(["mke2fs", "-q", "-t", "ext2", "-E", owner, str(image)], check=True)
    await compare(program, Ext2Mount("/tmp", image))
    check = subprocess.run(["e2fsck", "-fn", str(image)], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout
