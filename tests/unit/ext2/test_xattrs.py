"""Extended attributes: in the inode, in a block, and Linux's view of both."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Disk, failing, fsck, loop_mount, mke2fs, mount, remounted

REGULAR = 0o100644


async def all_of(inode: Any) -> dict[bytes, bytes]:
    return {name: await inode.getxattr(name) for name in await inode.listxattr()}


@pytest.mark.parametrize("inode_size", [128, 256, 1024])
async def test_set_and_removed(tmp_path: Path, disks: Callable[..., Any], inode_size: int) -> None:
    """Against a dictionary, with Linux as a second reader."""
    chance = random.Random(inode_size)
    mounted = await disks(8, inode_size=inode_size)
    file = await mounted.root.create(b"f", REGULAR, ROOT)
    model: dict[bytes, bytes] = {}
    for step in range(200):
        name = chance.choice([b"user.", b"trusted.", b"security.x"]) + b"n" * chance.randrange(1, 20)
        if name in model and chance.random() < 0.3:
            await file.removexattr(name)
            del model[name]
        else:
            value = chance.randbytes(chance.choice([0, 1, 5, 30, 100, 600]))
            try:
                await file.setxattr(name, value, 0)
                model[name] = value
            except Exception:
                assert sum(map(len, model.values())) > 2000
                if name in model:
                    assert await file.getxattr(name) == model[name]
        if step % 20 == 0:
            assert await all_of(file) == model
    await mounted.fs.sync()
    fsck(mounted.fs.block_device, tmp_path / "image")
    with loop_mount(tmp_path / "image", tmp_path / "mnt", "loop,ro") as where:
        theirs = {name.encode(): os.getxattr(where / "f", name) for name in os.listxattr(where / "f")}
    assert theirs == model
    del file
    again = await remounted(mounted, tmp_path / "image")
    assert await all_of(await again.root.lookup(b"f")) == model
    await again.root.unlink(b"f", await again.root.lookup(b"f"))
    await again.fs.unmount()
    fsck(mounted.fs.block_device, tmp_path / "image")


async def test_flags_and_refusals(disks: Callable[..., Any]) -> None:
    mounted = await disks(8)
    file = await mounted.root.create(b"f", REGULAR, ROOT)
    await file.setxattr(b"user.a", b"1", 1)
    with failing(errno.EEXIST):
        await file.setxattr(b"user.a", b"2", 1)
    with failing(errno.ENODATA):
        await file.setxattr(b"user.b", b"2", 2)
    with failing(errno.ENODATA):
        await file.removexattr(b"user.b")
    with failing(errno.ENODATA):
        await file.getxattr(b"user.b")
    with failing(errno.EOPNOTSUPP):
        await file.setxattr(b"system.posix_acl_access", b"", 0)
    with failing(errno.ENOSPC):
        await file.setxattr(b"user.b", bytes(5000), 0)
    assert await all_of(file) == {b"user.a": b"1"}


async def test_shared_blocks_of_linux(tmp_path: Path) -> None:
    """Linux lets files share a block of equal attributes; changing one must not change the others."""
    mke2fs(tmp_path / "image", 8 << 20, "-I", "128")
    with loop_mount(tmp_path / "image", tmp_path / "mnt") as root:
        for number in range(4):
            (root / f"f{number}").touch()
            os.setxattr(root / f"f{number}", "user.shared", b"v" * 500)
    disk = Disk(2048, (tmp_path / "image").read_bytes())
    mounted = await mount(disk)
    files = [await mounted.root.lookup(b"f%d" % number) for number in range(4)]
    assert len({file.file_acl for file in files}) == 1
    await files[0].setxattr(b"user.own", b"x", 0)
    await files[1].removexattr(b"user.shared")
    await mounted.root.unlink(b"f2", files[2])
    assert await all_of(files[0]) == {b"user.shared": b"v" * 500, b"user.own": b"x"}
    assert await all_of(files[1]) == {}
    assert await all_of(files[3]) == {b"user.shared": b"v" * 500}
    del files
    await mounted.fs.unmount()
    fsck(disk, tmp_path / "image")


async def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    """Access control lists, which we do not show, survive our changes."""
    mke2fs(tmp_path / "image", 8 << 20)
    acl = bytes.fromhex("0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000400ffffffff")
    with loop_mount(tmp_path / "image", tmp_path / "mnt") as root:
        (root / "f").touch()
        os.setxattr(root / "f", "system.posix_acl_access", acl)
    disk = Disk(2048, (tmp_path / "image").read_bytes())
    mounted = await mount(disk)
    file = await mounted.root.lookup(b"f")
    assert await file.listxattr() == []
    await file.setxattr(b"user.big", bytes(800), 0)
    del file
    await mounted.fs.unmount()
    fsck(disk, tmp_path / "image")
    with loop_mount(tmp_path / "image", tmp_path / "mnt", "loop,ro") as root:
        assert os.getxattr(root / "f", "system.posix_acl_access") == acl
