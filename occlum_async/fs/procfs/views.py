"""What procfs uses of the process model, and who may look at whom."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any, Protocol

from ...abi.errors import SyscallError
from ..credentials import CAP_SYS_PTRACE, Credentials

TICK = 10**7  # nanoseconds of a clock tick, USER_HZ being 100
PAGE = 4096


class ThreadView(Protocol):
    """A ``process.Thread``. ``Any`` stands for objects whose attributes are used where they are shown."""

    tid: int
    name: bytes
    credentials: Credentials
    start_time: int
    no_new_privs: bool
    exited: bool
    stopped: bool

    @property
    def process(self) -> Any: ...
    @property
    def files(self) -> Any: ...
    @property
    def fs(self) -> Any: ...
    @property
    def signals(self) -> Any: ...
    @property
    def scheduling(self) -> Any: ...
    @property
    def asleep(self) -> bool: ...
    @property
    def guest(self) -> Any: ...

    def cpu_times(self) -> tuple[int, int]: ...
    def set_name(self, name: bytes) -> None: ...


class ProcessView(Protocol):
    """A ``process.Process``."""

    pid: int
    arguments: list[bytes]
    environment: list[bytes]
    start_time: int
    dumpable: bool
    personality: int
    oom_score_adj: int
    login: tuple[int, int]
    exit_signal: int
    zombie: bool
    wait_status: int

    @property
    def leader(self) -> Any: ...
    @property
    def threads(self) -> dict[int, Any]: ...
    @property
    def children(self) -> dict[int, Any]: ...
    @property
    def parent_pid(self) -> int: ...
    @property
    def group(self) -> Any: ...
    @property
    def session(self) -> Any: ...
    @property
    def memory(self) -> Any: ...
    @property
    def executable(self) -> Any: ...
    @property
    def limits(self) -> Any: ...
    @property
    def pending(self) -> Any: ...
    @property
    def dispositions(self) -> Any: ...
    @property
    def children_usage(self) -> Any: ...
    @property
    def credentials(self) -> Credentials: ...
    @property
    def state(self) -> str: ...

    def own_usage(self) -> Any: ...
    def memory_usage(self) -> tuple[int, int, int]: ...


class ProcessesView(Protocol):
    """A ``process.ProcessTable``."""

    forks: int
    last_pid: int
    logins: int

    @property
    def threads(self) -> dict[int, Any]: ...
    @property
    def by_pid(self) -> dict[int, Any]: ...

    def __iter__(self) -> Iterator[Any]: ...
    def get(self, pid: int) -> Any: ...


class KernelView(Protocol):
    """The ``process.Kernel``."""

    hostname: bytes
    domainname: bytes
    release: str
    version: str
    boot_time: int

    @property
    def scheduler(self) -> Any: ...
    @property
    def config(self) -> Any: ...
    @property
    def clock(self) -> Any: ...
    @property
    def processes(self) -> ProcessesView: ...
    @property
    def mounts(self) -> Any: ...
    @property
    def network(self) -> Any: ...
    @property
    def init(self) -> Any: ...

    def current_thread(self) -> Any: ...
    def memory_in_use(self) -> int: ...


def may_inspect(reader: ThreadView | None, process: ProcessView) -> bool:
    """Linux's rule for reading another process' secrets: its own user's (if dumpable), or CAP_SYS_PTRACE.

    ``reader`` None is the embedder, who may.
    """
    if reader is None or reader.process is process:
        return True
    mine, theirs = reader.credentials, process.credentials
    if mine.capable(CAP_SYS_PTRACE):
        return True
    same_user = mine.fsuid == theirs.euid == theirs.suid == theirs.uid
    same_group = mine.fsgid == theirs.egid == theirs.sgid == theirs.gid
    return same_user and same_group and process.dumpable and not theirs.permitted & ~mine.permitted


def check_inspect(reader: ThreadView | None, process: ProcessView) -> None:
    """EACCES unless ``may_inspect``."""
    if not may_inspect(reader, process):
        raise SyscallError(errno.EACCES)


def owner(process: ProcessView) -> tuple[int, int]:
    """Who owns the files of a process: its effective user, or root if it is not dumpable."""
    if not process.dumpable:
        return 0, 0
    return process.credentials.euid, process.credentials.egid


def cpu_list(cpus: frozenset[int]) -> str:
    """A set of CPUs as ranges: ``0-2,5``."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and parts[-1][1] == cpu - 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def escape(text: bytes) -> bytes:
    """A path as in /proc/mounts: what would break a line into other fields is written in octal."""
    for byte in b"\\ \t\n#":
        text = text.replace(bytes((byte,)), b"\\%03o" % byte)
    return text
