"""Names: making, finding, moving, listing them, in small and in large directories."""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from occlum_async.abi.stat import makedev
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.ext2 import layout

from .conftest import BLOCK_SIZES, ROOT, Disk, failing, fsck, loop_mount, mke2fs, mount, remounted, run

REGULAR = 0o100644


async def names_of(directory: Any) -> list[bytes]:
    found: list[bytes] = []
    cookie = 0
    while entries := await directory.readdir(cookie):
        assert all(entry.cookie > cookie for entry in entries)
        cookie = entries[-1].cookie
        found += [entry.name for entry in entries]
    return found


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
async def test_many_names(tmp_path: Path, disks: Callable[..., Any], block_size: int) -> None:
    """Of every length, in random order, with half of them removed and others in their places."""
    chance = random.Random(block_size)
    mounted = await disks(16, block_size)
    folder = await mounted.root.mkdir(b"d", 0o755, ROOT)
    names = {b"%d" % number + b"x" * chance.randrange(245) for number in range(600)}
    for name in names:
        await folder.create(name, REGULAR, ROOT)
    for name in chance.sample(sorted(names), 300):
        await folder.unlink(name, await folder.lookup(name))
        names.discard(name)
    size = folder.size
    for number in range(250):
        name = b"new%d" % number + b"y" * chance.randrange(100)
        await folder.create(name, REGULAR, ROOT)
        names.add(name)
    assert folder.size == size  # there was room
    assert sorted(await names_of(folder)) == sorted(names)
    for name in chance.sample(sorted(names), 50):
        with failing(errno.EEXIST):
            await folder.create(name, REGULAR, ROOT)
        assert (await folder.lookup(name)).is_regular
        with failing(errno.ENOENT):
            await folder.lookup(name + b"!")
    del folder
    again = await remounted(mounted, tmp_path / "image")
    folder = await again.root.lookup(b"d")
    assert sorted(await names_of(folder)) == sorted(names)
    for name in names:
        await folder.unlink(name, await folder.lookup(name))
    await again.root.rmdir(b"d", folder)
    del folder
    await again.fs.unmount()
    fsck(mounted.fs.block_device, tmp_path / "image")


@pytest.mark.parametrize("limit", (100, 1000, 1 << 18))
async def test_the_map_of_names_says_what_the_blocks_say(disks: Callable[..., Any], limit: int) -> None:
    """Two large directories change at random, and share a map that is too small for both, for one, or for none."""
    chance = random.Random(limit)
    mounted = await disks(16, 1024)
    mounted.fs.name_maps.limit = limit
    folders = [await mounted.root.mkdir(b"%d" % number, 0o755, ROOT) for number in range(2)]
    file = await mounted.root.create(b"file", REGULAR, ROOT)
    names: list[set[bytes]] = [set(), set()]
    for _ in range(6000):
        which, name = chance.randrange(2), b"%d" % chance.randrange(1500) + b"x" * chance.randrange(3)
        folder, there = folders[which], names[which]
        what = chance.random()
        if name not in there:
            with failing(errno.ENOENT):
                await folder.lookup(name)
            if what < 0.8:
                await folder.link(name, file)
                there.add(name)
            continue
        assert await folder.lookup(name) is file
        if what < 0.3:
            await folder.unlink(name, file)
            there.discard(name)
        elif what < 0.5 and name not in names[1 - which]:
            await folder.rename(name, file, folders[1 - which], name, None)
            there.discard(name)
            names[1 - which].add(name)
        elif what < 0.51:
            folders[which] = folder = None  # and its map
            folders[which] = await mounted.root.lookup(b"%d" % which)
    for folder, there in zip(folders, names, strict=True):
        assert folder.size >= 8 * 1024
        assert sorted(await names_of(folder)) == sorted(there)
    maps = mounted.fs.name_maps
    assert maps.used == sum(len(one.places) for one in maps.members) <= limit
    assert maps.used > 1000 or limit < 2000


async def test_a_name_that_is_there_twice(tmp_path: Path) -> None:
    """On a damaged disk: each of them is found and can be removed."""
    mounted = await mount(mke2fs(tmp_path / "image", 8 << 20, "-b", "1024"))
    folder = await mounted.root.mkdir(b"d", 0o755, ROOT)
    file = await mounted.root.create(b"file", REGULAR, ROOT)
    for number in range(1000):
        await folder.link(b"name-%04d" % number, file)
    for number in (3, 700):
        buffer = (await folder.find_entry(b"name-%04d" % number)).buffer
        at = buffer.data.index(b"name-%04d" % number)
        buffer.data[at : at + 9] = b"the-other"
    await mounted.fs.unmount()
    mounted = await mount(mounted.fs.block_device)
    folder, file = await mounted.root.lookup(b"d"), await mounted.root.lookup(b"file")
    for number in range(1000):
        if number not in (3, 700):
            assert await folder.lookup(b"name-%04d" % number) is file
    for _ in range(2):
        await folder.unlink(b"the-other", await folder.lookup(b"the-other"))
    with failing(errno.ENOENT):
        await folder.lookup(b"the-other")


