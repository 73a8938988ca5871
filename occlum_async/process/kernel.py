"""The kernel object: one LibOS, all that its rooms share. Made at boot, handed to whoever needs it."""

from __future__ import annotations

import logging
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from ..abi.signals import SIG_IGN, SIGCHLD
from ..fs.credentials import Credentials
from ..fs.pages import PAGE, Quota
from ..io.boundary.options import DEFAULT, RingOptions
from ..io.tty.registry import Terminals
from ..sched.strand import Scheduler
from .binfmt import ImageCache
from .clock import Clock, HostClock
from .jobs import Jobs
from .limits import UserAccounts
from .process import Process
from .sessions import ProcessGroup, Session
from .sharedmemory import SharedMemory
from .signals import SigAction
from .table import MAX_TASKS, ProcessTable
from .thread import Thread

if TYPE_CHECKING:
    import asyncio

    from ..fs.context import FsContext
    from ..fs.fdtable import FdTable

log = logging.getLogger(__name__)

RELEASE = "6.1.0-occlum-async"
VERSION = "#1 SMP PREEMPT_DYNAMIC"


class Config(msgspec.Struct):
    """What the user of the LibOS chose. Sizes are bytes."""

    hostname: str = "libos"
    memory: int = 1 << 30
    pids: int = MAX_TASKS
    cpus: int = msgspec.field(default_factory=lambda: len(os.sched_getaffinity(0)))
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    grants: bool = True
    boundary: str = "auto"
    exit_cost: int = 0  # cycles
    ring: RingOptions = DEFAULT
    network: str = "none"


class Stats(msgspec.Struct):
    """What happened so far: counts by the name of the system call."""

    syscalls: Counter[str] = msgspec.field(default_factory=Counter)
    unsupported: Counter[str] = msgspec.field(default_factory=Counter)
    oopses: int = 0

    def count_unsupported(self, name: str) -> None:
        """Count something that is not there, and say so the first time."""
        self.unsupported[name] += 1
        if self.unsupported[name] == 1:
            log.info("not supported: %s", name)


class Kernel:
    """One LibOS. ``init`` is pid 1: the LibOS's own reaper, the parent of all that is spawned from outside.

    ``terminals`` are its ptys and its console. ``mounts``, ``disks``, ``boundary``, ``ipc``, ``network``,
    its ``policy`` and ``syscall_table`` are set by who boots the LibOS.
    """

    release = RELEASE
    version = VERSION

    def __init__(self, scheduler: Scheduler, config: Config | None = None, clock: Clock | None = None) -> None:
        self.scheduler = scheduler
        self.loop: asyncio.AbstractEventLoop = scheduler.loop
        self.config = config or Config()
        self.clock: Clock = clock or HostClock(scheduler.loop)
        self.hostname = self.config.hostname.encode()
        self.domainname = b"(none)"
        self.boot_time = self.clock.monotonic()
        self.stats = Stats()
        self.accounts = UserAccounts()
        self.processes = ProcessTable(self.config.pids)
        self.jobs = Jobs(self)
        self.terminals = Terminals(scheduler, self.jobs)
        self.mounts: Any = None
        self.disks: Any = None
        self.boundary: Any = None
        self.ipc: Any = None
        self.network: Any = None
        self.policy: Any = None
        self.syscall_table: dict[int, Any] = {}
        self.calls: dict[int, Any] = {}
        self.supervisor: Any = None
        self.images = ImageCache()
        self.file_memory = Quota(self.config.memory)  # what all file systems in memory share
        self.shared_memory = SharedMemory(self.file_memory)
        self.init: Process

    def create_init(self, files: FdTable, fs: FsContext) -> Process:
        """Make pid 1. It has a thread, so that it looks like any process, but no strand: it never runs.

        It ignores SIGCHLD, so that whoever is left to it vanishes without a trace.
        """
        assert self.processes.last_pid == 0, "init is the first process"
        process = Process(self, self.processes.allocate(), None, None)
        self.init = process
        session = Session(process)
        process.group = ProcessGroup(process.pid, session)
        process.group.members.add(process)
        self.processes.sessions[session.sid] = session
        self.processes.groups[process.group.pgid] = process.group
        process.dispositions[SIGCHLD] = SigAction(SIG_IGN)
        self._add(process, Thread(process, process.pid, Credentials(), files, fs), b"init")
        return process

    def create_process(self, name: bytes, credentials: Credentials, files: FdTable, fs: FsContext) -> Thread:
        """A process that the embedder asked for: a child of init that leads a session. EAGAIN at the limit."""
        process = Process(self, self.processes.allocate(), self.init, None)
        session = Session(process)
        process.group = ProcessGroup(process.pid, session)
        process.group.members.add(process)
        self.processes.sessions[session.sid] = session
        self.processes.groups[process.group.pgid] = process.group
        self.init.children[process.pid] = process
        return self._add(process, Thread(process, process.pid, credentials, files, fs), name)

    def _add(self, process: Process, leader: Thread, name: bytes) -> Thread:
        leader.set_name(name)
        leader.scheduling.affinity = frozenset(range(self.config.cpus))
        process.leader = leader
        self.processes.by_pid[process.pid] = process
        self.add_thread(leader)
        return leader

    def add_thread(self, thread: Thread) -> None:
        """Enter a new thread everywhere. Its number has been allocated."""
        thread.process.threads[thread.tid] = thread
        self.processes.threads[thread.tid] = thread
        self.accounts.add_threads(thread.credentials.uid, 1)

    def current_thread(self) -> Thread | None:
        """The thread on whose behalf the kernel runs now; None for an embedder's own call."""
        owner = self.scheduler.current().owner
        return owner if isinstance(owner, Thread) else None

    def memory_in_use(self) -> int:
        """Bytes that guests and files in memory occupy."""
        guests = sum(sharers[0].memory_usage()[1] for sharers in self.processes.by_memory())
        return guests + self.file_memory.pages_used * PAGE
