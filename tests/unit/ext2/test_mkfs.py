"""What we make is what mke2fs(8) makes, and Linux takes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from occlum_async.fs.ext2 import mkfs

from .conftest import BLOCK_SIZES, Disk, fsck, loop_mount, run


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
@pytest.mark.parametrize("mebibytes", [1, 5, 40, 130])
async def test_clean(tmp_path: Path, block_size: int, mebibytes: int) -> None:
    disk = Disk(mebibytes * 256)
    await mkfs(disk, block_size=block_size)
    fsck(disk, tmp_path / "image")


@pytest.mark.parametrize("inode_size", [128, 256, 512])
async def test_inode_sizes(tmp_path: Path, inode_size: int) -> None:
    disk = Disk(2048)
    await mkfs(disk, inode_size=inode_size)
    fsck(disk, tmp_path / "image")
    assert f"Inode size:\t          {inode_size}" in run("dumpe2fs", "-h", str(tmp_path / "image"))


async def test_every_count_of_blocks(tmp_path: Path) -> None:
    """Also where the last group is too small to be one."""
    for blocks in (8193 + extra for extra in (0, 1, 50, 200, 330, 400, 8191, 8192, 8193)):
        disk = Disk(8192)
        await mkfs(disk, blocks=blocks, block_size=1024)
        fsck(disk, tmp_path / "image")


async def test_like_mke2fs(tmp_path: Path) -> None:
    """The numbers that dumpe2fs(8) shows are those of mke2fs(8), but for what only it makes."""
    disk = Disk(64 * 256)
    await mkfs(disk, label="data", uuid=bytes(range(16)))
    with (tmp_path / "theirs").open("wb") as image:
        image.truncate(64 << 20)
    run("mke2fs", "-q", "-t", "ext2", "-b", "4096", "-i", "4096", "-L", "data", str(tmp_path / "theirs"))
    different = ("UUID", "Hash Seed", "created", "time", "Last checked", "Lifetime", "Default mount", "Overhead")

    def shown(path: Path) -> list[str]:
        lines = run("dumpe2fs", "-h", str(path)).splitlines()
        return [line for line in lines if not any(word in line for word in different)]

    assert shown(disk.save(tmp_path / "ours")) == shown(tmp_path / "theirs")
    assert "00010203-0405-0607-0809-0a0b0c0d0e0f" in run("dumpe2fs", "-h", str(tmp_path / "ours"))


async def test_old_content_is_gone(tmp_path: Path) -> None:
    disk = Disk(1024, os.urandom(4 << 20))
    await mkfs(disk)
    fsck(disk, tmp_path / "image")


async def test_linux_mounts_it(tmp_path: Path) -> None:
    disk = Disk(4096)
    await mkfs(disk)
    with loop_mount(disk.save(tmp_path / "image"), tmp_path / "mnt") as root:
        assert os.listdir(root) == ["lost+found"]
        (root / "file").write_bytes(b"x" * 100000)
    run("e2fsck", "-fn", str(tmp_path / "image"))


@pytest.mark.parametrize(
    "options",
    [
        {"block_size": 8192}, {"block_size": 0}, {"inode_size": 100}, {"reserved_percent": 60}, {"label": "x" * 17},
        {"uuid": b"x"}, {"blocks": 10**9}, {"blocks": 0}, {"blocks": 10}, {"bytes_per_inode": 1},
    ],
)  # fmt: skip
async def test_refused(options: dict[str, object]) -> None:
    disk = Disk(1024)
    with pytest.raises(ValueError):
        await mkfs(disk, **options)  # type: ignore[arg-type]
    assert disk.content() == bytes(4 << 20)
