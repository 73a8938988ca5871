"""The numbers: which pid names which process, thread, group and session."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..abi.errors import SyscallError

if TYPE_CHECKING:
    from .process import Process
    from .sessions import ProcessGroup, Session
    from .thread import Thread

PID_MAX = 32768
RESERVED_PIDS = 300  # numbers below are given out in the first round only
# A task may also keep the number of a dead group's and a dead session's leader in use: numbers never run out.
MAX_TASKS = (PID_MAX - RESERVED_PIDS) // 3


class ProcessTable:
    """All processes and threads, zombies included. Iterates over the processes by pid.

    ``limit`` bounds the tasks (threads, and processes not yet waited for), as Linux's pids cgroup does.
    """

    def __init__(self, limit: int = MAX_TASKS) -> None:
        self.limit = min(limit, MAX_TASKS)
        self.tasks = 0  # living threads, and zombies among processes
        self.by_pid: dict[int, Process] = {}
        self.threads: dict[int, Thread] = {}
        self.groups: dict[int, ProcessGroup] = {}
        self.sessions: dict[int, Session] = {}
        self.forks = 0  # processes and threads ever made
        self.last_pid = 0
        self.logins = 0  # login sessions ever begun

    def __iter__(self) -> Iterator[Process]:
        return iter([self.by_pid[pid] for pid in sorted(self.by_pid)])

    def __len__(self) -> int:
        return len(self.by_pid)

    def get(self, pid: int) -> Process | None:
        """The process (maybe a zombie) of that pid."""
        return self.by_pid.get(pid)

    def find(self, pid: int) -> Process:
        """The process of that pid; ESRCH."""
        process = self.by_pid.get(pid)
        if process is None:
            raise SyscallError(errno.ESRCH)
        return process

    def thread(self, tid: int) -> Thread:
        """The living thread of that tid; ESRCH."""
        thread = self.threads.get(tid)
        if thread is None:
            raise SyscallError(errno.ESRCH)
        return thread

    def task(self, tid: int) -> Thread:
        """The thread of that tid, or the first one of a zombie; ESRCH."""
        thread = self.threads.get(tid)
        return thread if thread is not None else self.find(tid).leader

    def by_memory(self) -> list[list[Process]]:
        """The processes that have memory; those that share theirs (vfork, CLONE_VM) stand together."""
        spaces: dict[object, list[Process]] = {}
        for process in self:
            if process.memory is not None and process.memory.host_pid:
                spaces.setdefault(process.memory.address_space, []).append(process)
        return list(spaces.values())

    def allocate(self) -> int:
        """A free number for one task more; EAGAIN at the limit."""
        if self.tasks >= self.limit:
            raise SyscallError(errno.EAGAIN)
        pid = self.last_pid
        while True:
            pid = pid + 1 if pid + 1 < PID_MAX else RESERVED_PIDS
            if not self._in_use(pid):
                self.last_pid = pid
                self.forks += 1
                self.tasks += 1
                return pid

    def release_task(self) -> None:
        """A thread that was not its process' first has ended, or a zombie has been waited for."""
        self.tasks -= 1
        assert self.tasks >= 0, "more tasks ended than began"

    def _in_use(self, pid: int) -> bool:
        return pid in self.threads or pid in self.by_pid or pid in self.groups or pid in self.sessions
