"""mount(2) and its relatives, and what a mount restricts."""

from __future__ import annotations

import errno
import os

import pytest

from occlum_async.abi.user import PythonBuffer, PythonPointer
from occlum_async.fs.mount import MS_RDONLY
from occlum_async.fs.ramfs import RamFs
from occlum_async.process.kernel import Kernel

from .conftest import AT_FDCWD, User

BIND, REC, REMOUNT, MOVE, PRIVATE = 4096, 16384, 32, 8192, 1 << 18
DETACH, EXPIRE = 2, 4


async def mount(user: User, source: bytes, target: bytes, flags: int = 0, kind: bytes = b"tmpfs") -> None:
    await user.call("mount", source, target, kind, flags, b"")


@pytest.fixture
async def tree(root: User) -> User:
    for name in (b"/m", b"/n", b"/m/under"):
        await root.call("mkdir", name, 0o755)
    await root.put(b"/m/hidden", b"h")
    return root


async def test_a_mount_covers_and_uncovers(tree: User) -> None:
    await mount(tree, b"none", b"/m")
    assert await tree.listdir(b"/m") == []
    await tree.put(b"/m/f", b"x")
    assert (await tree.stat(b"/m")).st_dev != (await tree.stat(b"/")).st_dev
    assert (await tree.stat(b"/m/..")).st_ino == (await tree.stat(b"/")).st_ino
    await tree.fails(errno.EXDEV, "rename", b"/m/f", b"/f")
    await tree.fails(errno.EXDEV, "link", b"/m/f", b"/f")
    await tree.fails(errno.EBUSY, "rmdir", b"/m")
    await tree.fails(errno.EBUSY, "rename", b"/m", b"/o")
    await tree.fails(errno.EINVAL, "umount2", b"/m/f", 0)
    await tree.call("umount2", b"/m", 0)
    assert await tree.listdir(b"/m") == [b"hidden", b"under"]


async def test_busy_mounts(tree: User) -> None:
    await mount(tree, b"none", b"/m")
    await tree.put(b"/m/f", b"kept")
    fd = await tree.open(b"/m/f")
    await tree.fails(errno.EBUSY, "umount2", b"/m", 0)
    await tree.call("umount2", b"/m", DETACH)
    assert await tree.read(fd) == b"kept"
    await mount(tree, b"none", b"/m")
    await tree.call("chdir", b"/m")
    await tree.fails(errno.EBUSY, "umount2", b"/m", 0)
    await tree.call("chdir", b"/")
    await tree.fails(errno.EAGAIN, "umount2", b"/m", EXPIRE)
    await tree.call("umount2", b"/m", EXPIRE)
    await tree.fails(errno.EBUSY, "umount2", b"/", 0)


async def test_bind_mounts_show_the_same_files(tree: User) -> None:
    await mount(tree, b"none", b"/m/under")
    await tree.put(b"/m/under/inner", b"i")
    await mount(tree, b"/m", b"/n", BIND)
    assert await tree.listdir(b"/n") == [b"hidden", b"under"]
    assert await tree.listdir(b"/n/under") == []
    await tree.put(b"/n/new", b"1")
    assert await tree.get(b"/m/new") == b"1"
    await tree.fails(errno.EXDEV, "rename", b"/n/new", b"/m/newer")
    await tree.call("chdir", b"/n/under")
    assert await tree.getcwd() == b"/n/under"
    await tree.call("chdir", b"/")
    await tree.call("umount2", b"/n", 0)
    await mount(tree, b"/m", b"/n", BIND | REC)
    assert await tree.get(b"/n/under/inner") == b"i"
    await tree.fails(errno.EBUSY, "umount2", b"/n", 0)
    await tree.call("umount2", b"/n", DETACH)
    assert await tree.listdir(b"/n") == []
    assert await tree.get(b"/m/under/inner") == b"i"


async def test_bind_of_a_single_file(tree: User) -> None:
    await tree.put(b"/f", b"below")
    await mount(tree, b"/m/hidden", b"/f", BIND)
    assert await tree.get(b"/f") == b"h"
    await tree.fails(errno.EBUSY, "unlink", b"/f")
    await tree.fails(errno.ENOTDIR, "mount", b"/m/hidden", b"/n", b"", BIND, b"")


