"""A process model that is just enough for terminals, and what programs do with these."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from occlum_async.abi.user import PythonPointer
from occlum_async.fs.credentials import Credentials
from occlum_async.io.file import File
from occlum_async.io.tty.file import TerminalFile
from occlum_async.io.tty.pty import PtyMaster
from occlum_async.io.tty.registry import Terminals
from occlum_async.sched.strand import Scheduler


@dataclass(eq=False)
class FakeSession:
    sid: int
    leader: Any = None
    terminal: Any = None
    foreground: Any = None
    hung_up: Any = None


@dataclass(eq=False)
class FakeGroup:
    pgid: int
    session: FakeSession
    orphaned: bool = False

    def is_orphaned(self) -> bool:
        return self.orphaned


@dataclass(eq=False)
class FakeProcess:
    pid: int
    group: FakeGroup

    @property
    def session(self) -> FakeSession:
        return self.group.session


class FakeFiles:
    def __init__(self) -> None:
        self.installed: list[Any] = []

    def install(self, file: Any, cloexec: bool = False, minimum: int = 0) -> int:
        self.installed.append(file.acquire())
        return len(self.installed) - 1


@dataclass(eq=False)
class FakeThread:
    process: FakeProcess
    credentials: Credentials = field(default_factory=Credentials)
    files: FakeFiles = field(default_factory=FakeFiles)


class FakeJobs:
    """Records the signals that terminals send."""

    def __init__(self) -> None:
        self.thread: FakeThread | None = None
        self.sent: list[tuple[str, int, int]] = []
        self.refused: set[int] = set()
        self.groups: dict[int, FakeGroup] = {}

    def current(self) -> Any:
        return self.thread

    def refuses(self, thread: Any, signo: int) -> bool:
        return signo in self.refused

    def signal_group(self, group: Any, signo: int) -> None:
        self.sent.append(("group", group.pgid, signo))

    def signal_process(self, process: Any, signo: int) -> None:
        self.sent.append(("process", process.pid, signo))

    def find_group(self, thread: Any, pgid: int) -> Any:
        return self.groups.get(pgid)

    def leader(self, pid: int) -> FakeThread:
        """A thread of a fresh session's leader."""
        session = FakeSession(pid)
        process = FakeProcess(pid, self.group(pid, session))
        session.leader = process
        return FakeThread(process)

    def group(self, pgid: int, session: FakeSession) -> FakeGroup:
        group = self.groups[pgid] = FakeGroup(pgid, session)
        return group


@dataclass
class Pair:
    """A pty: both of its ends, and the process model around it."""

    terminals: Terminals
    jobs: FakeJobs
    master: PtyMaster
    slave: TerminalFile
    leader: FakeThread


async def ask(file: File, command: int, size: int = 4) -> bytes:
    """A request that answers with ``size`` bytes."""
    pointer = PythonPointer(bytearray(size))
    await file.ioctl(None, command, pointer)
    return bytes(pointer.data)


async def tell(file: File, thread: object, command: int, data: bytes | int) -> int:
    pointer = PythonPointer(address=data) if isinstance(data, int) else PythonPointer(bytearray(data))
    return await file.ioctl(thread, command, pointer)


async def blocked(awaitable: object) -> asyncio.Task[object]:
    """A task that has gone as far as it can without help."""
    task = asyncio.ensure_future(awaitable)  # type: ignore[arg-type]
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    return task


@pytest.fixture
async def jobs() -> FakeJobs:
    return FakeJobs()


@pytest.fixture
async def terminals(jobs: FakeJobs) -> Terminals:
    return Terminals(Scheduler(asyncio.get_running_loop()), jobs, limit=8)


@pytest.fixture
async def pair(terminals: Terminals, jobs: FakeJobs) -> Pair:
    """An unlocked pty that controls the session of process 10, whose group is in the foreground."""
    master = terminals.open_master(2)
    master.acquire()
    master.terminal.locked = False
    leader = jobs.leader(10)
    slave = terminals.open_slave(master.terminal.index, 2, leader)
    slave.acquire()
    return Pair(terminals, jobs, master, slave, leader)
