"""What an embedder does with the files of a LibOS, and FIFOs and devices behind names."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from occlum_async.abi.stat import makedev
from occlum_async.fs.access import FileAccess
from occlum_async.fs.devices import register_device
from occlum_async.fs.inode import Inode
from occlum_async.fs.namespace import MountNamespace
from occlum_async.fs.ramfs import RamFs
from occlum_async.io.file import File
from occlum_async.io.pipe import make_pipe
from occlum_async.sched.strand import Scheduler

from .conftest import User


@pytest.fixture
async def files() -> FileAccess:
    return FileAccess(MountNamespace(RamFs()), Scheduler(asyncio.get_running_loop()))


async def test_round_trip(files: FileAccess) -> None:
    await files.mkdir("/a/b/c", parents=True)
    await files.mkdir("/a/b/c", parents=True, exist_ok=True)
    data = os.urandom(3 << 20)
    assert await files.write_bytes("/a/b/f", data) == len(data)
    assert await files.read_bytes("/a/b/f") == data
    await files.write_text("/a/t", "grüß")
    assert await files.read_text("/a/t") == "grüß"
    await files.symlink("/a/l", "t")
    assert await files.readlink("/a/l") == "t"
    await files.chmod("/a/l", 0o600)
    assert (await files.stat("/a/t")).mode & 0o7777 == 0o600
    assert await files.listdir("/a") == ["b", "l", "t"]
    await files.rename("/a/t", "/a/u")
    assert not await files.exists("/a/l")
    await files.rmtree("/a")
    assert await files.listdir("/") == []


async def test_errors_are_those_of_os(files: FileAccess) -> None:
    with pytest.raises(FileNotFoundError, match="/none") as caught:
        await files.read_bytes("/none")
    assert caught.value.filename == "/none"
    await files.mkdir("/d")
    with pytest.raises(FileExistsError):
        await files.mkdir("/d")
    with pytest.raises(IsADirectoryError):
        await files.write_bytes("/d", b"")
    await files.write_bytes("/d/x", b"")
    with pytest.raises(NotADirectoryError):
        await files.listdir("/d/x")
    with pytest.raises(OSError, match="not empty"):
        await files.rmdir("/d")


async def test_fifos_are_opened_by_name(root: User) -> None:
    await root.call("mknod", b"/fifo", 0o010600, 0)
    reader = asyncio.ensure_future(root.open(b"/fifo"))
    await asyncio.sleep(0)
    assert not reader.done()
    writer = await root.open(b"/fifo", os.O_WRONLY)
    await root.write(writer, b"through")
    assert await root.read(await reader) == b"through"
    assert (await root.fstat(writer)).st_ino == (await root.stat(b"/fifo")).st_ino
    with pytest.raises(OSError):
        await root.call("lseek", writer, 0, 0)


async def test_devices_are_opened_by_number(root: User) -> None:
    opened = []

    def opener(inode: object, flags: int, thread: object) -> File:
        opened.append((inode, thread))
        return File(root.thread.scheduler, flags)

    register_device(makedev(240, 1), opener)
    await root.call("mknod", b"/dev", 0o020666, makedev(240, 1))
    fd = await root.open(b"/dev", os.O_RDWR)
    assert opened[0][1] is root.thread
    assert (await root.fstat(fd)).st_mode & 0o170000 == 0o020000
    await root.call("mknod", b"/unknown", 0o020666, makedev(240, 2))
    with pytest.raises(OSError) as caught:
        await root.open(b"/unknown")
    assert caught.value.errno == 6


class MagicLink(Inode):
    """Leads to an open file, as /proc/self/fd/N does."""

    def __init__(self, root: Inode, file: File) -> None:
        super().__init__(root.fs, 99, 0o120777)
        self.file = file

    async def follow(self) -> File:
        return self.file


async def test_magic_links_lead_to_the_open_file_itself(root: User, alice: User) -> None:
    read_end, write_end = make_pipe(root.thread.scheduler)
    await root.put(b"/f", b"data")
    fd = await root.open(b"/f")
    await root.call("unlink", b"/f")
    top = root.thread.fs.root.dentry
    assert top.inode is not None
    links = {name: MagicLink(top.inode, file) for name, file in ((b"1", write_end), (b"2", root.thread.files.get(fd)))}
    dentries = [top.add(name, link) for name, link in links.items()]
    out = await alice.open(b"/1", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    await alice.write(out, b"hello")
    assert await read_end.read(10) == b"hello"
    again = await root.open(b"/2")
    assert await root.read(again) == b"data"
    assert (await root.stat(b"/2")).st_nlink == 0
    await root.fails(errno.ELOOP, "openat", -100, b"/1", os.O_WRONLY | os.O_NOFOLLOW, 0)
    assert len(dentries) == 2