async def test_names_inside_of_names(disks: Callable[..., Any]) -> None:
    """A name is not found where its bytes are a part of another one, or of what was removed."""
    mounted = await disks(8)
    folder = mounted.root
    tricky = b"a\x01bc\x0c\0".replace(b"\0", b"z")
    for name in (b"abcabc", b"xabc", tricky, b"\x03\x01abc"):
        await folder.create(name, REGULAR, ROOT)
    for name in (b"abc", b"bc", b"a", b"c", b"x", b"b"):
        with failing(errno.ENOENT):
            await folder.lookup(name)
    await folder.create(b"abc", REGULAR, ROOT)
    await folder.unlink(b"abc", await folder.lookup(b"abc"))
    with failing(errno.ENOENT):
        await folder.lookup(b"abc")


async def test_a_listing_goes_on_while_names_change(disks: Callable[..., Any]) -> None:
    """What exists all the time is listed once, whatever comes and goes meanwhile."""
    chance = random.Random(7)
    mounted = await disks(16, 1024)
    folder = await mounted.root.mkdir(b"d", 0o755, ROOT)
    stable = {b"stable%d" % number for number in range(300)}
    for name in sorted(stable):
        await folder.create(name, REGULAR, ROOT)
        await folder.create(b"temporary" + name, REGULAR, ROOT)
    seen: list[bytes] = []
    cookie = 0
    while entries := await folder.readdir(cookie):
        part = chance.randrange(1, len(entries) + 1)
        seen += [entry.name for entry in entries[:part]]
        cookie = entries[part - 1].cookie
        for _ in range(5):
            name = b"temporarystable%d" % chance.randrange(300)
            if name in await names_of(folder):
                await folder.unlink(name, await folder.lookup(name))
                await folder.create(name + b"n" * chance.randrange(60), REGULAR, ROOT)
    assert sorted(name for name in seen if name in stable) == sorted(stable)


async def test_kinds(tmp_path: Path, disks: Callable[..., Any]) -> None:
    """Every kind of file is what Linux says it is."""
    mounted = await disks(8)
    root = mounted.root
    await root.create(b"old", 0o020640, ROOT, makedev(5, 255))
    await root.create(b"new", 0o060600, ROOT, makedev(300, 70000))
    await root.create(b"fifo", 0o010600, ROOT)
    await root.create(b"socket", 0o140755, ROOT)
    await root.symlink(b"short", b"x" * 59, ROOT)
    await root.symlink(b"long", b"y" * 60, ROOT)
    await root.symlink(b"longest", b"z" * 4095, ROOT)
    await root.create(b"owned", REGULAR, Credentials.of(100_000, 200_000))
    with failing(errno.ENAMETOOLONG):
        await root.symlink(b"no", b"z" * 4096, ROOT)
    await mounted.fs.sync()
    with loop_mount(mounted.fs.block_device.save(tmp_path / "image"), tmp_path / "mnt", "loop,ro") as where:
        shown = {name: os.lstat(where / name) for name in os.listdir(where)}
        assert stat.filemode(shown["old"].st_mode) == "crw-r-----"
        assert (os.major(shown["old"].st_rdev), os.minor(shown["old"].st_rdev)) == (5, 255)
        assert (os.major(shown["new"].st_rdev), os.minor(shown["new"].st_rdev)) == (300, 70000)
        assert stat.S_ISFIFO(shown["fifo"].st_mode) and stat.S_ISSOCK(shown["socket"].st_mode)
        assert [os.readlink(where / name) for name in ("short", "long", "longest")] == ["x" * 59, "y" * 60, "z" * 4095]
        assert shown["short"].st_blocks == 0 and shown["long"].st_blocks == 8
        assert (shown["owned"].st_uid, shown["owned"].st_gid) == (100_000, 200_000)
        for name, info in shown.items():
            mine = await (await root.lookup(name.encode())).getattr()
            assert (info.st_mode, info.st_nlink, info.st_size, info.st_blocks, info.st_ino, info.st_mtime_ns) == (
                mine.mode, mine.nlink, mine.size, mine.blocks, mine.ino, mine.mtime,
            ), name  # fmt: skip
    again = await remounted(mounted, tmp_path / "image")
    assert (await again.root.lookup(b"new")).rdev == makedev(300, 70000)
    assert await (await again.root.lookup(b"longest")).readlink() == b"z" * 4095
    await again.fs.unmount()


async def test_renames(tmp_path: Path, disks: Callable[..., Any]) -> None:
    mounted = await disks(8)
    do = mounted.do
    for path in ("/a", "/b", "/a/sub"):
        await do("mkdir", path)
    await do("write", "/a/sub/f", b"1")
    await do("rename", "/a/sub", "/b/moved")
    await do("write", "/b/g", b"2")
    await do("exchange", "/b/moved", "/b/g")
    assert await do("read", "/b/moved") == b"2"
    assert await do("read", "/b/g/f") == b"1"
    await do("exchange", "/b/g", "/a")
    assert await do("listdir", "/b/g") == []
    assert await do("listdir", "/a") == [b"f"]
    await do("mkdir", "/c")
    await do("rename", "/c", "/b/g")
    assert await mounted.tree.do("rename", "/b", "/a") == ("error", "ENOTEMPTY")
    await do("rename", "/b/moved", "/a/f")
    assert await do("read", "/a/f") == b"2"
    fsck_after = await remounted(mounted, tmp_path / "image")
    assert fsck_after.root.nlink == 2 + 3  # lost+found, a, b
    await fsck_after.fs.unmount()


