"""/dev: its nodes, what stands behind them, and /dev/pts."""

from __future__ import annotations

import errno
import os

import pytest

from occlum_async.abi import termios as tc
from occlum_async.abi.errors import SyscallError
from occlum_async.abi.stat import S_IFCHR, makedev, split_device
from occlum_async.abi.user import PythonPointer
from occlum_async.fs.namei import FOLLOW, resolve
from occlum_async.io.memdev import MAX_READ, RNDGETENTCNT

from .conftest import Machine


async def test_memory_devices(machine: Machine) -> None:
    thread = machine.spawn(uid=1000)
    null = await machine.open(thread, "/dev/null", os.O_RDWR | os.O_TRUNC)
    assert (await null.read(10), await null.write(b"gone"), await null.seek(7, 0)) == (b"", 4, 0)
    assert null.flags & os.O_TRUNC == 0 and not null.pollable
    zero = await machine.open(thread, "/dev/zero", os.O_RDWR)
    assert await zero.read(5) == bytes(5) and await zero.pread(3, 100) == bytes(3)
    assert len(await zero.read(1 << 40)) == MAX_READ
    full = await machine.open(thread, "/dev/full", os.O_RDWR)
    assert await full.read(2) == bytes(2)
    with pytest.raises(SyscallError) as caught:
        await full.write(b"x")
    assert caught.value.errno == errno.ENOSPC
    for name in ("random", "urandom"):
        random = await machine.open(thread, f"/dev/{name}", os.O_RDWR)
        assert await random.read(32) != await random.read(32)
        answer = PythonPointer(bytearray(4))
        await random.ioctl(thread, RNDGETENTCNT, answer)
        assert bytes(answer.data) == (256).to_bytes(4, "little")


async def test_zero_can_be_mapped_with_no_more_rights_than_asked(machine: Machine) -> None:
    thread = machine.spawn()
    zero = await machine.open(thread, "/dev/zero", os.O_RDWR)
    fd, close = zero.mapping(False, True)
    assert close
    with pytest.raises(OSError):
        os.pwrite(fd, b"x", 0)
    os.close(fd)
    fd, close = zero.mapping(True, True)
    assert os.pwrite(fd, b"x", 1 << 40) == 1
    os.close(fd)
    null = await machine.open(thread, "/dev/null")
    with pytest.raises(SyscallError) as caught:
        null.mapping(True, True)
    assert caught.value.errno == errno.ENODEV


async def test_nodes_have_their_numbers_and_modes(machine: Machine) -> None:
    thread = machine.spawn()
    machine.become(thread)
    for name, device in (("null", (1, 3)), ("urandom", (1, 9)), ("tty", (5, 0)), ("pts/ptmx", (5, 2))):
        stat = await (await resolve(thread, b"/dev/" + name.encode(), None, FOLLOW)).getattr()
        assert stat.mode == S_IFCHR | 0o666 and split_device(stat.rdev) == device
    assert await machine.readlink(thread, "/dev/stdin") == "/proc/self/fd/0"
    assert await machine.readlink(thread, "/dev/ptmx") == "pts/ptmx"


async def test_a_terminal_by_its_path(machine: Machine) -> None:
    thread = machine.spawn(uid=1000)
    master = await machine.open(thread, "/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    assert await machine.listdir(thread, "/dev/pts") == ["ptmx", "0"]
    with pytest.raises(SyscallError) as caught:
        await machine.open(thread, "/dev/pts/0", os.O_RDWR)
    assert caught.value.errno == errno.EIO
    await master.ioctl(thread, tc.TIOCSPTLCK, PythonPointer(bytearray(4)))
    slave = await machine.open(thread, "/dev/pts/0", os.O_RDWR)
    assert thread.process.session.terminal is slave.terminal
    stat = await slave.stat()
    assert (stat.mode, stat.uid, stat.gid, stat.rdev) == (S_IFCHR | 0o620, 1000, 5, makedev(136, 0))
    tty = await machine.open(thread, "/dev/tty", os.O_RDWR)
    await tty.write(b"hello\n")
    assert await master.read(100) == b"hello\r\n"
    thread.files.install(slave)
    assert await machine.readlink(thread, "/proc/self/fd/0") == "/dev/pts/0"
    assert (await machine.read(thread, "/proc/self/stat")).split()[6:8] == [str(136 << 8), str(thread.process.pid)]
    master.release()
    assert await machine.listdir(thread, "/dev/pts") == ["ptmx"]
    for path, number in (("/dev/pts/0", errno.ENOENT), ("/dev/tty", errno.ENXIO), ("/dev/console", errno.ENXIO)):
        with pytest.raises(SyscallError) as caught:
            await machine.open(machine.spawn(), path, os.O_RDWR)
        assert caught.value.errno == number


async def test_strangers_cannot_open_a_terminal(machine: Machine) -> None:
    owner, stranger = machine.spawn(uid=1000), machine.spawn(uid=1001)
    master = await machine.open(owner, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
    await master.ioctl(owner, tc.TIOCSPTLCK, PythonPointer(bytearray(4)))
    with pytest.raises(SyscallError) as caught:
        await machine.open(stranger, "/dev/pts/0", os.O_RDWR)
    assert caught.value.errno == errno.EACCES
    node = (await resolve(owner, b"/dev/pts/0", None, FOLLOW)).inode
    await node.setattr(mode=0o666)
    assert await machine.open(stranger, "/dev/pts/0", os.O_RDWR)
