"""The flags of chattr(1): kept, shown, changed, and what they forbid, as on Linux."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from occlum_async.fs.inodeflags import APPEND, IMMUTABLE
from occlum_async.fs.mount import anonymous_device
from occlum_async.fs.namespace import MountNamespace
from occlum_async.fs.opening import open_path
from occlum_async.fs.overlay.filesystem import OverlayFs
from occlum_async.fs.ramfs import RamFs
from occlum_async.libos import Ext2Mount, LibOS

from .conftest import ROOT, Disk, Tree, failing, fsck, loop_mount, mke2fs, mount, run

PROGRAM = Path(__file__).with_name("flags.py")


async def test_the_same_as_on_linux(tmp_path: Path) -> None:
    mke2fs(tmp_path / "theirs", 8 << 20)
    with loop_mount(tmp_path / "theirs", tmp_path / "mnt") as root:
        (root / "w").mkdir()
        native = subprocess.run([sys.executable, PROGRAM, root / "w"], capture_output=True, text=True, check=False)
        run("chattr", "-i", str(root / "w/mine"))
    assert not native.stderr
    mke2fs(tmp_path / "ours", 8 << 20)
    async with LibOS(mounts=[Ext2Mount("/data", tmp_path / "ours")]) as libos:
        await libos.fs.mkdir("/data/w")
        process = await libos.spawn(
            "/usr/bin/python3", "-c", PROGRAM.read_text(), "/data/w", stdout=PIPE, stderr=STDOUT
        )  # fmt: skip
        inside, _ = await process.communicate()
    assert (inside or b"").decode() == native.stdout
    fsck(Disk((8 << 20) // 4096, (tmp_path / "ours").read_bytes()), tmp_path / "checked")
    assert "Flags: 0x10\n" in run("debugfs", "-R", "stat /w/mine", str(tmp_path / "ours"))


@pytest.mark.skipif(shutil.which("chattr") is None, reason="chattr is not installed")
async def test_chattr_and_lsattr(tmp_path: Path) -> None:
    mke2fs(tmp_path / "image", 8 << 20)
    async with LibOS(mounts=[Ext2Mount("/data", tmp_path / "image")]) as libos:
        script = "cd /data; touch a b; chattr +ai a; chattr +d b; rm a; lsattr a b; lsattr /tmp; chattr -ai a; rm a; ls"
        process = await libos.spawn("/bin/bash", "-c", script, stdout=PIPE, stderr=STDOUT)
        said = ((await process.communicate())[0] or b"").decode()
    assert "rm: cannot remove 'a': Operation not permitted" in said
    lines = said.splitlines()
    assert [line.split()[0].strip("-") for line in lines if line.endswith((" a", " b"))] == ["ia", "d"]
    assert lines[-2:] == ["b", "lost+found"]


async def test_what_they_forbid(disks: Callable[..., Any]) -> None:
    mounted = await disks(8)
    do, outcome, root = mounted.do, mounted.tree.do, mounted.root
    await do("write", "/file", b"content")
    file = await root.lookup(b"file")
    await file.set_flags(IMMUTABLE | 0x80000)
    assert file.flags == IMMUTABLE  # the others are not chattr's to change
    packed = (await file.getattr()).pack_statx()
    assert int.from_bytes(packed[8:16], "little") == IMMUTABLE and packed[56] & APPEND
    for operation in (
        ("write", "/file", b"x"), ("append", "/file", b"x"), ("truncate", "/file", 1), ("chmod", "/file", 0o600),
        ("unlink", "/file"), ("rename", "/file", "/other"), ("link", "/file", "/other"),
        ("setxattr", "/file", "user.a", b"1"),
    ):  # fmt: skip
        assert await outcome(*operation) == ("error", "EPERM"), operation
    assert await do("read", "/file") == b"content"
    await file.set_flags(APPEND)
    assert await outcome("write", "/file", b"x") == ("error", "EPERM")
    await do("append", "/file", b" and more")
    opened = (await open_path(mounted.tree, b"/file", os.O_RDWR | os.O_APPEND)).acquire()
    with failing(1):
        await opened.truncate(0)
    with failing(13):
        opened.mapping(True, True)
    opened.release()
    await file.set_flags(0)
    await do("unlink", "/file")


async def test_through_an_overlay(disks: Callable[..., Any]) -> None:
    mounted = await disks(8)
    lower = RamFs()
    await lower.root.create(b"below", 0o100644, ROOT)
    overlay = OverlayFs(anonymous_device(), mounted.scheduler, [lower], mounted.fs)
    tree = Tree(MountNamespace(overlay), mounted.scheduler)
    below = await overlay.root.lookup(b"below")
    assert not below.keeps_flags
    await below.set_flags(APPEND)  # which copies it up
    assert below.flags == APPEND and (await mounted.root.lookup(b"below")).flags == APPEND
    assert await tree.do("unlink", "/below") == ("error", "EPERM")
    assert await tree.do("append", "/below", b"x") == ("ok", 1)


async def test_a_directory_of_linux_that_nobody_may_change(tmp_path: Path) -> None:
    disk = mke2fs(tmp_path / "image", 8 << 20)
    path = disk.save(tmp_path / "image")
    run("debugfs", "-w", "-R", "mkdir /d", str(path))
    run("debugfs", "-w", "-R", "set_inode_field /d flags 0x10", str(path))
    mounted = await mount(Disk(disk.blocks, path.read_bytes()))
    assert await mounted.tree.do("write", "/d/file", b"x") == ("error", "EPERM")
    assert await mounted.tree.do("rename", "/d", "/e") == ("error", "EPERM")
    await mounted.fs.unmount()
