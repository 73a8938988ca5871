"""What of the overlay can't be seen by comparing outcomes: numbers, listings, limits, concurrency."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.namei import resolve
from occlum_async.fs.names import RENAME_WHITEOUT, rename
from occlum_async.fs.opening import open_path
from occlum_async.fs.overlay import OverlayFs

from .tree import InsideTree, forget_names

Make = Callable[..., Awaitable[InsideTree]]


def fs_of(tree: InsideTree) -> OverlayFs:
    fs = tree.fs.root.mount.fs
    assert isinstance(fs, OverlayFs)
    return fs


async def stat_of(tree: InsideTree, path: bytes) -> tuple[int, int]:
    answer = await (await resolve(tree, path, None, 0)).inode.getattr()
    return answer.dev, answer.ino


@pytest.mark.parametrize("path", [b"/file", b"/dir", b"/dir/sub/deep", b"/link"])
async def test_identity_survives_copy_up(tree: InsideTree, path: bytes) -> None:
    before = await stat_of(tree, path)
    inode = (await resolve(tree, path, None, 0)).inode
    await inode.setattr(mtime=5)
    assert await stat_of(tree, path) == before
    del inode
    forget_names()
    assert await stat_of(tree, path) == before


async def test_listing_shows_the_numbers_of_stat(tree: InsideTree) -> None:
    await tree.append(b"/file", b"x")
    await tree.write(b"/new", b"x")
    await tree.mkdir(b"/pure")
    await tree.rename(b"/dir/a", b"/pure/a")
    await tree.mkdir(b"/pure/d")
    for path in (b"/", b"/pure/"):
        for entry in await (await resolve(tree, path)).inode.readdir(0):
            _, ino = await stat_of(tree, path + entry.name)
            assert entry.ino == ino, entry.name


async def test_chmod_of_a_directory_copies_no_children(tree: InsideTree) -> None:
    await tree.chmod(b"/dir", 0o700)
    upper = fs_of(tree).upper.root
    assert [entry.name for entry in await upper.readdir(0)] == [b"dir"]
    assert await (await upper.lookup(b"dir")).readdir(0) == []


async def test_copy_up_leaves_the_times_of_the_parent(tree: InsideTree) -> None:
    before = (await (await resolve(tree, b"/dir")).inode.getattr()).mtime
    await tree.chmod(b"/dir/a", 0o600)
    assert (await (await resolve(tree, b"/dir")).inode.getattr()).mtime == before


async def test_truncating_open_copies_no_data(make_overlay: Make, lower: Path) -> None:
    (lower / "big").write_bytes(bytes(1 << 20))
    tree = await make_overlay(lower, size=64 << 10)
    assert await tree.do("write", b"/big", b"small") == ("ok", 5)
    assert await tree.read(b"/big") == b"small"


async def test_copy_up_without_space_changes_nothing(make_overlay: Make, lower: Path) -> None:
    (lower / "big").write_bytes(os.urandom(1 << 20))
    tree = await make_overlay(lower, size=64 << 10)
    assert await tree.do("append", b"/big", b"x") == ("error", "ENOSPC")
    assert await tree.do("stat", b"/big") == ("ok", ("-rw-r--r--", 1, 1 << 20))
    # The space of the failed copy is free again.
    assert await tree.do("write", b"/small", bytes(32 << 10)) == ("ok", 32 << 10)
    assert (lower / "big").stat().st_size == 1 << 20


async def test_holes_stay_holes(make_overlay: Make, lower: Path) -> None:
    with (lower / "sparse").open("wb") as file:
        file.seek(8 << 20)
        file.write(b"end")
    tree = await make_overlay(lower, size=1 << 20)
    assert await tree.do("append", b"/sparse", b"!") == ("ok", 1)
    inode = (await resolve(tree, b"/sparse")).inode
    assert await inode.read(8, 8 << 20) == b"end!"


async def test_open_file_follows_the_copy(tree: InsideTree) -> None:
    """As Linux since 4.19: only memory mappings keep showing the lower file."""
    reader = (await open_path(tree, b"/file", os.O_RDONLY)).acquire()
    fd, close = reader.mapping(shared=True, writable=False)
    await tree.append(b"/file", b"+")
    assert await reader.pread(100, 0) == b"lower file+"
    assert os.pread(fd, 100, 0) == b"lower file"
    assert close
    os.close(fd)
    reader.release()


async def test_mapping_after_copy_up_is_writable(tree: InsideTree, lower: Path) -> None:
    file = (await open_path(tree, b"/file", os.O_RDWR)).acquire()
    fd, close = file.mapping(shared=True, writable=True)
    os.pwrite(fd, b"UPPER", 0)
    assert await file.pread(10, 0) == b"UPPER file"
    assert (lower / "file").read_bytes() == b"lower file"
    if close:
        os.close(fd)
    file.release()


async def test_concurrent_copy_ups_make_one_copy(make_overlay: Make, lower: Path) -> None:
    (lower / "shared").write_bytes(bytes(3 << 20))
    tree = await make_overlay(lower)

    async def append(byte: bytes) -> None:
        await tree.append(b"/shared", byte)

    await asyncio.gather(*(append(b"%d" % number) for number in range(8)))
    data = await (await resolve(tree, b"/shared")).inode.read(8 << 20, 3 << 20)
    assert sorted(data) == sorted(b"01234567")


async def test_whiteouts_are_not_for_others_to_leave(tree: InsideTree) -> None:
    """As Linux's overlayfs; and it is refused before anything has moved."""
    with pytest.raises(SyscallError) as refused:
        await rename(tree, b"/file", b"/moved", flags=RENAME_WHITEOUT)
    assert refused.value.errno == errno.EINVAL
    assert await tree.do("stat", b"/moved") == ("error", "ENOENT")
    assert (await tree.do("stat", b"/file"))[0] == "ok"


