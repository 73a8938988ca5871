"""The LibOS's memory limit: what guests have written is counted now and then, and above the limit one must go.

The host bounds each guest's private memory by itself (``HostProcess.apply_limits``); this bounds their sum, as a memory
control group does: the largest process is killed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from ..abi.signals import SIGKILL
from ..fs.pages import PAGE
from . import hoststat, sending
from .siginfo import SigInfo

if TYPE_CHECKING:
    from .kernel import Kernel
    from .process import Process

log = logging.getLogger(__name__)

INTERVAL = 0.25  # seconds between two looks while there is plenty
MIN_INTERVAL = 0.01
MAX_INTERVAL = 1.0
MAX_SHARE = 0.01  # of a core that looking may cost
FILL_RATE = 4 << 30  # bytes a second: about what two cores write to fresh pages
OOM_ADJUST_RANGE = 1000
# What files leave to programs, as parts of the limit: so much always, and what programs have, up to so much. Thus files
# come to their end (ENOSPC) before a program must die for them.
SPARE = 32
MAX_LEFT = 4


class MemoryWatch:
    """Looks at the guests' resident memory at intervals, for as long as the LibOS lives."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._victims: list[Process] = []  # killed last, for memory that may not be free yet
        self._task = kernel.loop.create_task(self._run(), name="memory limit")

    def close(self) -> None:
        """Stop looking."""
        self._task.cancel()

    async def _run(self) -> None:
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            before = time.monotonic()
            room = self.look()
            cost = (time.monotonic() - before) / MAX_SHARE
            pause = min(MAX_INTERVAL, max(MIN_INTERVAL, cost, min(INTERVAL, room / FILL_RATE)))

    def look(self) -> int:
        """Kill the largest if all are above the limit; how many bytes below it they are."""
        kernel = self._kernel
        limit = kernel.config.memory
        spaces = kernel.processes.by_memory()
        usage = [_private(sharers[0]) for sharers in spaces]
        shared = kernel.shared_memory.measure()
        room = limit - sum(usage) - self._held()
        kernel.file_memory.pages = (limit - limit // SPARE - min(sum(usage), limit // MAX_LEFT)) // PAGE
        if kernel.supervisor is not None:
            kernel.shared_memory.collect(kernel.supervisor.hosts, room < 0)
            room = limit - sum(usage) - self._held()
        if room < 0:
            # Forked processes share what neither has written: before one is killed, count such pages once.
            usage = [_proportional(sharers[0], own) for sharers, own in zip(spaces, usage, strict=True)]
            room = limit - sum(usage) - self._held()
        if room < 0 and spaces and not any(_alive(process) for process in self._victims):
            for index, sharers in enumerate(spaces):
                usage[index] += sum(shared[process] + self._open(process) for process in sharers)
            worst = max(range(len(spaces)), key=lambda index: self._badness(spaces[index], usage[index], limit))
            self._kill(spaces[worst])
        return room

    def _kill(self, sharers: list[Process]) -> None:
        """End all that share the memory: it is free only without any of them."""
        self._victims = sharers
        victim = sharers[0]
        log.warning("out of memory: killing process %d (%s)", victim.pid, victim.name.decode(errors="replace"))
        for process in sharers:
            sending.send_to_process(process, SigInfo.kernel(SIGKILL))

    def _held(self) -> int:
        """Bytes that files in memory, pipes and sockets hold."""
        kernel = self._kernel
        pipes: int = kernel.ipc.pipe_pages.total * PAGE if kernel.ipc is not None else 0
        sockets: int = kernel.network.memory.used if kernel.network is not None else 0
        return kernel.file_memory.pages_used * PAGE + pipes + sockets

    @staticmethod
    def _open(process: Process) -> int:
        """What the files that the process has open hold in the kernel."""
        tables = {thread.files for thread in process.threads.values()}
        return sum(file.held for table in tables for _, file in table.items())

    @staticmethod
    def _badness(sharers: list[Process], usage: int, limit: int) -> int:
        return usage + sharers[0].oom_score_adj * limit // OOM_ADJUST_RANGE


def _alive(process: Process) -> bool:
    return process.memory is not None and process.memory.host_pid != 0


def _private(process: Process) -> int:
    """Resident bytes that are the process' own: what it shares with others or with files is not counted."""
    _, resident, common = process.memory.memory_usage() if process.memory is not None else (0, 0, 0)
    return max(0, resident - common)


def _proportional(process: Process, estimate: int) -> int:
    exact = hoststat.proportional_memory(process.memory.host_pid) if process.memory is not None else None
    return estimate if exact is None else min(estimate, exact)
