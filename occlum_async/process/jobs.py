"""What terminals may see of processes: the process model's answer to ``io.tty.jobs.JobControl``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..abi.signals import SIG_IGN, bit
from . import sending
from .siginfo import SigInfo

if TYPE_CHECKING:
    from .kernel import Kernel
    from .process import Process
    from .sessions import ProcessGroup
    from .thread import Thread


class Jobs:
    """Job control for terminals."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def current(self) -> Thread | None:
        """The calling thread; None when the embedder itself calls."""
        return self._kernel.current_thread()

    def refuses(self, thread: Thread, signo: int) -> bool:
        """Whether ``thread`` blocks or ignores the signal."""
        blocked = bool(thread.signals.blocked & bit(signo))
        return blocked or thread.process.dispositions[signo].handler == SIG_IGN

    def signal_group(self, group: ProcessGroup, signo: int) -> None:
        """Send a signal of the kernel to every member."""
        sending.signal_group(group, signo)

    def signal_process(self, process: Process, signo: int) -> None:
        """Send a signal of the kernel to one process."""
        sending.send_to_process(process, SigInfo.kernel(signo))

    def find_group(self, thread: Thread, pgid: int) -> ProcessGroup | None:
        """The process group of that number; None if there is none."""
        return thread.kernel.processes.groups.get(pgid)