async def test_unlinked_lower_file_stays_readable(tree: InsideTree) -> None:
    reader = (await open_path(tree, b"/file", os.O_RDONLY)).acquire()
    await tree.unlink(b"/file")
    assert await reader.pread(100, 0) == b"lower file"
    assert (await reader.stat()).nlink == 0
    await reader.inode.setattr(mode=0o600)  # copied up, to nowhere
    assert await tree.do("stat", b"/file") == ("error", "ENOENT")
    reader.release()


async def test_listing_survives_changes(make_overlay: Make, tmp_path: Path) -> None:
    lower = tmp_path / "many"
    lower.mkdir()
    for number in range(1500):
        (lower / f"{number:04}").touch()
    tree = await make_overlay(lower)
    root = (await resolve(tree, b"/")).inode
    names: list[bytes] = []
    cookie = 0
    step = 0
    while entries := await root.readdir(cookie):
        cookie = entries[-1].cookie
        names += [entry.name for entry in entries]
        if step == 3:
            continue
        await tree.write(b"/new%d" % step, b"")
        await tree.append(b"/%04d" % step, b"copied")
        await tree.unlink(b"/%04d" % (1499 - step))
        step += 1
    assert len(names) == len(set(names))
    stayed = {b"%04d" % number for number in range(1500 - step)}
    assert step == 3 and stayed <= set(names)


async def test_many_layers(make_overlay: Make, tmp_path: Path) -> None:
    layers = [tmp_path / name for name in ("top", "middle", "bottom")]
    for layer in layers:
        (layer / "d").mkdir(parents=True)
        (layer / "d" / layer.name).write_text(layer.name)
        (layer / "d" / "same").write_text(layer.name)
    (layers[1] / "d" / "file-or-directory").write_text("file")
    (layers[2] / "d" / "file-or-directory").mkdir()
    (layers[2] / "d" / "file-or-directory" / "hidden").touch()
    tree = await make_overlay(*layers)
    assert await tree.listdir(b"/d") == [b"bottom", b"file-or-directory", b"middle", b"same", b"top"]
    assert await tree.read(b"/d/same") == b"top"
    assert await tree.read(b"/d/file-or-directory") == b"file"
    await tree.unlink(b"/d/same")
    assert await tree.do("read", b"/d/same") == ("error", "ENOENT")


async def test_nobody_can_make_a_whiteout(tree: InsideTree) -> None:
    with pytest.raises(SyscallError) as caught:
        await (await resolve(tree, b"/")).inode.create(b"w", stat.S_IFCHR | 0o600, Credentials(), 0)
    assert caught.value.errno == errno.EPERM


async def test_own_attributes_are_hidden(tree: InsideTree) -> None:
    for path in (b"/dir/sub/deep", b"/dir/a", b"/dir/b"):
        await tree.unlink(path)
    await tree.rmdir(b"/dir/sub")
    await tree.mkdir(b"/dir/sub")
    directory = (await resolve(tree, b"/dir/sub")).inode
    assert await directory.listxattr() == []
    with pytest.raises(SyscallError):
        await directory.getxattr(b"trusted.overlay.opaque")
    with pytest.raises(SyscallError):
        await directory.setxattr(b"trusted.overlay.opaque", b"n", 0)


async def test_attributes_are_copied(tree: InsideTree, lower: Path) -> None:
    try:
        os.setxattr(lower / "file", "user.note", b"kept")
    except OSError:
        pytest.skip("the host's file system has no extended attributes")
    os.utime(lower / "file", ns=(10**18, 10**18 + 7))
    await tree.chmod(b"/file", 0o640)
    inode = (await resolve(tree, b"/file")).inode
    assert await inode.getxattr(b"user.note") == b"kept"
    answer = await inode.getattr()
    assert (answer.mtime, answer.mode & 0o7777) == (10**18 + 7, 0o640)


async def test_lower_layers_never_change(tree: InsideTree, lower: Path) -> None:
    def content() -> dict[str, object]:
        return {str(path): path.lstat().st_mtime_ns for path in sorted(lower.rglob("*"))}

    before = content()
    for step in [
        ("append", b"/file", b"x"), ("unlink", b"/dir/a"), ("rename", b"/dir/b", b"/b"), ("chmod", b"/dir", 0o700),
        ("link", b"/one", b"/three"), ("truncate", b"/two", 0), ("mkdir", b"/dir/x"),
    ]:  # fmt: skip
        assert (await tree.do(*step))[0] == "ok", step
    assert content() == before
