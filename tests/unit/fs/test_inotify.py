"""inotify: which call says what."""

from __future__ import annotations

import asyncio
import errno
import os
import struct

from occlum_async.abi.user import PythonBuffer
from occlum_async.fs.inotify import watched

from .conftest import User

ALL = 0xFFF
NAMES = {
    1: "access", 2: "modify", 4: "attrib", 8: "close_write", 0x10: "close", 0x20: "open", 0x40: "from", 0x80: "to",
    0x100: "create", 0x200: "delete", 0x400: "delete_self", 0x800: "move_self", 0x8000: "ignored",
}  # fmt: skip


async def start(user: User) -> int:
    return await user.call("inotify_init1", os.O_NONBLOCK)


async def watch(user: User, fd: int, path: bytes, mask: int = ALL) -> int:
    return await user.call("inotify_add_watch", fd, path, mask)


async def events(user: User, fd: int) -> list[str]:
    """Everything queued, as "name:file" words; directories get a slash."""
    found = []
    try:
        data = await user.read(fd, 1 << 16)
    except BlockingIOError:
        return []
    while data:
        _, mask, _, length = struct.unpack_from("<iIII", data)
        name = data[16 : 16 + length].rstrip(b"\0").decode()
        found.append(NAMES[mask & 0xFFFF] + ("/" if mask & 0x40000000 else "") + (f":{name}" if name else ""))
        data = data[16 + length :]
    return found


async def test_events_of_a_directory(root: User) -> None:
    await root.call("mkdir", b"/d", 0o755)
    fd = await start(root)
    await watch(root, fd, b"/d")
    await root.put(b"/d/f", b"x")
    assert await events(root, fd) == ["create:f", "open:f", "modify:f", "close_write:f"]
    await root.get(b"/d/f")
    assert await events(root, fd) == ["open:f", "access:f", "close:f"]
    await root.call("chmod", b"/d/f", 0o600)
    await root.call("rename", b"/d/f", b"/d/g")
    assert await events(root, fd) == ["attrib:f", "from:f", "to:g"]
    await root.call("mkdir", b"/d/s", 0o755)
    await root.call("rmdir", b"/d/s")
    await root.call("unlink", b"/d/g")
    assert await events(root, fd) == ["create/:s", "delete/:s", "delete:g"]
    await root.call("rmdir", b"/d")
    assert await events(root, fd) == ["delete_self", "ignored"]


async def test_rename_ties_its_events_together(root: User) -> None:
    await root.put(b"/a")
    fd = await start(root)
    await watch(root, fd, b"/", 0xC0)
    await root.call("rename", b"/a", b"/b")
    data = await root.read(fd, 4096)
    first, second = struct.unpack_from("<iIII", data), struct.unpack_from("<iIII", data, 32)
    assert first[2] == second[2] != 0


async def test_events_of_a_file(root: User) -> None:
    await root.put(b"/f", b"x")
    await root.call("link", b"/f", b"/g")
    fd = await start(root)
    await watch(root, fd, b"/f")
    await root.call("unlink", b"/g")
    await root.call("truncate", b"/f", 0)
    await root.call("rename", b"/f", b"/h")
    assert await events(root, fd) == ["attrib", "modify", "move_self"]


async def test_watches(root: User) -> None:
    await root.put(b"/f")
    fd = await start(root)
    number = await watch(root, fd, b"/f", 2)
    assert await watch(root, fd, b"/f", 4) == number
    await root.call("truncate", b"/f", 1)
    assert await events(root, fd) == []
    assert await watch(root, fd, b"/f", 2 | 0x20000000) == number
    await root.fails(errno.EEXIST, "inotify_add_watch", fd, b"/f", 2 | 0x10000000)
    await root.fails(errno.EINVAL, "inotify_add_watch", fd, b"/f", 0)
    await root.fails(errno.ENOTDIR, "inotify_add_watch", fd, b"/f", 2 | 0x1000000)
    await root.call("inotify_rm_watch", fd, number)
    assert await events(root, fd) == ["ignored"]
    await root.fails(errno.EINVAL, "inotify_rm_watch", fd, number)
    assert await watch(root, fd, b"/f", 2 | 0x80000000) > number
    await root.call("truncate", b"/f", 2)
    assert await events(root, fd) == ["modify", "ignored"]
    other = await root.open(b"/f")
    await root.fails(errno.EINVAL, "inotify_add_watch", other, b"/f", 2)


async def test_reading(root: User) -> None:
    fd = await root.call("inotify_init1", 0)
    before = watched.count
    await watch(root, fd, b"/", 0x100)
    reader = asyncio.ensure_future(root.read(fd, 4096))
    await asyncio.sleep(0)
    assert not reader.done()
    await root.put(b"/f")
    assert (await reader)[16:].rstrip(b"\0") == b"f"
    await root.put(b"/g")
    await root.fails(errno.EINVAL, "read", fd, PythonBuffer(bytearray(20)), 20)
    await root.close(fd)
    assert watched.count == before
    await root.fails(errno.EINVAL, "inotify_init1", 1)


async def test_overflow_is_said_once(root: User) -> None:
    from occlum_async.fs import inotify

    fd = await start(root)
    instance = root.thread.files.get(fd)
    assert isinstance(instance, inotify.Inotify)
    for number in range(inotify.MAX_QUEUED + 10):
        instance.push(1, 2, number, b"")
    assert len(instance.queue) == inotify.MAX_QUEUED + 1
    assert instance.queue[-1][:2] == (-1, 0x4000)
