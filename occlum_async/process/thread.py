"""A thread of a LibOS process: its identity, its signals, its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..abi import signals as abi
from ..sched.strand import Scheduler, Strand
from . import delivery
from .rusage import NO_USAGE, ResourceUsage
from .siginfo import SigInfo
from .signals import NO_ALTSTACK, Delivery, SignalState

if TYPE_CHECKING:
    from ..fs.context import FsContext
    from ..fs.credentials import Credentials
    from ..fs.fdtable import FdTable
    from ..io.uring.submitter import Submitter
    from .host import GuestThread
    from .kernel import Kernel
    from .process import Process

COMM_SIZE = 15  # bytes of a thread's name
DEFAULT_TIMER_SLACK = 50_000


class Scheduling(msgspec.Struct):
    """sched(7)'s attributes, as set; the host schedules all guests alike."""

    policy: int = 0
    priority: int = 0
    nice: int = 0
    reset_on_fork: bool = False
    affinity: frozenset[int] = frozenset()
    io_priority: int = 0
    timer_slack: int = DEFAULT_TIMER_SLACK

    def copy(self) -> Scheduling:
        """For a child: SCHED_RESET_ON_FORK drops what is privileged."""
        if not self.reset_on_fork:
            return Scheduling(
                self.policy, self.priority, self.nice, False, self.affinity, self.io_priority, self.timer_slack
            )
        return Scheduling(0, 0, max(self.nice, 0), False, self.affinity, self.io_priority, self.timer_slack)


