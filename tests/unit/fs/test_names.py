"""Making, moving and removing names, and who may."""

from __future__ import annotations

import errno
import os

from occlum_async.abi.user import PythonPointer

from .conftest import AT_FDCWD, User

NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4


async def rename2(user: User, old: bytes, new: bytes, flags: int) -> None:
    await user.call("renameat2", AT_FDCWD, old, AT_FDCWD, new, flags)


async def test_hard_links(root: User) -> None:
    await root.put(b"/a", b"1")
    await root.call("link", b"/a", b"/b")
    assert (await root.stat(b"/b")).st_nlink == 2
    await root.call("rename", b"/a", b"/b")
    assert await root.listdir(b"/") == [b"a", b"b"]
    await root.call("unlink", b"/a")
    assert (await root.stat(b"/b")).st_nlink == 1
    await root.call("mkdir", b"/d", 0o755)
    await root.fails(errno.EPERM, "link", b"/d", b"/e")
    await root.fails(errno.EEXIST, "link", b"/b", b"/d")


async def test_link_follows_only_when_told(root: User) -> None:
    await root.put(b"/f")
    await root.call("symlink", b"f", b"/l")
    await root.call("link", b"/l", b"/m")
    assert await root.readlink(b"/m") == b"f"
    await root.call("linkat", AT_FDCWD, b"/l", AT_FDCWD, b"/n", 0x400)
    assert (await root.stat(b"/n", follow=False)).st_ino == (await root.stat(b"/f")).st_ino


async def test_rename_replaces_only_its_kind(root: User) -> None:
    for name in (b"/d", b"/full", b"/full/x", b"/empty"):
        await root.call("mkdir", name, 0o755)
    await root.put(b"/f", b"f")
    await root.fails(errno.EISDIR, "rename", b"/f", b"/d")
    await root.fails(errno.ENOTDIR, "rename", b"/d", b"/f")
    await root.fails(errno.ENOTEMPTY, "rename", b"/d", b"/full")
    await root.fails(errno.EINVAL, "rename", b"/full", b"/full/x/y")
    await root.fails(errno.ENOTEMPTY, "rename", b"/d", b"/full")
    await root.call("rename", b"/full", b"/empty")
    assert await root.listdir(b"/empty") == [b"x"]
    assert (await root.stat(b"/")).st_nlink == 4
    await root.fails(errno.EBUSY, "rename", b"/d/.", b"/e")


async def test_rename_flags(root: User) -> None:
    await root.put(b"/a", b"a")
    await root.call("mkdir", b"/d", 0o755)
    await root.put(b"/d/x", b"x")
    with_existing = (AT_FDCWD, b"/a", AT_FDCWD, b"/d", NOREPLACE)
    await root.fails(errno.EEXIST, "renameat2", *with_existing)
    await rename2(root, b"/a", b"/d", EXCHANGE)
    assert await root.get(b"/d") == b"a"
    assert await root.get(b"/a/x") == b"x"
    await root.fails(errno.ENOENT, "renameat2", AT_FDCWD, b"/a", AT_FDCWD, b"/none", EXCHANGE)
    await root.fails(errno.EINVAL, "renameat2", AT_FDCWD, b"/a", AT_FDCWD, b"/b", NOREPLACE | EXCHANGE)
    await rename2(root, b"/d", b"/moved", WHITEOUT)
    left = await root.stat(b"/d", follow=False)
    assert left.st_mode & 0o170000 == 0o020000
    await rename2(root, b"/moved", b"/new", NOREPLACE)
    assert await root.get(b"/new") == b"a"


async def test_exchange_keeps_what_is_open_in_place(root: User) -> None:
    await root.call("mkdir", b"/a", 0o755)
    await root.call("mkdir", b"/b", 0o755)
    await root.put(b"/a/1")
    await root.call("chdir", b"/a")
    await rename2(root, b"/a", b"/b", EXCHANGE)
    assert await root.getcwd() == b"/b"
    assert await root.listdir(b"/b") == [b"1"]
    assert await root.listdir(b"/a") == []


async def test_sticky_directories(root: User, alice: User, bob: User) -> None:
    await root.call("mkdir", b"/tmp", 0o777)
    await root.call("chmod", b"/tmp", 0o1777)
    await alice.put(b"/tmp/hers", b"x", 0o666)
    await bob.put(b"/tmp/his", b"y")
    await bob.fails(errno.EPERM, "unlink", b"/tmp/hers")
    await bob.fails(errno.EPERM, "rename", b"/tmp/hers", b"/tmp/z")
    await bob.fails(errno.EPERM, "rename", b"/tmp/his", b"/tmp/hers")
    await alice.call("symlink", b"/tmp/his", b"/tmp/trap")
    await bob.fails(errno.EACCES, "stat", b"/tmp/trap", PythonPointer())
    await bob.fails(errno.EACCES, "openat", AT_FDCWD, b"/tmp/hers", os.O_CREAT | os.O_RDWR, 0o666)
    await bob.fails(errno.EPERM, "link", b"/tmp/hers", b"/tmp/linked")
    await root.call("unlink", b"/tmp/hers")


