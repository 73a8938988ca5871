"""The LibOS is killed while programs write to a sealed disk: what they were told is durable is there afterwards."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest

from occlum_async.fs.ext2 import mkfs
from occlum_async.fs.mlsdisk import MlsDisk
from occlum_async.io.boundary import open_boundary
from occlum_async.libos import Ext2Mount, LibOS
from occlum_async.libos.disks import open_disk
from occlum_async.sched.strand import Scheduler

KEY = bytes(range(32))
BLOCKS = 64 << 8  # 64 MiB

DATABASE = """
import sqlite3, itertools
base = sqlite3.connect("/data/base", isolation_level=None)
base.execute("pragma journal_mode=%s")
base.execute("pragma synchronous=extra")
base.execute("create table if not exists t (n integer primary key, text)")
start = base.execute("select coalesce(max(n), 0) from t").fetchone()[0]
for n in itertools.count(start + 1):
    base.execute("insert into t values (?, ?)", (n, str(n) * 50))
    print(n, flush=True)
"""
FILES = """
import itertools, os, zlib
for n in itertools.count(len(os.listdir("/data"))):
    data = os.urandom(n % 97 * 500)
    with open("/data/new", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename("/data/new", f"/data/{n}-{zlib.crc32(data)}")
    folder = os.open("/data", os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    print(n, flush=True)
"""
MAPPED = """
import itertools, mmap, os
file = os.open("/data/mapped", os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 1 << 20)
memory = mmap.mmap(file, 1 << 20)
start = int.from_bytes(memory[:8], "little")
for n in itertools.count(start + 1):
    memory[8 + n * 8 : 16 + n * 8] = n.to_bytes(8, "little")
    memory[:8] = n.to_bytes(8, "little")
    memory.flush()
    print(n, flush=True)
"""


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A sealed disk with an empty file system; its key is in the file beside it."""
    path = tmp_path / "d.mls"
    disk = await MlsDisk.create(path, KEY, blocks=BLOCKS)
    await mkfs(disk)
    await disk.close()
    path.with_suffix(".key").write_bytes(KEY)
    return path


def run(path: Path, *program: str, options: str = "") -> tuple[str, ...]:
    """The command that runs ``program`` with the disk at /data."""
    mount = f"type=ext2,source={path},target=/data,key-file={path.with_suffix('.key')}{options}"
    return (sys.executable, "-m", "occlum_async", "run", "--mount", mount, *program)


async def run_and_kill(path: Path, program: str, lines: int) -> int:
    """Run a Python program inside, and kill the LibOS when it has said at least so much; the last that it said.

    The disk is whole then.
    """
    command = run(path, "/usr/bin/python3", "-c", program)
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE)
    assert process.stdout is not None
    said = [int(await process.stdout.readline()) for _ in range(lines)]
    process.kill()
    rest = await process.stdout.read()  # to its end: every guest is gone
    await process.wait()
    await check_disk(path)
    return max(said + [int(line) for line in rest.split(b"\n")[:-1]])


async def check_disk(path: Path) -> None:
    """Every block verifies, and e2fsck(8) finds nothing to say about the file system."""
    boundary = open_boundary("auto", Scheduler(asyncio.get_running_loop()))
    disk = await open_disk(boundary, str(path), KEY, read_only=True)
    assert isinstance(disk, MlsDisk)
    report = await disk.check()
    assert report.whole, report.faults
    plain = path.with_suffix(".img")
    with plain.open("wb") as file:
        for start in range(0, disk.blocks, 256):
            file.write(await disk.read(start, min(256, disk.blocks - start)))
    await disk.close()
    await boundary.shutdown()
    if shutil.which("e2fsck"):
        checked = subprocess.run(["e2fsck", "-fn", str(plain)], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout


async def ask(path: Path, program: str) -> str:
    """What a Python program says that looks at the disk, in a fresh LibOS."""
    async with LibOS(mounts=[Ext2Mount("/data", path, key=KEY)]) as libos:
        process = await libos.spawn("/usr/bin/python3", "-c", program, stdout=PIPE)
        out, _ = await process.communicate()
        assert process.returncode == 0
        return (out or b"").decode()


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> int:
    """After so many the LibOS is killed; printed with a failure."""
    return random.randrange(3, 40)


@pytest.mark.parametrize("mode", ("delete", "wal"))
async def test_a_database(path: Path, mode: str, lines: int) -> None:
    last = 0
    for _ in range(2):
        last = await run_and_kill(path, DATABASE % mode, lines)
        program = (
            'import sqlite3; b = sqlite3.connect("/data/base"); print(*b.execute("pragma integrity_check").fetchone(), '
            '*b.execute("select max(n), count(*) from t").fetchone())'
        )
        whole, highest, count = (await ask(path, program)).split()
        assert whole == "ok" and highest == count and int(highest) in (last, last + 1)


async def test_files_that_are_synced_and_renamed(path: Path, lines: int) -> None:
    last = await run_and_kill(path, FILES, lines)
    program = """
import os, zlib
for name in os.listdir("/data"):
    if "-" in name:
        n, crc = map(int, name.split("-"))
        data = open("/data/" + name, "rb").read()
        assert (len(data), zlib.crc32(data)) == (n % 97 * 500, crc), name
        print(n)
"""
    found = sorted(int(line) for line in (await ask(path, program)).split())
    assert found[0] <= 1 and found == list(range(found[0], found[-1] + 1)) and found[-1] in (last, last + 1)


async def test_a_mapping_that_is_synced(path: Path, lines: int) -> None:
    last = await run_and_kill(path, MAPPED, lines)
    program = """
data = open("/data/mapped", "rb").read()
n = int.from_bytes(data[:8], "little")
assert all(int.from_bytes(data[8 + i * 8 : 16 + i * 8], "little") == i for i in range(1, n + 1)), n
print(n)
"""
    assert int(await ask(path, program)) in (last, last + 1)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
@pytest.mark.parametrize("attempt", range(5))
async def test_fio_is_killed(path: Path, attempt: int) -> None:
    job = ("--name=x", "--filename=/data/f", "--size=32m", "--rw=randwrite", "--bs=4k", "--fsync=64", "--loops=1000")
    command = run(path, "/usr/bin/fio", *job, options=",cache=16m")
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL)
    size = path.stat().st_blocks
    while path.stat().st_blocks < size + 10000 * (attempt + 1) and process.returncode is None:
        await asyncio.sleep(0.01)
    process.kill()
    await process.wait()
    await check_disk(path)
    assert 0 <= int(await ask(path, 'import os; print(os.stat("/data/f").st_size)')) <= 32 << 20
