"""Mounts: which file system is seen at which place, and with which restrictions."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

from ..abi.stat import makedev
from .dentry import Dentry, Location
from .inode import FileSystem

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_SYNCHRONOUS = 1, 2, 4, 8, 16
MS_REMOUNT, MS_MANDLOCK, MS_DIRSYNC, MS_NOSYMFOLLOW = 32, 64, 128, 256
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_MOVE, MS_REC, MS_SILENT = 1024, 2048, 4096, 8192, 16384, 32768
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_STRICTATIME, MS_LAZYTIME = 1 << 21, 1 << 24, 1 << 25
MS_PROPAGATION = MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED
# What a mount keeps of the flags; the rest says what mount(2) is to do.
MOUNT_FLAGS = (
    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_SYNCHRONOUS | MS_DIRSYNC | MS_NOSYMFOLLOW
    | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME | MS_LAZYTIME
)  # fmt: skip
# What a mount of the LibOS's configuration never loses, whoever remounts it.
RESTRICTIONS = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC

OPTION_NAMES = (
    (MS_NOSUID, "nosuid"), (MS_NODEV, "nodev"), (MS_NOEXEC, "noexec"), (MS_NOATIME, "noatime"),
    (MS_NODIRATIME, "nodiratime"), (MS_RELATIME, "relatime"), (MS_NOSYMFOLLOW, "nosymfollow"),
)  # fmt: skip

_devices = itertools.count(16)
_mount_ids = itertools.count(20)

# How mount(2) makes a file system: from (device number, source, data) of its arguments.
Factory = Callable[[int, bytes, bytes], "FileSystem | Awaitable[FileSystem]"]
FILE_SYSTEMS: dict[str, Factory] = {}


def anonymous_device() -> int:
    """A fresh st_dev for a file system that has no block device."""
    return makedev(0, next(_devices))


def register_filesystem(name: str, factory: Factory) -> None:
    """Let mount(2) make file systems of the type ``name``."""
    FILE_SYSTEMS[name] = factory


class Mount:
    """One mount: the tree of ``fs`` below ``root``, seen at ``mountpoint`` of the mount ``parent``.

    ``files`` counts the open files in it. ``locked`` are the flags that nobody inside can take away.
    """

    __slots__ = (
        "__weakref__",
        "expiring",
        "files",
        "flags",
        "fs",
        "id",
        "locked",
        "mountpoint",
        "parent",
        "readonly",
        "root",
        "source",
    )  # fmt: skip

    def __init__(self, fs: FileSystem, root: Dentry, flags: int = 0, source: bytes = b"none", locked: int = 0) -> None:
        self.fs = fs
        self.root = root
        self.source = source
        self.parent: Mount | None = None
        self.mountpoint: Dentry | None = None
        self.id = next(_mount_ids)
        self.files = 0
        self.locked = locked
        self.expiring = False
        self.set_flags(flags)

    def set_flags(self, flags: int) -> None:
        """Change the restrictions; relatime is what holds unless another rule was asked for."""
        if flags & (MS_NOATIME | MS_STRICTATIME) == 0:
            flags |= MS_RELATIME
        elif flags & MS_STRICTATIME:
            flags &= ~MS_RELATIME
        self.flags = flags & MOUNT_FLAGS
        self.readonly = bool(flags & MS_RDONLY)

    def options(self) -> str:
        """The options of the mount, as in /proc/mounts."""
        words = ["ro" if self.readonly else "rw"]
        words += [name for flag, name in OPTION_NAMES if self.flags & flag]
        return ",".join(words)

    def location(self) -> Location:
        """The root of the mounted tree."""
        return Location(self.root, self)

    def attach(self, parent: Mount, mountpoint: Dentry) -> None:
        """Cover ``mountpoint``, as it is seen through ``parent``."""
        if mountpoint.mounted is None:
            mountpoint.mounted = {}
        mountpoint.mounted[parent] = self
        self.parent, self.mountpoint = parent, mountpoint

    def detach(self) -> None:
        """Uncover the mount point."""
        if self.parent is not None and self.mountpoint is not None and self.mountpoint.mounted is not None:
            del self.mountpoint.mounted[self.parent]
            if not self.mountpoint.mounted:
                self.mountpoint.mounted = None
        self.parent = self.mountpoint = None
