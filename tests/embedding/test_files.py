"""``LibOS.fs``: the LibOS's files from outside, with the authority of its root."""

from __future__ import annotations

import stat
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from occlum_async.libos import Bind, LibOS

from .conftest import Run


def test_every_method(run: Run) -> None:
    async def main() -> None:
        async with LibOS() as libos:
            fs = libos.fs
            assert await fs.write_bytes("/tmp/x", b"bytes\0") == 6
            assert await fs.read_bytes("/tmp/x") == b"bytes\0"
            await fs.write_text("/tmp/t", "täxt")
            assert await fs.read_text("/tmp/t") == "täxt"
            assert sorted(await fs.listdir("/tmp")) == ["t", "x"]
            await fs.mkdir("/tmp/a/b/c", parents=True)
            await fs.mkdir("/tmp/a", exist_ok=True)
            with pytest.raises(FileExistsError):
                await fs.mkdir("/tmp/a")
            await fs.rename("/tmp/x", "/tmp/a/y")
            await fs.symlink("/tmp/link", "a/y")
            assert await fs.readlink("/tmp/link") == "a/y"
            await fs.chmod("/tmp/a/y", 0o640)
            status = await fs.stat("/tmp/link")
            assert stat.S_IMODE(status.mode) == 0o640 and status.size == 6
            assert stat.S_ISLNK((await fs.stat("/tmp/link", follow=False)).mode)
            await fs.remove("/tmp/a/y")
            assert not await fs.exists("/tmp/link")
            with pytest.raises(OSError, match="not empty"):
                await fs.rmdir("/tmp/a")
            await fs.rmdir("/tmp/a/b/c")
            await fs.rmtree("/tmp/a")
            with pytest.raises(FileNotFoundError):
                await fs.read_bytes("/tmp/a")
            with pytest.raises(IsADirectoryError):
                await fs.write_bytes("/tmp", b"")

    run(main())


def test_programs_and_the_embedder_see_the_same(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with LibOS(binds=[Bind(str(tmp_path), "/data")], tmpfs={"/scratch": 1 << 20}) as libos:
            await libos.fs.write_text("/data/in", "content")
            process = await libos.spawn("sh", "-c", "cat /data/in; echo made > /scratch/out; chmod 700 /scratch/out",
                                        stdout=PIPE)  # fmt: skip
            assert await process.communicate() == (b"content", None)
            assert (tmp_path / "in").read_text() == "content"
            assert await libos.fs.read_text("/scratch/out") == "made\n"
            with pytest.raises(OSError, match="No space"):
                await libos.fs.write_bytes("/scratch/big", bytes(2 << 20))
            big = bytes(range(256)) * 20_000
            await libos.fs.write_bytes("/tmp/big", big)
            assert await libos.fs.read_bytes("/tmp/big") == big

    run(main())
