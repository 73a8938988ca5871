"""/proc itself: the system's files, and a directory for each process."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.stat import S_IFDIR
from ..inode import Inode
from ..synthetic import Folder, Link
from .filesystem import ProcFs
from .net import fill_net
from .process import TaskDirectory
from .sysctl import fill_sysctl
from .system import fill_system

if TYPE_CHECKING:
    from .views import KernelView, ThreadView

# Cookies of the root: the fixed names come first, then the processes in the order of their numbers.
FIRST_PROCESS = 1 << 16


def make_procfs(kernel: KernelView, cpuinfo: str = "") -> ProcFs:
    """The procfs of ``kernel``. ``cpuinfo`` is the host's /proc/cpuinfo, from which the CPUs' features are taken."""
    fs = ProcFs(kernel)
    root = ProcRoot(fs, b"")
    fs.root = root
    fill_system(root, kernel, cpuinfo)
    fill_sysctl(root.folder(b"sys"), kernel)
    fill_net(fs.net, kernel)
    return fs


class ProcRoot(Folder):
    """/proc."""

    fs: ProcFs

    def __init__(self, fs: ProcFs, path: bytes) -> None:
        super().__init__(fs, path)
        self.children[b"self"] = Link(fs, b"/self", self._self)
        self.children[b"thread-self"] = Link(fs, b"/thread-self", self._thread_self)
        self.add_link(b"mounts", b"self/mounts")
        self.add_link(b"net", b"self/net")

    def _reader(self) -> ThreadView:
        reader = self.fs.reader()
        if reader is None:
            raise SyscallError(errno.ENOENT)
        return reader

    def _self(self) -> bytes:
        return b"%d" % self._reader().process.pid

    def _thread_self(self) -> bytes:
        reader = self._reader()
        return b"%d/task/%d" % (reader.process.pid, reader.tid)

    def entries(self) -> Iterable[tuple[int, bytes, int]]:
        fixed = list(super().entries())
        return fixed + [
            (FIRST_PROCESS + process.pid, str(process.pid).encode(), S_IFDIR) for process in self.fs.kernel.processes
        ]

    def child(self, name: bytes) -> Inode | None:
        found = super().child(name)
        if found is not None or not name.isdigit() or len(name) > 9 or name[:1] == b"0":
            return found
        processes = self.fs.kernel.processes
        number = int(name)
        process = processes.get(number)
        if process is not None:
            thread = process.leader
            if thread.exited and process.threads:
                thread = next(iter(process.threads.values()))
            return TaskDirectory(self.fs, self.below(name), thread, whole=True)
        # As on Linux, a thread's number works as a name too, though it is not listed.
        thread = processes.threads.get(number)
        return None if thread is None else TaskDirectory(self.fs, self.below(name), thread, whole=True)
