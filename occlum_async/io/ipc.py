"""The IPC namespace: every object that processes find by a key or a name and that is no file."""

from __future__ import annotations

import sys
from collections.abc import Hashable

from ..sched.waitqueue import Waiter, WaitQueue
from .mqueue import QueueTable
from .msgqueue import MessageQueueTable
from .semaphore import SemaphoreTable
from .shm import DEFAULT_TOTAL, SegmentTable
from .tally import Tally
from .uring.account import Accounts


class IpcNamespace:
    """System V and POSIX IPC of one LibOS, and the counts of what users hold in pipes, epolls, rings and AIO.

    Processes are opaque owners here. Whoever forks, executes or ends one says so, with ``forked``,
    ``executed`` and the wait queue that is given to ``enroll``.
    """

    def __init__(self, shared_memory: int = DEFAULT_TOTAL, pipe_pages: int = sys.maxsize) -> None:
        self.semaphores = SemaphoreTable()
        self.message_queues = MessageQueueTable()
        self.segments = SegmentTable(shared_memory)
        self.posix_queues = QueueTable()
        self.pipe_pages = Tally(pipe_pages)
        self.epoll_watches = Tally()
        self.uring_accounts = Accounts()
        self.aio_events = Tally()
        self._enrolled: dict[Hashable, tuple[WaitQueue, Waiter]] = {}

    def enroll(self, owner: Hashable, pid: int, exit_waiters: WaitQueue) -> None:
        """``owner`` leaves something here that his end, told by ``exit_waiters``, must clean up."""
        if owner not in self._enrolled:
            self._enrolled[owner] = exit_waiters, exit_waiters.add(lambda _: self._exited(owner, pid))

    def _exited(self, owner: Hashable, pid: int) -> None:
        queue, waiter = self._enrolled.pop(owner)
        queue.remove(waiter)
        self.segments.detach_all(owner, pid)
        self.semaphores.owner_exits(owner, pid)
        self.posix_queues.owner_exits(owner)

    def forked(self, owner: Hashable, child: Hashable, child_pid: int, exit_waiters: WaitQueue) -> None:
        """fork(2): the child has the mappings of ``owner``."""
        if owner in self.segments.attachments:
            self.segments.inherit(owner, child, child_pid)
            self.enroll(child, child_pid, exit_waiters)

    def executed(self, owner: Hashable, pid: int) -> None:
        """execve(2): the mappings are gone; what is to be undone at exit stays."""
        self.segments.detach_all(owner, pid)
        self.posix_queues.owner_exits(owner)
