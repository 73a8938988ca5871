"""The same operations on our ext2 and on Linux's, on two copies of one disk: the same outcomes and the same tree."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..overlay.tree import NativeTree
from .conftest import Disk, fsck, loop_mount, mke2fs, mount, run

name = st.sampled_from(["a", "b", "c" * 200, "d"])
path = st.lists(name, min_size=1, max_size=3).map(lambda names: "/" + "/".join(names))
operation = st.one_of(
    st.tuples(st.just("mkdir"), path),
    st.tuples(st.just("mkdir"), name.map(lambda n: "/" + n)),
    st.tuples(st.just("write"), path, st.integers(0, 60000).map(lambda n: b"w" * n)),
    st.tuples(st.just("append"), path, st.integers(1, 20000).map(lambda n: b"+" * n)),
    st.tuples(st.just("truncate"), path, st.integers(0, 100_000)),
    st.tuples(st.just("read"), path),
    st.tuples(st.just("unlink"), path),
    st.tuples(st.just("rmdir"), path),
    st.tuples(st.just("rename"), path, path),
    st.tuples(st.just("exchange"), path, path),
    st.tuples(st.just("link"), path, path),
    st.tuples(st.just("symlink"), st.sampled_from(["a", "t" * 60, "b/c"]), path),
    st.tuples(st.just("readlink"), path),
    st.tuples(st.just("chmod"), path, st.integers(0, 0o777)),
    st.tuples(st.just("setxattr"), path, st.sampled_from(["user.x", "user.y"]), st.integers(0, 900).map(bytes)),
    st.tuples(st.just("getxattr"), path, st.just("user.x")),
    st.tuples(st.just("listdir"), path),
)
Operations = list[tuple[Any, ...]]


def shape(root: Path) -> dict[str, tuple[Any, ...]]:
    """All files below ``root`` with what must be the same on both disks, the number of their blocks included."""
    found = {}
    for where, folders, files in os.walk(root):
        for item in folders + files:
            full = Path(where, item)
            info = os.lstat(full)
            content: Any = os.readlink(full) if stat.S_ISLNK(info.st_mode) else b""
            if stat.S_ISREG(info.st_mode):
                content = full.read_bytes()
            attributes = [] if stat.S_ISLNK(info.st_mode) else sorted(os.listxattr(full))
            links = info.st_nlink
            size = info.st_size if not stat.S_ISDIR(info.st_mode) else 0
            found[str(full.relative_to(root))] = (info.st_mode, links, size, content, attributes)
    return found


class Native(NativeTree):
    """A link's own attributes, not those of what it leads to."""

    def setxattr(self, path: bytes, name: bytes, value: bytes) -> None:
        os.setxattr(self.at(path), name, value, follow_symlinks=False)

    def getxattr(self, path: bytes, name: bytes) -> bytes:
        return os.getxattr(self.at(path), name, follow_symlinks=False)


async def ours(disk: Disk, operations: Operations) -> list[Any]:
    mounted = await mount(disk)
    results = [await mounted.tree.do(*step) for step in operations]
    await mounted.fs.unmount()
    return results


def compare(folder: Path, block_size: int, operations: Operations) -> None:
    disk = mke2fs(folder / "theirs.img", 4 << 20, "-b", str(block_size))
    with loop_mount(folder / "theirs.img", folder / "mnt") as root:
        before = os.umask(0o022)
        try:
            theirs = [Native(root).do(*step) for step in operations]
        finally:
            os.umask(before)
        tree = shape(root)
        space = os.statvfs(root)
    results = asyncio.run(ours(disk, operations))
    for step, mine, linux in zip(operations, results, theirs, strict=True):
        assert mine == linux, step
    fsck(disk, folder / "ours.img")
    with loop_mount(folder / "ours.img", folder / "mnt") as root:
        assert shape(root) == tree
        mine = os.statvfs(root)
        assert (mine.f_blocks, mine.f_ffree) == (space.f_blocks, space.f_ffree)
    run("e2fsck", "-fn", str(folder / "ours.img"))


@pytest.mark.parametrize("block_size", [1024, 4096])
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(operation, min_size=1, max_size=40))
def test_same_results_and_same_tree(block_size: int, operations: Operations) -> None:
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), block_size, operations)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(operation, min_size=20, max_size=150), st.sampled_from([1024, 2048, 4096]))
def test_same_results_and_same_tree_at_length(operations: Operations, block_size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), block_size, operations)


@pytest.mark.parametrize("block_size", [1024, 4096])
async def test_numbers_of_the_whole(tmp_path: Path, block_size: int) -> None:
    """statfs(2) and the attributes of the root are what Linux shows of the same disk."""
    disk = mke2fs(tmp_path / "image", 40 << 20, "-b", str(block_size))
    with loop_mount(tmp_path / "image", tmp_path / "mnt") as root:
        theirs, info = os.statvfs(root), os.stat(root)
    disk = Disk(disk.blocks, (tmp_path / "image").read_bytes())
    mounted = await mount(disk)
    mine = await mounted.fs.statfs()
    assert (mine.bsize, mine.blocks, mine.bfree, mine.bavail, mine.files, mine.ffree, mine.namelen) == (
        theirs.f_bsize, theirs.f_blocks, theirs.f_bfree, theirs.f_bavail, theirs.f_files, theirs.f_ffree,
        theirs.f_namemax,
    )  # fmt: skip
    attributes = await mounted.root.getattr()
    assert (attributes.mode, attributes.nlink, attributes.size, attributes.blocks, attributes.mtime) == (
        info.st_mode, info.st_nlink, info.st_size, info.st_blocks, info.st_mtime_ns,
    )  # fmt: skip
    await mounted.fs.unmount()


async def test_what_debugfs_writes(tmp_path: Path) -> None:
    """Without a loop device: debugfs(8) writes, we read; we write, debugfs reads."""
    mke2fs(tmp_path / "image", 8 << 20)
    (tmp_path / "source").write_bytes(os.urandom(300_000))
    run("debugfs", "-w", "-R", f"write {tmp_path / 'source'} copied", str(tmp_path / "image"))
    run("debugfs", "-w", "-R", "mkdir folder", str(tmp_path / "image"))
    run("debugfs", "-w", "-R", "symlink link copied", str(tmp_path / "image"))
    disk = Disk(2048, (tmp_path / "image").read_bytes())
    mounted = await mount(disk)
    copied = await mounted.do("read", "/copied")
    assert copied == (tmp_path / "source").read_bytes()[:65536]
    assert await mounted.do("readlink", "/link") == b"copied"
    await mounted.do("write", "/folder/ours", b"from inside" * 10000)
    await mounted.fs.unmount()
    fsck(disk, tmp_path / "image")
    run("debugfs", "-R", f"dump folder/ours {tmp_path / 'dumped'}", str(tmp_path / "image"))
    assert (tmp_path / "dumped").read_bytes() == b"from inside" * 10000
