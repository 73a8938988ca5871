"""Programs that can't be run: a clear line and the right exit status for people, Linux's errno for programs."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest

from occlum_async.libos import Bind, LibOS

ROOT = Path(__file__).parents[2]
EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
PT_LOAD, PT_INTERP = 1, 3
BASE = 0x400000


def elf(
    *segments: bytes, machine: int = 62, kind: int = 2, entry: int = BASE, magic: bytes = b"\x7fELF\2\1\1",
    phnum: int = -1, phentsize: int = PHDR.size, phoff: int = EHDR.size, body: bytes = b"",
) -> bytes:  # fmt: skip
    """An ELF file of these program headers."""
    count = len(segments) if phnum < 0 else phnum
    header = EHDR.pack(
        magic.ljust(16, b"\0"), kind, machine, 1, entry, phoff, 0, 0, EHDR.size, phentsize, count, 0, 0, 0
    )
    return header + b"".join(segments) + body


def load(
    offset: int = 0, address: int = BASE, file_size: int = 4096, memory_size: int = 4096, flags: int = 5,
    align: int = 4096,
) -> bytes:  # fmt: skip
    """A PT_LOAD program header."""
    return PHDR.pack(PT_LOAD, flags, offset, address, address, file_size, memory_size, align)


def interp(offset: int, size: int) -> bytes:
    """A PT_INTERP program header."""
    return PHDR.pack(PT_INTERP, 4, offset, 0, 0, size, size, 1)


CODE = bytes(4096)
AFTER_ONE = EHDR.size + PHDR.size
AFTER_TWO = EHDR.size + 2 * PHDR.size
HUGE = 1 << 62

BROKEN = {
    "empty": b"",
    "text": b"no program\n",
    "truncated-magic": b"\x7fE",
    "truncated-header": elf(load())[:40],
    "truncated-segments": elf(load())[: EHDR.size + 20],
    "wrong-machine": elf(load(), machine=183, body=CODE),
    "32-bit": elf(load(), magic=b"\x7fELF\1\1\1", body=CODE),
    "big-endian": elf(load(), magic=b"\x7fELF\2\2\1", body=CODE),
    "relocatable": elf(load(), kind=1, body=CODE),
    "no-segments": elf(phnum=0, body=CODE),
    "many-segments": elf(load(), phnum=65535, body=CODE),
    "entry-size": elf(load(), phentsize=7, body=CODE),
    "header-far-away": elf(load(), phoff=HUGE, body=CODE),
    "segment-far-away": elf(load(offset=HUGE), body=CODE),
    "huge-segment": elf(load(memory_size=HUGE), body=CODE),
    "segment-above": elf(load(address=0xFFFF_8000_0000_0000), body=CODE),
    "segment-over-the-shim": elf(load(address=0x6F00_0000_0000), body=CODE),
    "segment-at-the-top": elf(load(address=0x7FFF_FFFF_F000, memory_size=0x10000), body=CODE),
    "unaligned": elf(load(offset=1), body=CODE),
    "file-size-above": elf(load(file_size=8192, memory_size=4096), body=CODE),
    "overlapping-backwards": elf(load(address=BASE + 8192), load(), body=CODE),
    "odd-alignment": elf(load(align=12345), kind=3, body=CODE),
    "huge-alignment": elf(load(address=0, align=HUGE), kind=3, body=CODE),
    "interpreter-missing": elf(load(), interp(AFTER_TWO, 9), body=b"/no/such\0" + CODE),
    "interpreter-endless": elf(load(), interp(AFTER_TWO, 4096), body=CODE[:-1] + b"x"),
    "interpreter-empty": elf(load(), interp(AFTER_TWO, 0), body=CODE),
    "interpreter-far-away": elf(load(), interp(HUGE, 9), body=CODE),
    "interpreter-huge": elf(load(), interp(AFTER_TWO, HUGE), body=CODE),
    "interpreter-is-text": elf(load(), interp(AFTER_TWO, 9), body=b"/bad/text\0" + CODE),
    "script-without-interpreter": b"#!\n",
    "script-missing-interpreter": b"#!/no/such\n",
    "script-of-itself": b"#!/bad/script-of-itself\n",
    "script-endless": b"#!/" + b"x" * 5000,
    "script-binary": b"#!\0\0\0\0",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    for name, data in BROKEN.items():
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o755)
    (folder / "not-executable").write_bytes(b"#!/bin/sh\n")
    (folder / "folder").mkdir()
    (folder / "dangling").symlink_to("nowhere")
    (folder / "circle").symlink_to("circle")
    folder.chmod(0o755)
    return folder


def run(folder: Path, *words: str, user: str = "1000:1000") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "occlum_async", "run", "-u", user, "-v", f"{folder}:/bad:ro", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "name, status",
    [("missing", 127), ("missing/below", 127), ("text/below", 127), ("dangling", 127), ("folder", 126),
     ("not-executable", 126), ("circle", 126), ("wrong-machine", 126), ("truncated-header", 126), ("empty", 126),
     ("interpreter-missing", 127), ("script-missing-interpreter", 127), ("huge-segment", 126)],
)  # fmt: skip
def test_one_line_and_the_shells_status(folder: Path, name: str, status: int) -> None:
    done = run(folder, f"/bad/{name}")
    assert done.returncode == status, done
    assert done.stdout == ""
    lines = done.stderr.rstrip("\n").split("\n")
    assert len(lines) == 1 and f"/bad/{name}" in lines[0], done.stderr


def test_a_name_that_is_nowhere_in_path(folder: Path) -> None:
    done = run(folder, "no-such-program")
    assert done.returncode == 127
    assert "no-such-program" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("--no-such-option", "true"), ("--memory", "much", "true"), ("--pids", "0", "true"),
                                   ("--rootfs", "/no/such/folder", "true"), ("--workdir", "/no/such", "true"),
                                   ("-v", "/no/such:/x", "true"), ("--user", "nobody-at-all", "true")])  # fmt: skip
def test_wrong_options(folder: Path, words: tuple[str, ...]) -> None:
    done = run(folder, *words)
    assert done.returncode == 125 or done.returncode == 2, done
    assert done.stderr and "Traceback" not in done.stderr


EXEC_ALL = """
import errno, os, sys
for name in sorted(os.listdir(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        try:
            os.execv(f"{sys.argv[1]}/{name}", ["x"])
        except OSError as error:
            print(name, errno.errorcode[error.errno], flush=True)
        except BaseException as error:
            print(name, error, flush=True)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if status:
        print(name, "ended", status, flush=True)
"""


async def test_execve_fails_as_on_linux(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "exec_all.py"
    script.write_text(EXEC_ALL)
    # Inside, the files of whoever runs the tests are root's.
    for place in (folder, tmp_path):
        place.chmod(0o755)
    # Linux must see the same paths: interpreters are named absolutely, and none of them exists outside.
    native = subprocess.run(["/usr/bin/python3", str(script), str(folder)], capture_output=True, text=True, timeout=60)
    async with LibOS(binds=[Bind(str(folder), str(folder), True), Bind(str(tmp_path), "/script", True)],
                     user=f"{os.getuid()}:{os.getgid()}") as libos:  # fmt: skip
        process = await libos.spawn(
            "/usr/bin/python3", "/script/exec_all.py", str(folder), stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert libos.stats()["oopses"] == 0
    expected = dict(line.split(" ", 1) for line in native.stdout.splitlines())
    found = dict(line.split(" ", 1) for line in (output or b"").decode().splitlines())
    # What Linux notices too late to refuse, and kills, may be refused here.
    refused = {name for name, what in found.items() if what in ("ENOEXEC", "ENOMEM")}
    late = {name for name in refused if expected[name].startswith("ended")}
    assert found | {name: expected[name] for name in late} == expected
