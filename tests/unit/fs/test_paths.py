"""From paths to places: links, limits, roots, mounts."""

from __future__ import annotations

import errno
import os

import pytest

from occlum_async.abi.user import PythonPointer
from occlum_async.fs.dentry import CACHE, DentryCache

from .conftest import AT_FDCWD, User


async def test_dots_and_slashes(root: User) -> None:
    await root.call("mkdir", b"/a", 0o755)
    await root.call("mkdir", b"/a/b/", 0o755)
    await root.put(b"/a/f", b"x")
    inode = (await root.stat(b"/a/f")).st_ino
    for path in (b"/a/./f", b"//a///f", b"/a/b/../f", b"/../../a/f", b"a/f", b"./a/b/.././f"):
        assert (await root.stat(path)).st_ino == inode, path
    for path in (b"/a/f/", b"/a/f/.", b"/a/f/..", b"/a/f/x"):
        await root.fails(errno.ENOTDIR, "stat", path, PythonPointer())
    await root.fails(errno.ENOENT, "stat", b"", PythonPointer())
    await root.fails(errno.ENOENT, "stat", b"/a/missing/../f", PythonPointer())


async def test_length_limits(root: User) -> None:
    await root.call("mkdir", b"/" + b"n" * 255, 0o755)
    await root.fails(errno.ENAMETOOLONG, "mkdir", b"/" + b"n" * 256, 0o755)
    assert (await root.stat(b"/" + b"./" * 2047)).st_nlink >= 2
    await root.fails(errno.ENAMETOOLONG, "stat", b"/" + b"./" * 2048, PythonPointer())


async def test_links_are_followed_forty_times(root: User) -> None:
    await root.put(b"/l0", b"end")
    for number in range(1, 42):
        await root.call("symlink", b"l%d" % (number - 1), b"/l%d" % number)
    assert await root.get(b"/l40") == b"end"
    await root.fails(errno.ELOOP, "stat", b"/l41", PythonPointer())
    await root.call("symlink", b"loop", b"/loop")
    await root.fails(errno.ELOOP, "stat", b"/loop", PythonPointer())
    await root.fails(errno.ELOOP, "openat", AT_FDCWD, b"/loop", os.O_RDONLY | os.O_NOFOLLOW, 0)


async def test_trailing_slash_follows_a_link_except_when_the_name_changes(root: User) -> None:
    await root.call("mkdir", b"/d", 0o755)
    await root.call("symlink", b"d", b"/l")
    assert (await root.stat(b"/l/", follow=False)).st_mode & 0o170000 == 0o040000
    await root.fails(errno.ENOTDIR, "rmdir", b"/l/")
    await root.fails(errno.ENOTDIR, "unlink", b"/l/")
    await root.fails(errno.ENOTDIR, "rename", b"/l/", b"/m")
    await root.fails(errno.EEXIST, "mkdir", b"/l/", 0o755)
    await root.fails(errno.EISDIR, "openat", AT_FDCWD, b"/new/", os.O_CREAT | os.O_WRONLY, 0o644)


