"""A LibOS process: its threads, its family, its stops, its death."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..abi import signals as abi
from ..fs.credentials import NO_LOGIN
from ..fs.opening import start_executing, stop_executing
from ..sched.waitqueue import WaitQueue
from . import family
from .limits import Limits
from .rusage import NO_USAGE, ResourceUsage
from .sessions import ProcessGroup, Session
from .signals import Dispositions, PendingSignals
from .timers import Timers

if TYPE_CHECKING:
    from ..fs.credentials import Credentials
    from ..fs.dentry import Location
    from ..io.aio import AioContext
    from .host import GuestProcess
    from .kernel import Kernel
    from .thread import Thread


class Process:
    """A process. ``leader`` is its first thread, whose tid is the pid; it may end before the others.

    Life: running (maybe stopped) -> ``exiting`` (every thread must end) -> ``zombie`` (no thread left) ->
    ``reaped`` (waited for, the pid is free). ``wait_status`` is wait(2)'s, final once ``zombie``.
    """

    def __init__(self, kernel: Kernel, pid: int, parent: Process | None, creator: Thread | None) -> None:
        self.kernel = kernel
        self.pid = pid
        self.parent = parent
        self.creator = creator  # the thread of ``parent`` that made this process
        self.leader: Thread
        self.threads: dict[int, Thread] = {}
        self.children: dict[int, Process] = {}
        self.group: ProcessGroup
        self.limits = Limits()
        self.dispositions = Dispositions()
        self.pending = PendingSignals()
        self.timers = Timers(self)
        self.aio_contexts: dict[int, AioContext] = {}  # io_setup(2)'s, by the address that names each
        self.memory: GuestProcess | None = None
        self.executable: Location | None = None
        self.arguments: list[bytes] = []
        self.environment: list[bytes] = []
        self.start_time = kernel.clock.monotonic()
        self.exit_signal = abi.SIGCHLD
        self.executed = False  # has called execve since its birth (setpgid then refuses its parent)
        self.child_subreaper = False
        self.dumpable = True
        self.personality = 0
        self.huge_pages_disabled = False  # PR_SET_THP_DISABLE
        self.oom_score_adj = 0
        self.login = NO_LOGIN
        # Usage: of threads and children that have ended; and the last known of the whole, for a zombie.
        self.children_usage = NO_USAGE
        self._final_usage: ResourceUsage | None = None
        self._earlier_usage = NO_USAGE  # of the programs before the last execve(2)
        # Stops: the signal that stops, 0 when running; what the parent has not been told by wait(2) yet.
        self.stop_signal = 0
        self.stop_report = 0
        self.continue_report = False
        self._stop_told = False  # the parent has been sent CLD_STOPPED
        self.exiting = False
        self.zombie = False
        self.reaped = False
        self.wait_status = 0
        self.signal_waiters = WaitQueue()  # a signal became pending
        self.child_waiters = WaitQueue()  # a child changed its state
        self.exit_waiters = WaitQueue()  # this process is a zombie (pidfds, the embedder)
        self.stop_waiters = WaitQueue()  # stopped threads may go on
        self.thread_waiters = WaitQueue()  # a thread has ended

    def __repr__(self) -> str:
        return f"<Process {self.pid}>"

    # -- identity ----------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The session, by way of the group."""
        return self.group.session

    @property
    def name(self) -> bytes:
        """The leader's name: comm."""
        return self.leader.name

    @property
    def credentials(self) -> Credentials:
        """The leader's credentials."""
        return self.leader.credentials

    @property
    def is_init(self) -> bool:
        """Whether this is the reaper of last resort, which no signal hurts."""
        return self is self.kernel.init

    @property
    def parent_pid(self) -> int:
        """getppid(2); 0 for init."""
        return self.parent.pid if self.parent is not None else 0

    @property
    def stopped(self) -> bool:
        """Whether every thread is stopped."""
        return bool(self.stop_signal) and all(thread.stopped for thread in self.threads.values())

    @property
    def state(self) -> str:
        """The letter of /proc/PID/stat: R, S, T or Z."""
        if self.zombie:
            return "Z"
        if self.stopped:
            return "T"
        return "S" if all(thread.asleep for thread in self.threads.values()) else "R"

    # -- the program -------------------------------------------------------------

    def run_file(self, location: Location | None) -> None:
        """``location`` is the program from now on, None at the end: nobody writes to a file while it runs."""
        if location is not None:
            start_executing(location.inode)
        if self.executable is not None:
            stop_executing(self.executable.inode)
        self.executable = location

    # -- usage -------------------------------------------------------------------

    def own_usage(self) -> ResourceUsage:
        """getrusage(RUSAGE_SELF)."""
        if self._final_usage is not None:
            return self._final_usage
        return self._earlier_usage + self.memory.resource_usage() if self.memory is not None else self._earlier_usage

    def replace_memory(self, memory: GuestProcess | None) -> None:
        """A new program runs: its host process is ``memory``. What the old one has used stays on the account."""
        self._earlier_usage = self.own_usage()
        self.memory = memory

    def cpu_times(self) -> tuple[int, int]:
        """User and system time of all threads in nanoseconds."""
        usage = self.own_usage()
        return usage.user, usage.system

    def memory_usage(self) -> tuple[int, int, int]:
        """Bytes of address space, resident, and shared; zeros without a guest."""
        return self.memory.memory_usage() if self.memory is not None and not self.zombie else (0, 0, 0)

    # -- signals -----------------------------------------------------------------

    def discard_pending(self, mask: int) -> None:
        """Forget pending signals of the process and all its threads."""
        self.pending.discard(mask)
        for thread in self.threads.values():
            thread.signals.pending.discard(mask)
            thread.recalculate()

    def retarget(self, mask: int, former: Thread) -> None:
        """``former`` no longer takes the pending signals of ``mask``: wake other threads that do."""
        for thread in self.threads.values():
            if thread is not former and mask & ~thread.signals.blocked:
                thread.interrupt()
                mask &= thread.signals.blocked
            if not mask:
                return

    # -- stop and continue -------------------------------------------------------

    def begin_stop(self, signo: int) -> None:
        """A stop signal took its default effect: every thread must stop."""
        if self.stop_signal or self.exiting:
            return
        self.stop_signal = signo
        self.continue_report = False
        for thread in self.threads.values():
            thread.interrupt()

    def thread_stopped(self, thread: Thread) -> None:
        """``thread`` has come to its stop; the last one to do so makes the process stopped."""
        thread.stopped = True
        thread.recalculate()
        self._tell_when_stopped()

    def _tell_when_stopped(self) -> None:
        if self.stopped and not self._stop_told and self.threads:
            self._stop_told = True
            self.stop_report = self.stop_signal
            family.tell_parent_of_stop(self, abi.CLD_STOPPED, self.stop_signal)

    def resume(self) -> None:
        """SIGCONT was sent: whoever is stopped goes on, whatever becomes of the signal itself."""
        if not self.stop_signal:
            return
        whole = self.stopped
        self.stop_signal = 0
        self.stop_report = 0
        self._stop_told = False
        for thread in self.threads.values():
            thread.stopped = False
            thread.recalculate()
        self.stop_waiters.wake()
        if whole:
            self.continue_report = True
            family.tell_parent_of_stop(self, abi.CLD_CONTINUED, abi.SIGCONT)

    # -- death -------------------------------------------------------------------

    def exit(self, status: int) -> None:
        """exit_group(2), or a deadly signal: every thread must end, ``status`` is wait(2)'s. The first call counts."""
        if self.exiting or self.zombie:
            return
        self.exiting = True
        self.wait_status = status
        self.stop_signal = 0
        for thread in list(self.threads.values()):
            thread.stopped = False
            thread.interrupt()
        self.stop_waiters.wake()

    def thread_exited(self, thread: Thread) -> None:
        """``thread`` is gone (called by ``Thread.exit``); with the last one the process is."""
        del self.threads[thread.tid]
        table = self.kernel.processes
        del table.threads[thread.tid]
        self.kernel.accounts.add_threads(thread.credentials.uid, -1)
        if thread is not self.leader:
            table.release_task()
        thread.signals.pending.discard(~0)
        family.pass_on_children(thread)
        if not self.threads:
            self._die()
        else:
            self.retarget(self.pending.mask, thread)
            self._tell_when_stopped()
        self.thread_waiters.wake()

    def _die(self) -> None:
        """The last thread is gone. Order as Linux: the terminal, the children, the groups, then the parent."""
        if not self.exiting:
            self.wait_status = self.leader.exit_status
        if self.memory is not None:
            self.memory.settle()
        self._final_usage = self.own_usage()
        self.exiting = True
        self.zombie = True
        self.run_file(None)
        self.timers.close()
        self.end_aio()
        self.pending.discard(~0)
        self.dispositions.users -= 1
        family.leave_terminal(self)
        family.give_away_children(self)
        family.release_orphaned_groups(self)
        self.exit_waiters.wake()
        family.tell_parent_of_death(self)

    def end_aio(self) -> None:
        """The memory that the AIO contexts lie in goes, and they with it."""
        for context in self.aio_contexts.values():
            context.close()
        self.aio_contexts.clear()

    def reap(self) -> None:
        """Somebody has waited for the zombie: its pid is free again."""
        assert self.zombie and not self.reaped, "only a zombie is reaped, and once"
        self.reaped = True
        if self.parent is not None:
            self.parent.children.pop(self.pid, None)
            self.parent.children_usage += self.own_usage() + self.children_usage
        family.forget(self)

    async def become_single_threaded(self, survivor: Thread) -> None:
        """For exec: every thread but ``survivor`` ends; it then bears the pid."""
        others = [thread for thread in self.threads.values() if thread is not survivor]
        for thread in others:
            thread.dying = True
            thread.interrupt()
        self.stop_waiters.wake()
        while len(self.threads) > 1:
            await self.thread_waiters.wait(self.kernel.scheduler, interruptible=False)
        if survivor is not self.leader:
            family.promote(survivor)
