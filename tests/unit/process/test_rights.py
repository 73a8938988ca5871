"""Credentials, capabilities, limits, scheduling, prctl, and facts about the system."""

from __future__ import annotations

import errno
import struct

import pytest

from occlum_async.fs.credentials import ALL_CAPS, Credentials
from occlum_async.process.kernel import RELEASE, Kernel
from occlum_async.process.limits import RLIM_INFINITY, RLIMIT_CORE, RLIMIT_NOFILE
from occlum_async.process.rusage import RUSAGE, ResourceUsage
from occlum_async.process.thread import Thread

from .conftest import call, spawn

UNCHANGED = 0xFFFFFFFF


def ids(thread: Thread) -> tuple[int, int, int, int]:
    who = thread.credentials
    return who.uid, who.euid, who.suid, who.fsuid


async def fails(error: int, thread: Thread, name: str, *arguments: object) -> None:
    with pytest.raises(OSError) as caught:
        await call(thread, name, *arguments)
    assert caught.value.errno == error


async def test_leaving_root_for_good(kernel: Kernel, thread: Thread) -> None:
    await call(thread, "setuid", 1000)
    assert ids(thread) == (1000,) * 4
    assert thread.credentials.permitted == thread.credentials.effective == 0
    assert kernel.accounts.get(1000).threads == 1
    assert not thread.process.dumpable
    await fails(errno.EPERM, thread, "setuid", 0)
    await fails(errno.EPERM, thread, "setgroups", 0, None)
    await fails(errno.EPERM, thread, "setresuid", UNCHANGED, 0, UNCHANGED)


async def test_leaving_root_for_a_while(thread: Thread) -> None:
    await call(thread, "setresuid", UNCHANGED, 1000, UNCHANGED)
    assert ids(thread) == (0, 1000, 0, 1000)
    assert thread.credentials.effective == 0 and thread.credentials.permitted == ALL_CAPS
    await call(thread, "setuid", 0)
    assert thread.credentials.effective == ALL_CAPS


async def test_setreuid_saves_the_effective_uid(thread: Thread) -> None:
    await call(thread, "setreuid", 5, 6)
    assert ids(thread) == (5, 6, 6, 6)
    await call(thread, "setreuid", 6, 5)
    assert ids(thread) == (6, 5, 5, 5)
    await fails(errno.EPERM, thread, "setreuid", 7, UNCHANGED)


async def test_keepcaps(thread: Thread) -> None:
    await call(thread, "prctl", 8, 1, 0, 0, 0)
    await call(thread, "setuid", 1000)
    assert thread.credentials.permitted == ALL_CAPS and thread.credentials.effective == 0


async def test_groups(thread: Thread) -> None:
    await call(thread, "setgroups", 2, struct.pack("<II", 30, 20))
    assert await call(thread, "getgroups", 0, None) == 2
    held = bytearray(8)
    await call(thread, "getgroups", 2, held)
    assert struct.unpack("<II", held) == (20, 30)
    await fails(errno.EINVAL, thread, "getgroups", 1, held)
    await call(thread, "setresgid", 1, 2, 3)
    who = thread.credentials
    assert (who.gid, who.egid, who.sgid, who.fsgid) == (1, 2, 3, 2)
    assert await call(thread, "setfsgid", 9) == 2 and await call(thread, "setfsgid", UNCHANGED) == 9


async def test_setfsuid_moves_the_file_capabilities(thread: Thread) -> None:
    assert await call(thread, "setfsuid", 1000) == 0
    assert not thread.credentials.capable(1) and thread.credentials.capable(5)
    assert await call(thread, "setfsuid", 0) == 1000
    assert thread.credentials.capable(1)


async def test_capabilities(thread: Thread) -> None:
    header, data = bytearray(struct.pack("<Ii", 0x20080522, 0)), bytearray(24)
    await call(thread, "capget", header, data)
    assert struct.unpack("<6I", data) == (0xFFFFFFFF, 0xFFFFFFFF, 0, 0x1FF, 0x1FF, 0)
    await call(thread, "capset", header, struct.pack("<6I", 1, 3, 2, 0, 0, 0))
    who = thread.credentials
    assert (who.effective, who.permitted, who.inheritable) == (1, 3, 2)
    await fails(errno.EPERM, thread, "capset", header, struct.pack("<6I", 4, 4, 0, 0, 0, 0))
    odd = bytearray(struct.pack("<Ii", 1, 0))
    await call(thread, "capget", odd, None)
    assert struct.unpack_from("<I", odd) == (0x20080522,)
    await call(thread, "prctl", 47, 2, 1, 0, 0)
    assert await call(thread, "prctl", 47, 1, 1, 0, 0) == 1
    await fails(errno.EPERM, thread, "prctl", 47, 2, 0, 0, 0)
    await fails(errno.EPERM, thread, "prctl", 24, 3, 0, 0, 0)


async def test_limits(kernel: Kernel, thread: Thread) -> None:
    limit = bytearray(16)
    await call(thread, "prlimit64", 0, RLIMIT_NOFILE, struct.pack("<QQ", 10, 20), limit)
    assert struct.unpack("<QQ", limit) == (1024, 524288)
    assert thread.files.limit == 10
    await fails(errno.EINVAL, thread, "setrlimit", RLIMIT_NOFILE, struct.pack("<QQ", 21, 20))
    await fails(errno.EINVAL, thread, "getrlimit", 16, limit)
    await fails(errno.EPERM, thread, "setrlimit", RLIMIT_NOFILE, struct.pack("<QQ", 1, 1 << 21))
    user = spawn(kernel, uid=1000)
    await call(user, "setrlimit", RLIMIT_CORE, struct.pack("<QQ", 0, 5))
    await fails(errno.EPERM, user, "setrlimit", RLIMIT_CORE, struct.pack("<QQ", 0, RLIM_INFINITY))
    await fails(errno.EPERM, user, "prlimit64", thread.process.pid, RLIMIT_CORE, None, limit)
    await call(thread, "prlimit64", user.process.pid, RLIMIT_CORE, None, limit)
    assert struct.unpack("<QQ", limit) == (0, 5)