async def test_create_through_a_dangling_link(root: User) -> None:
    await root.call("mkdir", b"/d", 0o755)
    await root.call("symlink", b"d/new", b"/l")
    await root.fails(errno.EEXIST, "openat", AT_FDCWD, b"/l", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    await root.put(b"/l", b"made")
    assert await root.get(b"/d/new") == b"made"


async def test_chroot_confines(root: User) -> None:
    await root.call("mkdir", b"/jail", 0o755)
    await root.put(b"/outside", b"secret")
    await root.put(b"/jail/inside", b"x")
    await root.call("symlink", b"/outside", b"/jail/l")
    await root.call("symlink", b"../../outside", b"/jail/r")
    await root.call("chroot", b"/jail")
    await root.call("chdir", b"/")
    assert await root.listdir(b"/..") == [b"inside", b"l", b"r"]
    for path in (b"/outside", b"/../outside", b"l", b"r"):
        await root.fails(errno.ENOENT, "stat", path, PythonPointer())
    assert await root.getcwd() == b"/"


async def test_getcwd(root: User) -> None:
    await root.call("mkdir", b"/a", 0o755)
    await root.call("mkdir", b"/a/b", 0o755)
    await root.call("chdir", b"/a/b")
    await root.call("rename", b"/a", b"/z")
    assert await root.getcwd() == b"/z/b"
    await root.call("rmdir", b"/z/b")
    await root.fails(errno.ENOENT, "getcwd", None, 4096)
    await root.fails(errno.ENOENT, "openat", AT_FDCWD, b"x", os.O_CREAT | os.O_WRONLY, 0o644)
    await root.call("chdir", b"..")
    assert await root.getcwd() == b"/z"


async def test_at_calls_start_at_their_directory(root: User) -> None:
    await root.call("mkdir", b"/d", 0o755)
    await root.put(b"/d/f", b"1")
    fd = await root.open(b"/d", os.O_PATH | os.O_DIRECTORY)
    await root.call("rename", b"/d", b"/e")
    inner = await root.open(b"f", dirfd=fd)
    assert await root.read(inner) == b"1"
    await root.fails(errno.ENOTDIR, "openat", inner, b"f", os.O_RDONLY, 0)
    await root.fails(errno.EBADF, "openat", 77, b"f", os.O_RDONLY, 0)
    assert await root.call("openat", 77, b"/e/f", os.O_RDONLY, 0) > 0
    target = PythonPointer(bytearray(144))
    await root.call("newfstatat", inner, b"", target, 0x1000)
    await root.fails(errno.ENOENT, "newfstatat", inner, b"", target, 0)


@pytest.mark.parametrize(
    ("resolve", "path", "number"),
    [
        (0x08, b"in", 0),
        (0x08, b"../out", errno.EXDEV),
        (0x08, b"/d/in", errno.EXDEV),
        (0x08, b"absolute", errno.EXDEV),
        (0x08, b"sub/../in", 0),
        (0x10, b"/in", 0),
        (0x10, b"../../in", 0),
        (0x10, b"absolute", errno.ENOENT),
        (0x04, b"link", errno.ELOOP),
        (0x00, b"link", 0),
        (0x18, b"in", errno.EINVAL),
        (0x40, b"in", errno.EINVAL),
    ],
)
async def test_openat2_resolve(root: User, resolve: int, path: bytes, number: int) -> None:
    await root.call("mkdir", b"/d", 0o755)
    await root.call("mkdir", b"/d/sub", 0o755)
    await root.put(b"/d/in")
    await root.put(b"/out")
    await root.call("symlink", b"/out", b"/d/absolute")
    await root.call("symlink", b"in", b"/d/link")
    fd = await root.open(b"/d", os.O_PATH)
    how = PythonPointer(bytearray(resolve.to_bytes(8, "little").rjust(24, b"\0")))
    if number:
        await root.fails(number, "openat2", fd, path, how, 24)
    else:
        assert await root.call("openat2", fd, path, how, 24) > fd


async def test_openat2_refuses_what_it_does_not_know(root: User) -> None:
    await root.fails(errno.EINVAL, "openat2", AT_FDCWD, b"/", PythonPointer(bytearray(24)), 23)
    await root.fails(errno.E2BIG, "openat2", AT_FDCWD, b"/", PythonPointer(bytearray(24) + b"\1" * 8), 32)
    assert await root.call("openat2", AT_FDCWD, b"/", PythonPointer(bytearray(32)), 32) == 0


async def test_the_dentry_cache_is_bounded_and_unused_names_leave_first(root: User) -> None:
    cache = DentryCache(2)
    context = root.thread.fs
    await root.call("mkdir", b"/a", 0o755)
    dentries = [context.root.dentry.add(name, None) for name in (b"x", b"y", b"z")]
    for dentry in dentries:
        cache.keep(dentry)
    assert len(cache) == 2
    assert len(CACHE) <= CACHE.limit


async def test_an_open_file_outlives_its_cached_name(root: User) -> None:
    await root.put(b"/f", b"data")
    fd = await root.open(b"/f")
    await root.call("unlink", b"/f")
    await root.put(b"/f", b"other")
    assert await root.read(fd) == b"data"
    assert (await root.fstat(fd)).st_nlink == 0
    assert root.thread.files.get(fd).describe() == "/f (deleted)"