async def test_link_limit(disks: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "LINK_MAX", 5)
    mounted = await disks(8)
    do, root = mounted.do, mounted.root
    await do("write", "/f", b"")
    for number in range(4):
        await do("link", "/f", f"/l{number}")
    assert await mounted.tree.do("link", "/f", "/l4") == ("error", "EMLINK")
    for number in range(2):
        await do("mkdir", f"/d{number}")
    assert root.nlink == 5
    assert await mounted.tree.do("mkdir", "/d2") == ("error", "EMLINK")
    await do("mkdir", "/d0/sub")
    assert await mounted.tree.do("rename", "/d0/sub", "/sub") == ("error", "EMLINK")
    assert await mounted.tree.do("exchange", "/d0/sub", "/f") == ("error", "EMLINK")


async def test_no_inode_left(disks: Callable[..., Any]) -> None:
    mounted = await disks(1, bytes_per_inode=32768)
    left = mounted.fs.table.free
    for number in range(left):
        await mounted.root.create(b"f%d" % number, REGULAR, ROOT)
    with failing(errno.ENOSPC):
        await mounted.root.create(b"one more", REGULAR, ROOT)
    await mounted.root.unlink(b"f0", await mounted.root.lookup(b"f0"))
    await mounted.root.create(b"one more", REGULAR, ROOT)


async def test_directories_of_linux_with_an_index(tmp_path: Path) -> None:
    """Linux's hash index is ignored while reading, and given up when we write; Linux goes on with both."""
    mke2fs(tmp_path / "image", 16 << 20, "-b", "1024")
    with loop_mount(tmp_path / "image", tmp_path / "mnt") as root:
        (root / "read").mkdir()
        (root / "changed").mkdir()
        for number in range(800):
            (root / "read" / f"name{number}").touch()
            (root / "changed" / f"name{number}").touch()
    disk = Disk(4096, (tmp_path / "image").read_bytes())
    mounted = await mount(disk)
    wanted = sorted(b"name%d" % number for number in range(800))
    folders = [await mounted.root.lookup(name) for name in (b"read", b"changed")]
    for folder in folders:
        assert folder.flags & layout.FLAG_INDEX
        assert sorted(await names_of(folder)) == wanted
        assert (await folder.lookup(b"name777")).is_regular
    changed = folders[1]
    for number in range(800, 900):
        await changed.create(b"name%d" % number, REGULAR, ROOT)
    for number in range(50):
        await changed.unlink(b"name%d" % number, await changed.lookup(b"name%d" % number))
    del folder, folders, changed
    await mounted.fs.unmount()
    fsck(disk, tmp_path / "image")
    with loop_mount(tmp_path / "image", tmp_path / "mnt") as root:
        assert sorted(os.listdir(root / "read")) == [name.decode() for name in wanted]
        assert sorted(os.listdir(root / "changed")) == sorted(f"name{number}" for number in range(50, 900))
        for number in range(900, 1000):
            (root / "changed" / f"name{number}").touch()
            (root / "read" / f"name{number}").touch()
    run("e2fsck", "-fn", str(tmp_path / "image"))


async def test_without_types_in_entries(tmp_path: Path) -> None:
    """A file system without the feature filetype, and of revision 0."""
    for options in (("-O", "^filetype"), ("-r", "0")):
        disk = mke2fs(tmp_path / "image", 8 << 20, "-b", "1024", *options)
        mounted = await mount(disk)
        folder = await mounted.root.mkdir(b"d", 0o755, ROOT)
        await folder.create(b"f", REGULAR, ROOT)
        await mounted.root.rename(b"d", folder, mounted.root, b"e", None)
        assert {entry.type for entry in await mounted.root.readdir(0)} == {0}
        del folder
        await mounted.fs.unmount()
        fsck(disk, tmp_path / "image")


async def test_times(tmp_path: Path, disks: Callable[..., Any]) -> None:
    """Nanoseconds and years beyond 2038 where inodes have room; whole seconds of 32 bits where they have not."""
    late = 4_000_000_000 * 10**9 + 123456789
    mounted = await disks(8)
    file = await mounted.root.create(b"f", REGULAR, ROOT)
    await file.setattr(mtime=late, atime=-5 * 10**9 - 1)
    del file
    again = await remounted(mounted, tmp_path / "image")
    file = await again.root.lookup(b"f")
    assert (file.mtime, file.atime) == (late, -5 * 10**9 - 1)
    del file
    await again.fs.unmount()
    small = await disks(8, inode_size=128)
    file = await small.root.create(b"f", REGULAR, ROOT)
    await file.setattr(mtime=late, atime=1_500_000_000_999_999_999)
    assert file.mtime == (2**31 - 1) * 10**9
    assert file.atime == 1_500_000_000 * 10**9
    assert file.btime % 10**9 == 0