async def test_permissions_of_directories(root: User, alice: User) -> None:
    await root.call("mkdir", b"/private", 0o700)
    await root.put(b"/private/f")
    await alice.fails(errno.EACCES, "stat", b"/private/f", PythonPointer())
    await root.call("chmod", b"/private", 0o711)
    await alice.stat(b"/private/f")
    await alice.fails(errno.EACCES, "openat", AT_FDCWD, b"/private", os.O_RDONLY, 0)
    await alice.fails(errno.EACCES, "mkdir", b"/private/x", 0o755)
    await alice.fails(errno.EACCES, "unlink", b"/private/f")


async def test_setgid_directories_hand_on_their_group(root: User, alice: User) -> None:
    await root.call("mkdir", b"/shared", 0o755)
    await root.call("chown", b"/shared", 1000, 50)
    await root.call("chmod", b"/shared", 0o2775)
    await alice.put(b"/shared/f")
    await alice.call("mkdir", b"/shared/d", 0o755)
    assert (await alice.stat(b"/shared/f")).st_gid == 50
    inner = await alice.stat(b"/shared/d")
    assert (inner.st_gid, inner.st_mode & 0o7777) == (50, 0o2755)


async def test_nodes(root: User, alice: User) -> None:
    await root.call("mkdir", b"/home", 0o777)
    await root.call("chmod", b"/home", 0o777)
    await alice.fails(errno.EPERM, "mknod", b"/home/null", 0o020666, 0x103)
    await alice.call("mknod", b"/home/fifo", 0o010644, 0)
    await alice.call("mknod", b"/home/plain", 0o644, 0)
    await alice.call("mknod", b"/home/sock", 0o140755, 0)
    await root.fails(errno.EPERM, "mknod", b"/home/dir", 0o040755, 0)
    await alice.fails(errno.ENXIO, "openat", AT_FDCWD, b"/home/sock", os.O_RDONLY, 0)
    assert (await alice.stat(b"/home/fifo")).st_mode & 0o170000 == 0o010000


async def test_tmpfile_gets_a_name(root: User) -> None:
    flags = os.O_TMPFILE | os.O_RDWR
    fd = await root.open(b"/", flags, 0o640)
    await root.write(fd, b"hidden")
    assert await root.listdir(b"/") == []
    assert (await root.fstat(fd)).st_nlink == 0
    await root.call("linkat", fd, b"", AT_FDCWD, b"/shown", 0x1000)
    assert await root.get(b"/shown") == b"hidden"
    assert (await root.fstat(fd)).st_nlink == 1
    exclusive = await root.open(b"/", flags | os.O_EXCL, 0o640)
    await root.fails(errno.ENOENT, "linkat", exclusive, b"", AT_FDCWD, b"/never", 0x1000)
    await root.fails(errno.EINVAL, "openat", AT_FDCWD, b"/", os.O_TMPFILE, 0o600)


async def test_unlinkat(root: User) -> None:
    await root.call("mkdir", b"/d", 0o755)
    await root.put(b"/f")
    await root.fails(errno.EISDIR, "unlinkat", AT_FDCWD, b"/d", 0)
    await root.fails(errno.ENOTDIR, "unlinkat", AT_FDCWD, b"/f", 0x200)
    await root.fails(errno.EINVAL, "unlinkat", AT_FDCWD, b"/f", 0x1)
    await root.call("unlinkat", AT_FDCWD, b"/d", 0x200)
    await root.fails(errno.ENOTDIR, "rmdir", b"/f/.")


async def test_open_directory_of_a_removed_name_refuses_new_ones(root: User) -> None:
    await root.call("mkdir", b"/d", 0o755)
    fd = await root.open(b"/d", os.O_RDONLY | os.O_DIRECTORY)
    await root.call("rmdir", b"/d")
    await root.fails(errno.ENOENT, "openat", fd, b"x", os.O_CREAT | os.O_WRONLY, 0o644)
    await root.fails(errno.ENOENT, "mkdirat", fd, b"x", 0o755)
    await root.fails(errno.ENOENT, "getdents64", fd, None, 4096)
