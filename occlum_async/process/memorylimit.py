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

INTERVAL = 0.25  # seconds
MAX_INTERVAL = 1.0
MAX_SHARE = 0.01  # of a core that looking may cost
OOM_ADJUST_RANGE = 1000


class MemoryWatch:
    """Looks at the guests' resident memory at intervals, for as long as the LibOS lives."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._task = kernel.loop.create_task(self._run(), name="memory limit")

    def close(self) -> None:
        """Stop looking."""
        self._task.cancel()

    async def _run(self) -> None:
        pause = INTERVAL
        while True:
            await asyncio.sleep(pause)
            before = time.monotonic()
            self._look()
            pause = min(MAX_INTERVAL, max(INTERVAL, (time.monotonic() - before) / MAX_SHARE))

    def _look(self) -> None:
        kernel = self._kernel
        limit = kernel.config.memory
        usage = {process: self._private(process) for process in kernel.processes if process.memory is not None}
        shared = kernel.shared_memory.measure()
        over = sum(usage.values()) + self._held() > limit
        if kernel.supervisor is not None:
            kernel.shared_memory.collect(kernel.supervisor.hosts, over)
            over = sum(usage.values()) + self._held() > limit
        if over:
            # Forked processes share what neither has written: before one is killed, count such pages once.
            usage = {process: self._proportional(process, estimate) for process, estimate in usage.items()}
            over = sum(usage.values()) + self._held() > limit
        if over and usage:
            for process in usage:
                usage[process] += shared[process] + self._open(process)
            victim = max(usage, key=lambda process: self._badness(process, usage[process], limit))
            log.warning("out of memory: killing process %d (%s)", victim.pid, victim.name.decode(errors="replace"))
            sending.send_to_process(victim, SigInfo.kernel(SIGKILL))

    def _held(self) -> int:
        """Bytes that files in memory and pipes hold."""
        kernel = self._kernel
        return (kernel.file_memory.pages_used + (kernel.ipc.pipe_pages.total if kernel.ipc is not None else 0)) * PAGE

    @staticmethod
    def _open(process: Process) -> int:
        """What the files that the process has open hold in the kernel."""
        tables = {thread.files for thread in process.threads.values()}
        return sum(file.held for table in tables for _, file in table.items())

    @staticmethod
    def _private(process: Process) -> int:
        """Resident bytes that are the process' own: what it shares with others or with files is not counted."""
        _, resident, common = process.memory_usage()
        return max(0, resident - common)

    @staticmethod
    def _proportional(process: Process, estimate: int) -> int:
        pid = process.memory.host_pid if process.memory is not None else 0
        exact = hoststat.proportional_memory(pid) if pid else None
        return estimate if exact is None else min(estimate, exact)

    @staticmethod
    def _badness(process: Process, usage: int, limit: int) -> int:
        return usage + process.oom_score_adj * limit // OOM_ADJUST_RANGE