async def test_read_only_remount(tree: User) -> None:
    await mount(tree, b"/m", b"/n", BIND)
    await mount(tree, b"", b"/n", BIND | REMOUNT | MS_RDONLY)
    for name, *args in (
        ("mkdir", b"/n/x", 0o755), ("unlink", b"/n/hidden"), ("chmod", b"/n/hidden", 0o600),
        ("truncate", b"/n/hidden", 0),
        ("openat", AT_FDCWD, b"/n/hidden", os.O_RDWR, 0),
        ("openat", AT_FDCWD, b"/n/x", os.O_CREAT | os.O_WRONLY, 0o644),
        ("rename", b"/n/hidden", b"/n/y"), ("access", b"/n/hidden", 2), ("symlink", b"x", b"/n/l"),
    ):  # fmt: skip
        await tree.fails(errno.EROFS, name, *args)
    await tree.fails(errno.EEXIST, "mkdir", b"/n/under", 0o755)
    assert await tree.get(b"/n/hidden") == b"h"
    await tree.put(b"/m/other")
    await mount(tree, b"", b"/n", REMOUNT)
    await tree.put(b"/n/x")


async def test_what_the_boot_restricted_stays(tree: User, kernel: Kernel) -> None:
    await kernel.mounts.mount_at("/m", RamFs(), MS_RDONLY)
    await tree.fails(errno.EPERM, "mount", b"", b"/m", b"", REMOUNT, b"")
    await mount(tree, b"/m", b"/n", BIND)
    await tree.fails(errno.EPERM, "mount", b"", b"/n", b"", REMOUNT | BIND, b"")
    await tree.fails(errno.EROFS, "mkdir", b"/n/x", 0o755)


async def test_nodev_noexec(tree: User) -> None:
    await mount(tree, b"none", b"/m", 4 | 8)
    await tree.call("mknod", b"/m/null", 0o020666, 0x103)
    await tree.fails(errno.EACCES, "openat", AT_FDCWD, b"/m/null", os.O_RDONLY, 0)
    await tree.put(b"/m/prog", b"#!", 0o755)
    await tree.fails(errno.EACCES, "access", b"/m/prog", 1)


async def test_who_may_mount_what(tree: User, alice: User) -> None:
    await alice.fails(errno.EPERM, "mount", b"none", b"/m", b"tmpfs", 0, b"")
    await alice.fails(errno.EPERM, "umount2", b"/m", 0)
    await tree.fails(errno.ENODEV, "mount", b"none", b"/m", b"nosuchfs", 0, b"")
    await tree.fails(errno.ENOTDIR, "mount", b"none", b"/m/hidden", b"tmpfs", 0, b"")
    await tree.fails(errno.ENOENT, "mount", b"none", b"/missing", b"tmpfs", 0, b"")
    await mount(tree, b"", b"/", PRIVATE | REC)
    await tree.fails(errno.EINVAL, "mount", b"", b"/m", b"", PRIVATE, b"")


async def test_move(tree: User) -> None:
    await mount(tree, b"none", b"/m")
    await tree.put(b"/m/f", b"x")
    await tree.call("mkdir", b"/m/d", 0o755)
    await tree.fails(errno.ELOOP, "mount", b"/m", b"/m/d", b"", MOVE, b"")
    await tree.call("mount", b"/m", b"/n", b"", MOVE, b"")
    assert await tree.get(b"/n/f") == b"x"
    assert await tree.get(b"/m/hidden") == b"h"


async def test_pivot_root(tree: User, kernel: Kernel, alice: User) -> None:
    await mount(tree, b"none", b"/n")
    await tree.call("mkdir", b"/n/old", 0o755)
    await tree.put(b"/n/new", b"1", 0o644)
    await tree.call("chmod", b"/n", 0o755)
    await tree.fails(errno.EINVAL, "pivot_root", b"/m", b"/m/under")
    await tree.fails(errno.EBUSY, "pivot_root", b"/n", b"/m")
    await tree.call("pivot_root", b"/n", b"/n/old")
    assert await tree.listdir(b"/") == [b"new", b"old"]
    assert await alice.listdir(b"/") == [b"new", b"old"]
    assert await tree.get(b"/old/m/hidden") == b"h"
    await tree.call("umount2", b"/old", DETACH)
    assert await tree.listdir(b"/old") == []
    assert [item.fs.name for item in kernel.mounts] == ["tmpfs"]


async def test_statfs_flags(tree: User) -> None:
    await mount(tree, b"none", b"/m", MS_RDONLY)
    target = PythonPointer(bytearray(120))
    await tree.call("statfs", b"/m", target)
    assert int.from_bytes(target.data[80:88], "little") & 1
    await tree.fails(errno.EBADF, "fstatfs", 77, target)
    await tree.fails(errno.EROFS, "mknod", b"/m/x", 0o644, 0)
    fd = await tree.open(b"/m")
    await tree.fails(errno.EISDIR, "read", fd, PythonBuffer(bytearray(1)), 1)
