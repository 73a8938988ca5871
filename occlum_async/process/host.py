"""What the model asks of the host side of a process: two small interfaces that ``guest`` implements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from .limits import Limits
from .rusage import ResourceUsage


class GuestProcess(Protocol):
    """``Process.memory``: the host process that runs a LibOS process. None for Python programs."""

    @property
    def host_pid(self) -> int:
        """The host's pid, 0 when it is gone."""
        ...

    @property
    def address_space(self) -> object:
        """One object for all processes that share this memory (vfork(2), CLONE_VM)."""
        ...

    def read(self, address: int, size: int) -> bytes:
        """Copy ``size`` bytes in from ``address``; EFAULT."""
        ...

    def write(self, address: int, data: bytes) -> None:
        """Copy ``data`` out; EFAULT."""
        ...

    def apply_limits(self, limits: Limits) -> None:
        """Have the host bind the limits that it alone can bind: those of memory."""
        ...

    def resource_usage(self) -> ResourceUsage:
        """What the host process has used so far, all its threads together."""
        ...

    def settle(self) -> None:
        """The program has ended: note what it has used, once and for all."""
        ...

    def memory_usage(self) -> tuple[int, int, int]:
        """Bytes of address space, resident, and shared."""
        ...

    def memory_map(self) -> Sequence[Any]:
        """The mappings, for /proc/PID/maps."""
        ...


class GuestThread(Protocol):
    """``Thread.guest``: the host thread that runs a LibOS thread."""

    def kick(self) -> None:
        """Make it enter the kernel soon if it is running guest code: a signal waits."""
        ...

    def set_identity(self, *identity: int) -> None:
        """pid, tid, ppid, uid, euid, gid, egid: what the identity grant answers from now on."""
        ...

    def cpu_times(self) -> tuple[int, int]:
        """User and system time in nanoseconds."""
        ...

    def asleep(self) -> bool:
        """Whether it waits in a call that it makes of the host by itself."""
        ...

    def stack_pointer(self) -> int:
        """The guest's stack pointer at its present system call."""
        ...
