"""What can be mounted, what is refused and why, and what is left behind."""

from __future__ import annotations

import errno
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from occlum_async.fs.ext2 import Ext2, layout, mkfs
from occlum_async.fs.ext2.superblock import BadSuperblock

from .conftest import ROOT, Disk, failing, fsck, loop_mount, mke2fs, mount, run

REGULAR = 0o100644


def patched(disk: Disk, offset: int, form: str, value: int) -> Disk:
    """A copy of a disk with another number in its superblock."""
    content = bytearray(disk.content())
    struct.pack_into(form, content, 1024 + offset, value)
    return Disk(disk.blocks, bytes(content))


@pytest.fixture
async def small() -> Disk:
    disk = Disk(1024)
    await mkfs(disk, label="small")
    return disk


@pytest.mark.parametrize("block_size", ["1024", "2048", "4096"])
@pytest.mark.parametrize("inode_size", ["128", "256"])
async def test_what_mke2fs_makes(tmp_path: Path, block_size: str, inode_size: str) -> None:
    disk = mke2fs(tmp_path / "image", 20 << 20, "-b", block_size, "-I", inode_size)
    mounted = await mount(disk)
    for number in range(20):
        await mounted.do("mkdir", f"/d{number}")
        await mounted.do("write", f"/d{number}/f", b"x" * number * 5000)
    await mounted.fs.unmount()
    fsck(disk, tmp_path / "image")
    with loop_mount(tmp_path / "image", tmp_path / "mnt") as root:
        for number in range(20):
            assert (root / f"d{number}" / "f").read_bytes() == b"x" * number * 5000
            (root / f"d{number}" / "f").unlink()
    run("e2fsck", "-fn", str(tmp_path / "image"))


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [
        ("ext4", (), "extent"),
        ("ext4", ("-O", "^extent,^flex_bg,^64bit,^metadata_csum,mmp"), "mmp"),
        ("ext2", ("-O", "meta_bg,^resize_inode"), "meta_bg"),
        ("ext4", ("-O", "^extent,^flex_bg,^64bit,^metadata_csum,inline_data"), "inline_data"),
    ],
)
async def test_features_are_refused_by_name(tmp_path: Path, kind: str, options: tuple[str, ...], named: str) -> None:
    disk = mke2fs(tmp_path / "image", 16 << 20, *options, kind=kind)
    before = disk.content()
    with pytest.raises(BadSuperblock, match=named):
        await mount(disk)
    assert disk.content() == before


async def test_features_that_only_forbid_writing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = ("-O", "^extent,^flex_bg,^64bit,^has_journal,metadata_csum,huge_file")
    disk = mke2fs(tmp_path / "image", 16 << 20, *options, kind="ext4")
    before = disk.content()
    mounted = await mount(disk)
    assert "metadata_csum" in caplog.text
    assert not mounted.fs.writable
    assert await mounted.do("listdir", "/") == [b"lost+found"]
    assert await mounted.tree.do("mkdir", "/d") == ("error", "EROFS")
    await mounted.fs.unmount()
    assert disk.content() == before


async def test_ext3_with_an_empty_journal(tmp_path: Path) -> None:
    disk = mke2fs(tmp_path / "image", 16 << 20, kind="ext3")
    mounted = await mount(disk)
    await mounted.do("write", "/f", b"x" * 100_000)
    await mounted.fs.unmount()
    fsck(disk, tmp_path / "image")


async def test_read_only(small: Disk, tmp_path: Path) -> None:
    writing = await mount(small)
    file = await writing.root.create(b"f", REGULAR, ROOT)
    await file.write(b"content", 0)
    del file
    await writing.fs.unmount()
    before = small.content()
    mounted = await mount(small, read_only=True)
    file = await mounted.root.lookup(b"f")
    assert await file.read(10, 0) == b"content"
    file.accessed()
    for attempt in (
        file.write(b"x", 0), file.setattr(size=0), file.setattr(mode=0), file.setxattr(b"user.a", b"", 0),
        file.fallocate(0, 0, 1), mounted.root.unlink(b"f", file), mounted.root.mkdir(b"d", 0o755, ROOT),
        mounted.root.tmpfile(REGULAR, ROOT),
    ):  # fmt: skip
        with failing(errno.EROFS):
            await attempt
    await file.sync(False)
    await mounted.fs.sync()
    del file
    await mounted.fs.unmount()
    assert small.content() == before


