"""Nobody gets out of a host folder: not by links, not by races, not by names."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.hostfs import HostFs
from occlum_async.fs.hostfs.handles import Handles
from occlum_async.io.boundary import Boundary

Mount = Callable[..., HostFs]


def exchange(one: Path, other: Path) -> None:
    ctypes.CDLL(None).renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)


@contextlib.contextmanager
def exchanging(one: Path, other: Path) -> Iterator[None]:
    """A thread that lets two names change places as fast as it can."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            exchange(one, other)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("name", [b"..", b"../secret", b"dir/../../secret", b"/etc/passwd", b"link/x", b"up/secret"])
async def test_names_lead_nowhere(mount: Mount, boundary: Boundary, name: bytes) -> None:
    root = mount().root.directory_fd()
    with pytest.raises(SyscallError):
        boundary.open_now(root, name, os.O_RDONLY)
    with pytest.raises(SyscallError):
        await boundary.open(root, name, os.O_RDONLY)


async def test_openat_without_openat2_is_confined(
    mount: Mount, boundary: Boundary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.ENOSYS, "")

    monkeypatch.setattr(boundary, "_openat2", refused)
    root = mount().root.directory_fd()
    fd = await boundary.open(root, b"file", os.O_RDONLY | os.O_CREAT)
    os.close(fd)
    for name in (b"..", b"../secret", b"link", b"up/secret", b"up"):
        with pytest.raises(SyscallError):
            boundary.open_now(root, name, os.O_RDONLY)


async def test_file_swapped_for_a_link(mount: Mount, folder: Path) -> None:
    """The name is a file when it is looked up, and a link to a secret when it is opened."""
    fs = mount(validity=0)
    (folder / "trap").symlink_to(folder.parent / "secret")
    with exchanging(folder / "file", folder / "trap"):
        for _ in range(300):
            try:
                inode = await fs.root.lookup(b"file")
                if not inode.is_regular:
                    continue
                fs.handles.close()
                assert await inode.read(100, 0) == b"host file"
            except SyscallError as error:
                assert error.errno == errno.ESTALE


async def test_directory_swapped_for_a_link(mount: Mount, folder: Path, boundary: Boundary) -> None:
    """A component of the path becomes a link to the outside in the middle of the walk."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "a").write_bytes(b"secret")
    (folder / "trap").symlink_to(outside)
    fs = mount(validity=0, handles=Handles(boundary, limit=1))
    with exchanging(folder / "dir", folder / "trap"):
        for _ in range(300):
            try:
                directory = await fs.root.lookup(b"dir")
                if not directory.is_dir:
                    continue
                fs.handles.close()
                assert await (await directory.lookup(b"a")).read(100, 0) == b"A"
            except SyscallError as error:
                assert error.errno in (errno.ESTALE, errno.ENOENT)


async def test_directory_moved_out(mount: Mount, folder: Path) -> None:
    """ ".." is the VFS's, so a directory that the host moves away is a dead end and no way up."""
    fs = mount(validity=0)
    sub = await (await fs.root.lookup(b"dir")).lookup(b"sub")
    sub.directory_fd()
    os.rename(folder / "dir" / "sub", folder.parent / "moved")
    with pytest.raises(SyscallError):
        fs.boundary.open_now(sub.directory_fd(), b"../secret", os.O_RDONLY)


async def test_fifo_in_place_of_a_file_blocks_nobody(mount: Mount, folder: Path) -> None:
    fs = mount()
    inode = await fs.root.lookup(b"file")
    os.unlink(folder / "file")
    os.mkfifo(folder / "file")
    async with asyncio.timeout(20):
        with pytest.raises(SyscallError, match="ESTALE"):
            await inode.read(10, 0)
        with pytest.raises(SyscallError, match="ESTALE"):
            inode.mapping(shared=False, writable=False)


async def test_created_in_place_of_a_link(mount: Mount, folder: Path) -> None:
    """O_CREAT does not follow a link that hangs."""
    fs = mount(writable=True)
    (folder / "hanging").symlink_to(folder.parent / "made outside")
    with pytest.raises(SyscallError, match="EEXIST"):
        await fs.root.create(b"hanging", stat.S_IFREG | 0o644, Credentials())
    assert not (folder.parent / "made outside").exists()


async def test_changing_attributes_does_not_follow(mount: Mount, folder: Path) -> None:
    fs = mount(writable=True)
    secret = folder.parent / "secret"
    before = secret.stat()
    (folder / "trap").symlink_to(secret)
    trap = await fs.root.lookup(b"trap")
    await trap.setattr(mode=0o777, atime=1, mtime=1)
    after = secret.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_unreadable_file(mount: Mount, folder: Path) -> None:
    (folder / "file").chmod(0)
    file = await mount().root.lookup(b"file")
    opening = file.open(os.O_RDONLY)
    assert opening is not None
    with pytest.raises(SyscallError, match="EACCES"):
        await opening
