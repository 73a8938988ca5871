"""A small LibOS without programs: a kernel, a root in memory, and the pseudo file systems mounted in it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.context import FsContext
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.devfs import DevFs
from occlum_async.fs.devpts import DevPts
from occlum_async.fs.fdtable import FdTable
from occlum_async.fs.namei import FOLLOW, resolve
from occlum_async.fs.namespace import MountNamespace
from occlum_async.fs.opening import open_path
from occlum_async.fs.procfs import make_procfs
from occlum_async.fs.ramfs import RamFs
from occlum_async.fs.sysfs import CgroupFs, SysFs
from occlum_async.process.clock import ManualClock
from occlum_async.process.kernel import Config, Kernel
from occlum_async.process.rusage import ResourceUsage
from occlum_async.process.thread import Thread
from occlum_async.sched.strand import Scheduler, TaskStrand

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: A CPU
cpu MHz\t\t: 2100.000
fpu\t\t: yes
flags\t\t: fpu sse2 avx2

processor\t: 1
model name\t: another
"""


@dataclass
class Mapping:
    start: int
    end: int
    perms: str
    offset: int = 0
    device: int = 0
    inode: int = 0
    path: str = ""


@dataclass
class FakeGuest:
    """Memory that is one page at ``base``."""

    base: int = 0x10000
    page: bytearray = field(default_factory=lambda: bytearray(4096))
    host_pid = 1000
    auxv = b"\6\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0"

    @property
    def address_space(self) -> object:
        return id(self)

    def read(self, address: int, size: int) -> bytes:
        offset = address - self.base
        if offset < 0 or offset + size > len(self.page):
            raise SyscallError(14)
        return bytes(self.page[offset : offset + size])

    def write(self, address: int, data: bytes) -> None:
        self.page[address - self.base : address - self.base + len(data)] = data

    def resource_usage(self) -> ResourceUsage:
        return ResourceUsage(user=1_230_000_000, system=450_000_000, max_resident=9 << 20)

    def settle(self) -> None:
        pass

    def memory_usage(self) -> tuple[int, int, int]:
        return 100 << 20, 8 << 20, 2 << 20

    def memory_map(self) -> list[Mapping]:
        return [
            Mapping(0x10000, 0x11000, "r-xp", 0x1000, 0x801, 77, "/bin/with space"),
            Mapping(0x7FFFFFFDE000, 0x7FFFFFFFF000, "rw-p", path="[stack]"),
        ]


class Machine:
    """The kernel, and the calls that tests make as some thread."""

    def __init__(self, kernel: Kernel, clock: ManualClock) -> None:
        self.kernel = kernel
        self.clock = clock
        self.root: FsContext

    def spawn(self, name: bytes = b"test", uid: int = 0, arguments: list[bytes] | None = None) -> Thread:
        thread = self.kernel.create_process(name, Credentials.of(uid, uid), FdTable(), self.root.copy())
        thread.strand = TaskStrand(self.kernel.scheduler)
        thread.process.arguments = arguments or [name, b"-x", b""]
        thread.process.environment = [b"A=1", b"SECRET=2"]
        thread.process.memory = FakeGuest()
        return thread

    def become(self, thread: Thread | None) -> None:
        """From now on the test's own task is ``thread``."""
        self.kernel.scheduler.current().owner = thread

    async def open(self, thread: Thread, path: str, flags: int = os.O_RDONLY) -> Any:
        self.become(thread)
        return (await open_path(thread, path.encode(), flags)).acquire()

    async def read(self, thread: Thread, path: str) -> str:
        file = await self.open(thread, path)
        pieces = []
        while piece := await file.read(500):
            pieces.append(piece)
        file.release()
        return b"".join(pieces).decode()

    async def write(self, thread: Thread, path: str, text: str) -> None:
        file = await self.open(thread, path, os.O_WRONLY | os.O_TRUNC)
        try:
            await file.write(text.encode())
        finally:
            file.release()

    async def listdir(self, thread: Thread, path: str) -> list[str]:
        self.become(thread)
        inode = (await resolve(thread, path.encode(), None, FOLLOW)).inode
        names: list[str] = []
        cookie = 0
        while entries := await inode.readdir(cookie):
            names += [entry.name.decode() for entry in entries]
            cookie = entries[-1].cookie
        return names

    async def readlink(self, thread: Thread, path: str) -> str:
        self.become(thread)
        return (await (await resolve(thread, path.encode(), None, 0)).inode.readlink()).decode()


@pytest.fixture
async def machine() -> Machine:
    clock = ManualClock()
    kernel = Kernel(Scheduler(asyncio.get_running_loop()), Config(memory=1 << 30, pids=64, cpus=2), clock)
    root = RamFs()
    nobody = Credentials()
    for name in (b"proc", b"dev", b"sys", b"tmp", b"bin"):
        await root.root.mkdir(name, 0o755, nobody)
    await (await root.root.lookup(b"bin")).create(b"prog", 0o100755, nobody)
    kernel.mounts = MountNamespace(root)
    machine = Machine(kernel, clock)
    for path, fs in (
        ("/proc", make_procfs(kernel, CPUINFO)), ("/dev", await DevFs.create(console=True)),
        ("/dev/pts", DevPts(kernel.terminals)), ("/sys", SysFs(kernel)), ("/sys/fs/cgroup", CgroupFs(kernel)),
    ):  # fmt: skip
        await kernel.mounts.mount_at(path, fs, scheduler=kernel.scheduler)
    machine.root = FsContext(kernel.mounts.root_location())
    kernel.create_init(FdTable(), machine.root.copy())
    return machine
