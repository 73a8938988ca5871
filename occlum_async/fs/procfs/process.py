"""/proc/PID and /proc/PID/task/TID."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ...abi.errors import SyscallError
from ...abi.stat import S_IFDIR, S_IFLNK, S_IFREG
from ...io.file import File
from ..credentials import CAP_AUDIT_CONTROL, CAP_SYS_RESOURCE, NO_LOGIN, UNSET
from ..inode import Inode
from ..synthetic import Directory, SyntheticInode, TextFile
from . import maps, mounts, status
from .descriptors import FdDirectory
from .filesystem import ProcFs
from .memory import MemoryFile
from .views import ProcessView, ThreadView, check_inspect, owner

OOM_DISABLE, OOM_ADJUST_MAX, OOM_SCORE_ADJ_MAX = -17, 15, 1000
COMM_SIZE = 15
IDENTITY_MAP = b"         0          0 4294967295\n"


class TaskDirectory(Directory):
    """One process, or one of its threads (``whole`` False). Its files show what is when they are read."""

    fs: ProcFs

    def __init__(self, fs: ProcFs, path: bytes, thread: ThreadView, whole: bool) -> None:
        super().__init__(fs, path, 0o555, *owner(thread.process))
        self.thread = thread
        self.process: ProcessView = thread.process
        self.whole = whole

    def entries(self) -> Iterable[tuple[int, bytes, int]]:
        found = [(index, name, S_IFREG) for index, name in enumerate(TEXTS, 1) if self._shows(name)]
        found += [(200 + index, name, S_IFLNK) for index, name in enumerate(PLACES)]
        found += [(300, b"mem", S_IFREG), (301, b"fd", S_IFDIR), (302, b"fdinfo", S_IFDIR)]
        found.append((303, b"net", S_IFDIR))
        if self.whole:
            found.append((304, b"task", S_IFDIR))
        return found

    def _shows(self, name: bytes) -> bool:
        return not (self.whole and name == b"children")

    def child(self, name: bytes) -> Inode | None:
        path = self.below(name)
        text = TEXTS.get(name)
        if text is not None and self._shows(name):
            return self._text(path, text)
        if name in PLACES:
            return PlaceLink(self.fs, path, self.thread, PLACES[name])
        if name in (b"fd", b"fdinfo"):
            return FdDirectory(self.fs, path, self.thread, info=name == b"fdinfo")
        if name == b"mem":
            return MemoryInode(self.fs, path, self.process)
        if name == b"net":
            return self.fs.net
        if name == b"task" and self.whole:
            return TaskList(self.fs, path, self.process)
        return None

    def _text(self, path: bytes, item: Item) -> TextFile:
        store = item.store
        return TextFile(
            self.fs, path, lambda: item.text(self), None if store is None else lambda data: store(self, data),
            item.mode, self.uid, self.gid,
            (lambda: check_inspect(self.fs.reader(), self.process)) if item.guarded else None,
        )  # fmt: skip


class TaskList(Directory):
    """/proc/PID/task."""

    fs: ProcFs

    def __init__(self, fs: ProcFs, path: bytes, process: ProcessView) -> None:
        super().__init__(fs, path, 0o555, *owner(process))
        self.process = process
        self.nlink = 2 + len(process.threads)

    def _threads(self) -> dict[int, Any]:
        return self.process.threads or {self.process.pid: self.process.leader}

    def entries(self) -> Iterable[tuple[int, bytes, int]]:
        return [(tid, str(tid).encode(), S_IFDIR) for tid in sorted(self._threads())]

    def child(self, name: bytes) -> Inode | None:
        thread = self._threads().get(int(name)) if name.isdigit() and len(name) < 10 else None
        return None if thread is None else TaskDirectory(self.fs, self.below(name), thread, whole=False)


class PlaceLink(SyntheticInode):
    """cwd, root, exe: a magic link to a place in the tree."""

    fs: ProcFs

    def __init__(self, fs: ProcFs, path: bytes, thread: ThreadView, place: Callable[[ThreadView], Any]) -> None:
        super().__init__(fs, path, S_IFLNK | 0o777, *owner(thread.process))
        self.thread = thread
        self.place = place

    async def follow(self) -> Any:
        check_inspect(self.fs.reader(), self.thread.process)
        if self.thread.process.zombie:
            raise SyscallError(errno.ENOENT)
        place = self.place(self.thread)
        if place is None:
            raise SyscallError(errno.ENOENT)
        return place

    async def readlink(self) -> bytes:
        return self.fs.path_for_reader(await self.follow())


class MemoryInode(SyntheticInode):
    """/proc/PID/mem."""

    fs: ProcFs

    def __init__(self, fs: ProcFs, path: bytes, process: ProcessView) -> None:
        super().__init__(fs, path, S_IFREG | 0o600, *owner(process))
        self.process = process

    def open(self, flags: int) -> File:
        check_inspect(self.fs.reader(), self.process)
        return MemoryFile(self.fs.scheduler, flags, self.process)


class Item(msgspec.Struct, frozen=True):
    """A text file of a task. ``guarded``: only who may inspect the process may open it."""

    text: Callable[[TaskDirectory], bytes]
    mode: int = 0o444
    store: Callable[[TaskDirectory, bytes], None] | None = None
    guarded: bool = False


def _cmdline(task: TaskDirectory) -> bytes:
    if task.process.zombie:
        return b""
    return b"".join(argument + b"\0" for argument in task.process.arguments)


def _environ(task: TaskDirectory) -> bytes:
    if task.process.zombie:
        return b""
    return b"".join(variable + b"\0" for variable in task.process.environment)


def _set_comm(task: TaskDirectory, data: bytes) -> None:
    reader = task.fs.reader()
    if reader is not None and reader.process is not task.process:
        raise SyscallError(errno.EINVAL)
    task.thread.set_name(data.removesuffix(b"\n").partition(b"\0")[0][:COMM_SIZE])


def _number(data: bytes, low: int, high: int) -> int:
    try:
        value = int(data.strip())
    except ValueError:
        raise SyscallError(errno.EINVAL) from None
    if not low <= value <= high:
        raise SyscallError(errno.EINVAL)
    return value


def _set_oom_score_adj(task: TaskDirectory, data: bytes) -> None:
    value = _number(data, -OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MAX)
    reader = task.fs.reader()
    if value < task.process.oom_score_adj and reader is not None and not reader.credentials.capable(CAP_SYS_RESOURCE):
        raise SyscallError(errno.EACCES)
    task.process.oom_score_adj = value


def _oom_adj(task: TaskDirectory) -> bytes:
    score = task.process.oom_score_adj
    value = OOM_ADJUST_MAX if score == OOM_SCORE_ADJ_MAX else int(score * -OOM_DISABLE / OOM_SCORE_ADJ_MAX)
    return b"%d\n" % value


def _set_oom_adj(task: TaskDirectory, data: bytes) -> None:
    value = _number(data, OOM_DISABLE, OOM_ADJUST_MAX)
    score = OOM_SCORE_ADJ_MAX if value == OOM_ADJUST_MAX else int(value * OOM_SCORE_ADJ_MAX / -OOM_DISABLE)
    _set_oom_score_adj(task, b"%d" % score)


def _oom_score(task: TaskDirectory) -> bytes:
    """In parts of 1000 of the memory limit, as Linux's badness is shown."""
    used = task.process.memory_usage()[1] * 1000 // max(1, task.fs.kernel.config.memory)
    return b"%d\n" % max(0, min(2000, 666 + (used + task.process.oom_score_adj) * 2 // 3))


def _set_login(task: TaskDirectory, data: bytes) -> None:
    """A login session begins: set once, by the task itself; later only with CAP_AUDIT_CONTROL."""
    reader, processes = task.fs.reader(), task.fs.kernel.processes
    if reader is None or reader is not task.thread:
        raise SyscallError(errno.EPERM)
    digits = data.removesuffix(b"\n")
    if not digits.isdigit():
        raise SyscallError(errno.EINVAL)
    if (user := int(digits)) > UNSET:
        raise SyscallError(errno.ERANGE)
    if task.process.login[0] != UNSET and not reader.credentials.capable(CAP_AUDIT_CONTROL):
        raise SyscallError(errno.EPERM)
    if user == UNSET:
        task.process.login = NO_LOGIN
    else:
        processes.logins += 1
        task.process.login = user, processes.logins


def _children(task: TaskDirectory) -> bytes:
    mine = (child.pid for child in task.process.children.values() if child.creator in (task.thread, None))
    return b"".join(b"%d " % pid for pid in sorted(mine))


def _sched(task: TaskDirectory) -> bytes:
    thread = task.thread
    head = b"%b (%d, #threads: %d)\n" % (thread.name, thread.tid, max(1, len(task.process.threads)))
    runtime = sum(thread.cpu_times()) / 1e6
    lines = (("se.sum_exec_runtime", f"{runtime:.6f}"), ("policy", thread.scheduling.policy), ("prio", 120))
    return head + b"-" * 67 + b"\n" + "".join(f"{name:<45}:{value:>21}\n" for name, value in lines).encode()


TEXTS: dict[bytes, Item] = {
    b"auxv": Item(lambda task: getattr(task.process.memory, "auxv", b""), 0o400, None, True),
    b"cgroup": Item(lambda task: b"0::/\n"),
    b"children": Item(_children),
    b"cmdline": Item(_cmdline),
    b"comm": Item(lambda task: task.thread.name + b"\n", 0o644, _set_comm),
    b"coredump_filter": Item(lambda task: b"00000033\n", 0o644, lambda task, data: None),
    b"cpuset": Item(lambda task: b"/\n"),
    b"environ": Item(_environ, 0o400, None, True),
    b"gid_map": Item(lambda task: IDENTITY_MAP),
    b"io": Item(lambda task: status.io(task.process), 0o400, None, True),
    b"limits": Item(lambda task: status.limits(task.process)),
    b"loginuid": Item(lambda task: b"%d" % task.process.login[0], 0o644, _set_login),
    b"maps": Item(lambda task: maps.maps(task.process), 0o444, None, True),
    b"mountinfo": Item(lambda task: mounts.mountinfo(task.fs.kernel, task.thread)),
    b"mounts": Item(lambda task: mounts.mounts(task.fs.kernel, task.thread)),
    b"mountstats": Item(lambda task: mounts.mountstats(task.fs.kernel, task.thread), 0o400),
    b"oom_adj": Item(_oom_adj, 0o644, _set_oom_adj),
    b"oom_score": Item(_oom_score),
    b"oom_score_adj": Item(lambda task: b"%d\n" % task.process.oom_score_adj, 0o644, _set_oom_score_adj),
    b"personality": Item(lambda task: b"%08x\n" % task.process.personality, 0o400, None, True),
    b"projid_map": Item(lambda task: IDENTITY_MAP),
    b"sched": Item(_sched),
    b"schedstat": Item(lambda task: b"%d 0 0\n" % sum(task.thread.cpu_times())),
    b"sessionid": Item(lambda task: b"%d" % task.process.login[1]),
    b"setgroups": Item(lambda task: b"allow\n"),
    b"smaps": Item(lambda task: maps.smaps(task.process), 0o444, None, True),
    b"smaps_rollup": Item(lambda task: maps.smaps_rollup(task.process), 0o444, None, True),
    b"stack": Item(lambda task: b"", 0o400, None, True),
    b"stat": Item(lambda task: status.stat(task.fs.kernel, task.thread, task.whole)),
    b"statm": Item(lambda task: status.statm(task.process)),
    b"status": Item(lambda task: status.status(task.fs.kernel, task.thread, task.whole)),
    b"syscall": Item(lambda task: b"running\n", 0o400, None, True),
    b"timers": Item(lambda task: b"", 0o444, None, True),
    b"timerslack_ns": Item(lambda task: b"%d\n" % task.thread.scheduling.timer_slack),
    b"uid_map": Item(lambda task: IDENTITY_MAP),
    b"wchan": Item(lambda task: b"0"),
}

PLACES: dict[bytes, Callable[[ThreadView], Any]] = {
    b"cwd": lambda thread: thread.fs.cwd,
    b"exe": lambda thread: thread.process.executable,
    b"root": lambda thread: thread.fs.root,
}
