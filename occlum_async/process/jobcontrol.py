"""What terminals may see and do of the process model: ``io.tty.jobs.JobControl``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..abi import signals as abi
from . import sending
from .siginfo import SigInfo

if TYPE_CHECKING:
    from .kernel import Kernel
    from .process import Process
    from .sessions import ProcessGroup
    from .thread import Thread


class KernelJobs:
    """The job control of one LibOS."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def current(self) -> Thread | None:
        """The calling thread; None when the embedder itself calls."""
        thread: Thread | None = self.kernel.scheduler.current().owner
        return thread

    def refuses(self, thread: Thread, signo: int) -> bool:
        """Whether ``thread`` blocks or ignores the signal."""
        if thread.signals.blocked & abi.bit(signo):
            return True
        return thread.process.dispositions[signo].handler == abi.SIG_IGN

    def signal_group(self, group: ProcessGroup, signo: int) -> None:
        """The kernel's own signal to a group."""
        sending.signal_group(group, signo)

    def signal_process(self, process: Process, signo: int) -> None:
        """The kernel's own signal to a process."""
        sending.send_to_process(process, SigInfo.kernel(signo))

    def find_group(self, thread: Thread, pgid: int) -> ProcessGroup | None:
        """The process group of that number."""
        return self.kernel.processes.groups.get(pgid)