async def test_state(small: Disk, tmp_path: Path) -> None:
    """A plain disk is marked as in use; one whose sync is atomic is always as if unmounted."""
    mounted = await mount(small)
    assert "not clean" in run("dumpe2fs", "-h", str(small.save(tmp_path / "image")))
    again = Disk(1024, small.content())
    await mounted.fs.unmount()
    assert "clean\n" in run("dumpe2fs", "-h", str(small.save(tmp_path / "image")))
    again.atomic_sync = True
    unclean = await mount(again)
    await unclean.fs.unmount()
    # What was not clean when it was mounted is not called clean afterwards.
    assert "not clean" in run("dumpe2fs", "-h", str(again.save(tmp_path / "image")))
    small.atomic_sync = True
    mounted = await mount(small)
    state = run("dumpe2fs", "-h", str(small.save(tmp_path / "image")))
    assert "clean\n" in state and "not clean" not in state
    await mounted.fs.unmount()


async def test_nothing_is_written_when_nothing_changed(small: Disk) -> None:
    mounted = await mount(small)
    before = small.content()
    await mounted.fs.sync()
    await mounted.do("listdir", "/")
    await mounted.fs.sync()
    assert small.content() == before
    await mounted.fs.unmount()


@pytest.mark.parametrize(
    ("offset", "form", "value", "named"),
    [
        (56, "<H", 0xEF54, "magic"), (24, "<I", 3, "8192"), (24, "<I", 0xFFFFFFFF, "blocks of"),
        (20, "<I", 7, "first data"),
        (32, "<I", 0, "blocks per group"), (32, "<I", 40000, "blocks per group"), (40, "<I", 0, "inodes per group"),
        (40, "<I", 0xFFFFFFFF, "inodes per group"), (0, "<I", 5, "inode count"), (4, "<I", 0, "block count"),
        (4, "<I", 0xFFFFFFFF, "inode count"), (88, "<H", 100, "inode size"), (88, "<H", 0x8000, "inode size"),
        (12, "<I", 0xFFFFFFFF, "free block"), (16, "<I", 0xFFFFFFFF, "free inode"), (8, "<I", 0xFFFFFFFF, "reserved"),
        (84, "<I", 0, "first inode"), (76, "<I", 9, "revision"), (206, "<H", 0xFFFF, "descriptors"),
    ],
)  # fmt: skip
async def test_damaged_superblocks(small: Disk, offset: int, form: str, value: int, named: str) -> None:
    with pytest.raises(BadSuperblock, match=named):
        await mount(patched(small, offset, form, value))


async def test_a_device_that_is_too_small(small: Disk) -> None:
    with pytest.raises(BadSuperblock, match="its device"):
        await mount(Disk(1000, small.content()[: 1000 * 4096]))
    with pytest.raises(BadSuperblock, match="too small"):
        await mount(Disk(1))
    with pytest.raises(BadSuperblock, match="no ext2"):
        await mount(Disk(100))


async def test_errors_make_it_read_only_if_it_says_so(small: Disk, tmp_path: Path) -> None:
    for errors, writable in ((1, True), (2, False)):
        disk = patched(small, 60, "<H", errors)
        mounted = await mount(disk)
        file = await mounted.root.create(b"f", REGULAR, ROOT)
        file.pointers[0] = 3  # a bitmap's block
        file.size = 4096
        file.data.memory.resize(4096)
        with failing(errno.EIO):
            await file.read(1, 0)
        assert mounted.fs.writable is writable
        assert mounted.fs.superblock.state & layout.STATE_ERROR


async def test_commits_come_by_themselves(small: Disk) -> None:
    """Without anybody asking, in the end."""
    import asyncio

    synced = asyncio.Event()
    mounted = await mount(small, commit_interval=0.01)

    async def sync() -> None:
        synced.set()

    small.sync = sync  # type: ignore[method-assign]
    await mounted.root.mkdir(b"d", 0o755, ROOT)
    await asyncio.wait_for(synced.wait(), 20)
    await mounted.fs.unmount()
    again: Ext2 = (await mount(small)).fs
    assert (await again.root.lookup(b"d")).is_dir
    await again.unmount()


async def test_many_changes_between_commits(disks: Callable[..., Any]) -> None:
    """More changed inodes and blocks than are kept in memory."""
    chance = random.Random(1)
    mounted = await disks(64, 1024, bytes_per_inode=2048)
    for number in range(2500):
        folder = await mounted.root.mkdir(b"%d" % number, 0o755, ROOT)
        if chance.random() < 0.3:
            await folder.create(b"f", REGULAR, ROOT)
        assert len(mounted.fs.table.dirty) <= 1100
        assert len(mounted.fs.buffers.dirty) <= 2200
