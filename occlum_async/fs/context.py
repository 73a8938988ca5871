"""Where a thread stands in the tree: its root, its working directory, its umask."""

from __future__ import annotations

from typing import ClassVar, Protocol
from weakref import WeakSet

from ..sched.strand import Scheduler
from .credentials import Credentials
from .dentry import Location


class FsContext:
    """Shared by threads (CLONE_FS), copied by fork. ``users`` counts the threads that refer to it."""

    # Every context that exists: umount(2) must know whether somebody stands in the mount.
    all: ClassVar[WeakSet[FsContext]] = WeakSet()

    def __init__(self, root: Location, cwd: Location | None = None, umask: int = 0o022) -> None:
        self.root = root
        self.cwd = cwd or root
        self.umask = umask
        self.users = 0
        FsContext.all.add(self)

    def copy(self) -> FsContext:
        """A context of one's own with the same places."""
        return FsContext(self.root, self.cwd, self.umask)

    def acquire(self) -> FsContext:
        """One more thread stands here."""
        self.users += 1
        return self

    def release(self) -> None:
        """A thread is gone."""
        self.users -= 1


class Caller(Protocol):
    """Who asks the VFS for something: a ``Thread``, or what stands for an embedder (``fs.access``)."""

    @property
    def fs(self) -> FsContext: ...
    @property
    def credentials(self) -> Credentials: ...
    @property
    def scheduler(self) -> Scheduler: ...