def test_rusage_layout() -> None:
    usage = ResourceUsage(1_500_000_000, 2_000_001_000, 8192, 3, 4, 5, 6, 7, 8)
    assert RUSAGE.unpack(usage.pack()) == (1, 500000, 2, 1, 8, 0, 0, 0, 3, 4, 0, 5, 6, 0, 0, 0, 7, 8)
    assert (usage + usage).max_resident == 8192 and (usage + usage).minor_faults == 6


async def test_scheduling(kernel: Kernel, thread: Thread) -> None:
    mask = bytearray(128)
    assert await call(thread, "sched_getaffinity", 0, 128, mask) == 8
    assert mask[0] == 3
    await call(thread, "sched_setaffinity", 0, 1, b"\2")
    await call(thread, "sched_getaffinity", thread.tid, 8, mask)
    assert mask[0] == 2
    await fails(errno.EINVAL, thread, "sched_setaffinity", 0, 1, b"\4")
    await fails(errno.EINVAL, thread, "sched_getaffinity", 0, 4, mask)
    await call(thread, "setpriority", 0, 0, 30)
    assert await call(thread, "getpriority", 0, 0) == 1
    user = spawn(kernel, uid=1000)
    await call(user, "setpriority", 0, 0, 5)
    await fails(errno.EACCES, user, "setpriority", 0, 0, 4)
    await fails(errno.EPERM, user, "setpriority", 0, thread.tid, 19)
    await fails(errno.EPERM, user, "sched_setscheduler", 0, 1, struct.pack("<i", 10))
    await call(thread, "sched_setscheduler", 0, 1 | 0x40000000, struct.pack("<i", 10))
    assert await call(thread, "sched_getscheduler", 0) == 1 | 0x40000000
    await fails(errno.EINVAL, thread, "sched_setscheduler", 0, 0, struct.pack("<i", 1))
    attributes = bytearray(48)
    await call(thread, "sched_getattr", 0, attributes, 48, 0)
    assert struct.unpack_from("<IIQiI", attributes) == (48, 1, 1, 0, 10)
    await call(thread, "ioprio_set", 1, 0, 2 << 13 | 4)
    assert await call(thread, "ioprio_get", 1, 0) == 2 << 13 | 4
    await fails(errno.EINVAL, thread, "ioprio_set", 1, 0, 2 << 13 | 8)


async def test_prctl(thread: Thread) -> None:
    await call(thread, "prctl", 15, b"a-rather-long-name\0", 0, 0, 0)
    name = bytearray(16)
    await call(thread, "prctl", 16, name, 0, 0, 0)
    assert bytes(name) == b"a-rather-long-n\0"
    await call(thread, "prctl", 38, 1, 0, 0, 0)
    assert await call(thread, "prctl", 39, 0, 0, 0, 0) == 1
    await fails(errno.EINVAL, thread, "prctl", 38, 0, 0, 0, 0)
    await fails(errno.EINVAL, thread, "prctl", 22, 2, 0, 0, 0)
    await fails(errno.EINVAL, thread, "prctl", 1, 65, 0, 0, 0)
    assert await call(thread, "prctl", 30, 0, 0, 0, 0) == 50_000
    assert await call(thread, "prctl", 21, 0, 0, 0, 0) == 0
    assert await call(thread, "personality", 0x40000) == 0
    assert await call(thread, "personality", 0xFFFFFFFF) == 0x40000


async def test_the_system(kernel: Kernel, thread: Thread) -> None:
    await call(thread, "sethostname", b"box-extra", 3)
    names = bytearray(390)
    await call(thread, "uname", names)
    assert [names[at : at + 65].rstrip(b"\0") for at in (0, 65, 130, 260)] == [
        b"Linux", b"box", RELEASE.encode(), b"x86_64",
    ]  # fmt: skip
    await fails(errno.EINVAL, thread, "sethostname", bytes(65), 65)
    info = bytearray(112)
    await call(thread, "sysinfo", info)
    assert struct.unpack_from("<QQ", info, 32) == (kernel.config.memory, kernel.config.memory)
    assert struct.unpack_from("<H", info, 80) == (2,)
    data = bytearray(100_000)
    assert await call(thread, "getrandom", data, len(data), 0) == len(data)
    assert any(data[-1000:])
    await fails(errno.EINVAL, thread, "getrandom", data, 1, 8)
    await call(thread, "set_robust_list", 0x1234, 24)
    await fails(errno.EINVAL, thread, "set_robust_list", 0x1234, 8)
    head, size = bytearray(8), bytearray(8)
    await call(thread, "get_robust_list", 0, head, size)
    assert (head[:2], size[0]) == (b"\x34\x12", 24)
    assert await call(thread, "set_tid_address", 0x10) == thread.tid and thread.clear_child_tid == 0x10
    await fails(errno.EPERM, thread, "reboot", 0xFEE1DEAD, 672274793, 0)
    user = spawn(kernel, uid=5)
    await fails(errno.EPERM, user, "sethostname", b"x", 1)


def test_fresh_credentials() -> None:
    assert Credentials.of(0, 0).capable(21) and not Credentials.of(5, 5).capable(21)