class Thread:
    """One thread. ``strand`` is set by whoever runs it: the guest's dispatcher, or a Python program's task.

    Invariant: a thread is in ``process.threads`` and in the process table exactly until ``exit``.
    """

    def __init__(self, process: Process, tid: int, credentials: Credentials, files: FdTable, fs: FsContext) -> None:
        self.process = process
        self.kernel: Kernel = process.kernel
        self.scheduler: Scheduler = process.kernel.scheduler
        self.tid = tid
        self.name = b""
        self.credentials = credentials
        self.files = files.acquire()
        self.fs = fs.acquire()
        self._strand: Strand | None = None
        self.guest: GuestThread | None = None
        self.signals = SignalState(self)
        self.scheduling = Scheduling()
        self.start_time = process.kernel.clock.monotonic()
        self.no_new_privs = False
        self.parent_death_signal = 0
        self.clear_child_tid = 0  # set_tid_address(2)
        self.robust_list: tuple[int, int] = (0, 0)  # set_robust_list(2): head, length
        self.submitter: Submitter | None = None  # its asynchronous requests, once it has made one
        # The absolute end (monotonic ns) of a wait that is restarted after a signal without a handler.
        self.restart_deadline: int | None = None
        self.stopped = False
        self.dying = False  # another thread executes a program: this one must end, the process lives on
        self.exited = False
        self.exit_status = 0

    def __repr__(self) -> str:
        return f"<Thread {self.tid} of {self.process.pid} {self.name.decode(errors='replace')!r}>"

    @property
    def strand(self) -> Strand | None:
        """The line of execution that this thread's life is; None until it has been started."""
        return self._strand

    @strand.setter
    def strand(self, strand: Strand) -> None:
        self._strand = strand
        strand.owner = self
        strand.interrupted = self.signal_pending()

    def set_name(self, name: bytes) -> None:
        """prctl(PR_SET_NAME): at most 15 bytes count."""
        self.name = name[:COMM_SIZE]

    def set_credentials(self, credentials: Credentials) -> None:
        """Act as somebody else from now on; the thread counts for the new real uid."""
        accounts = self.kernel.accounts
        if credentials.uid != self.credentials.uid:
            accounts.add_threads(self.credentials.uid, -1)
            accounts.add_threads(credentials.uid, 1)
        self.credentials = credentials
        self.publish_identity()

    def publish_identity(self) -> None:
        """Tell the host side what the identity grant answers. To be called whenever one of it has changed."""
        if self.guest is not None:
            who, process = self.credentials, self.process
            self.guest.set_identity(process.pid, self.tid, process.parent_pid, who.uid, who.euid, who.gid, who.egid)

    # -- signals -----------------------------------------------------------------

    @property
    def pending_mask(self) -> int:
        """Every signal that waits for this thread, blocked or not."""
        return self.signals.pending.mask | self.process.pending.mask

    def signal_pending(self) -> bool:
        """Whether ``next_delivery`` has something to say."""
        process = self.process
        if process.exiting or self.dying or (process.stop_signal and not self.stopped):
            return True
        return bool((self.signals.pending.mask | process.pending.mask) & ~self.signals.blocked)

    def next_delivery(self) -> Delivery | None:
        """Take the next signal that must be acted upon; None when the thread may go on. See ``delivery``."""
        return delivery.next_delivery(self)

    def take_pending(self, mask: int) -> SigInfo | None:
        """Take a pending signal of ``mask`` off its queue without acting upon it (sigtimedwait, signalfd)."""
        info = self.signals.pending.take(mask) or self.process.pending.take(mask)
        if info is not None:
            self.recalculate()
        return info

    def has_pending(self, mask: int) -> bool:
        """Whether ``take_pending`` would find one."""
        return bool(self.pending_mask & mask)

    def force_signal(self, info: SigInfo) -> None:
        """An instruction's fault: it can neither be blocked nor ignored. See ``delivery``."""
        delivery.force_signal(self, info)

    def set_blocked(self, mask: int) -> None:
        """Set the signal mask. Signals of the process that this thread no longer takes go to another."""
        mask &= ~abi.UNBLOCKABLE
        newly = mask & ~self.signals.blocked & self.process.pending.mask
        self.signals.blocked = mask
        if newly:
            self.process.retarget(newly, self)
        self.recalculate()

    def recalculate(self) -> None:
        """Note whether something waits, after the mask or the queues have changed."""
        if self._strand is not None:
            self._strand.interrupted = self.signal_pending()

    def interrupt(self) -> None:
        """Have the thread look at its signals: end its wait, or make it leave the guest's code."""
        if self._strand is not None:
            self._strand.interrupt()
        if self.guest is not None:
            self.guest.kick()

    async def wait_until_continued(self) -> None:
        """Stay stopped until SIGCONT or death."""
        process = self.process
        while self.stopped and not process.exiting and not self.dying:
            await process.stop_waiters.wait(self.scheduler, interruptible=False)

    @property
    def asleep(self) -> bool:
        """Whether it waits for something."""
        strand = self._strand
        return strand is None or strand.parked or (self.guest is not None and self.guest.asleep())

    # -- usage -------------------------------------------------------------------

    def cpu_times(self) -> tuple[int, int]:
        """User and system time in nanoseconds."""
        return self.guest.cpu_times() if self.guest is not None else (0, 0)

    def usage(self) -> ResourceUsage:
        """getrusage(RUSAGE_THREAD)."""
        user, system = self.cpu_times()
        whole = self.process.own_usage()
        return NO_USAGE + ResourceUsage(user, system, whole.max_resident)

    # -- life --------------------------------------------------------------------

    def reset_for_exec(self) -> None:
        """execve(2) forgets what belonged to the old program."""
        self.signals.altstack = NO_ALTSTACK
        self.clear_child_tid = 0
        self.robust_list = (0, 0)
        self.restart_deadline = None
        self.end_requests()

    def end_requests(self) -> None:
        """Whatever the thread has asked for asynchronously comes to its end."""
        if self.submitter is not None:
            self.submitter.end()

    def exit(self, status: int = 0) -> None:
        """The thread has ended: let go of everything. ``status`` counts if the process is not exiting otherwise.

        Its owner has cleared ``clear_child_tid`` and the robust list, and calls this last.
        """
        if self.exited:
            return
        self.exited = True
        self.exit_status = status
        self.end_requests()
        self.files.release()
        self.fs.release()
        self.process.thread_exited(self)
