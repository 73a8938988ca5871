"""A file system grows where it is, keeps what it has, and is one that e2fsck(8) and resize2fs(8) know."""

from __future__ import annotations

from pathlib import Path

import pytest

from occlum_async.fs.ext2 import grow, mkfs
from occlum_async.fs.ext2.superblock import BadSuperblock

from .conftest import Disk, fsck, mke2fs, mount, run


def enlarged(disk: Disk, blocks: int) -> Disk:
    return disk.copy(blocks)


@pytest.mark.parametrize("block_size", [1024, 4096])
@pytest.mark.parametrize("theirs", [False, True])
async def test_grown_again_and_again(tmp_path: Path, block_size: int, theirs: bool) -> None:
    """In steps that lengthen the last group, add groups, and add blocks of descriptors."""
    if theirs:
        disk = mke2fs(tmp_path / "image", 5 << 20, "-b", str(block_size))
    else:
        disk = Disk(1280)
        await mkfs(disk, block_size=block_size)
    mounted = await mount(disk)
    await mounted.do("write", "/kept", b"content" * 50_000)
    await mounted.fs.unmount()
    for mebibytes in (6, 30, 270) if block_size == 1024 else (6, 140, 300):
        disk = enlarged(disk, mebibytes * 256)
        superblock = await grow(disk)
        assert mebibytes * 1024 - superblock.blocks_count * (block_size // 1024) <= 1200
        fsck(disk, tmp_path / "image")
        mounted = await mount(disk)
        assert await mounted.do("read", "/kept") == (b"content" * 50_000)[:65536]
        await mounted.do("write", f"/new{mebibytes}", b"x" * 200_000)
        await mounted.fs.unmount()
    fsck(disk, tmp_path / "image")


async def test_resize2fs_goes_on(tmp_path: Path) -> None:
    disk = Disk(20 * 256)
    await mkfs(disk, block_size=1024)
    disk = enlarged(disk, 60 * 256)
    await grow(disk)
    disk.save(tmp_path / "image")
    run("e2fsck", "-fy", str(tmp_path / "image"))
    run("resize2fs", str(tmp_path / "image"), "90M")
    run("e2fsck", "-fn", str(tmp_path / "image"))
    grown = Disk(120 * 256, (tmp_path / "image").read_bytes())
    await grow(grown)
    fsck(grown, tmp_path / "image")


async def test_refused() -> None:
    disk = Disk(1024)
    await mkfs(disk, growable=False, block_size=1024)
    with pytest.raises(ValueError, match="fit"):
        await grow(disk, 5000)
    with pytest.raises(ValueError, match="it has"):
        await grow(disk, 2000)
    assert (await grow(disk)).blocks_count == 4096
    with pytest.raises(ValueError, match="descriptors"):
        await grow(enlarged(disk, 80 * 1024))
    mounted = await mount(disk)
    with pytest.raises(BadSuperblock, match="in use"):
        await grow(enlarged(disk, 2048))
    await mounted.fs.unmount()
    with pytest.raises(BadSuperblock):
        await grow(Disk(100))
