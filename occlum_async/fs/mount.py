"""Mounts: which file system is seen at which place, and with which restrictions."""

from __future__ import annotations

import errno
import itertools
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from ..abi.errors import SyscallError
from ..abi.stat import makedev
from ..sched.strand import Scheduler
from .context import FsContext
from .credentials import Credentials
from .dentry import CACHE, Dentry, Location
from .inode import FileSystem

log = logging.getLogger(__name__)

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
MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW = 1, 2, 4, 8

MAX_MOUNTS = 4096

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


def _fs_root(mount: Mount) -> Dentry:
    """The root dentry of the mounted file system, of which a bind mount may show only a part."""
    dentry = mount.root
    while dentry.parent is not None:
        dentry = dentry.parent
    return dentry


class BootCaller:
    """Who asks the VFS before there is a process: all rights, at the root of the mounts."""

    def __init__(self, root: Location, scheduler: Scheduler) -> None:
        self.fs = FsContext(root, umask=0)
        self.credentials = Credentials()
        self.scheduler = scheduler


class MountNamespace:
    """The one tree of all mounts of a LibOS. ``mounts`` is in the order of mounting, the root first."""

    def __init__(self, root_fs: FileSystem, flags: int = 0, source: bytes = b"rootfs", locked: int = 0) -> None:
        self.root = Mount(root_fs, Dentry(b"", None, root_fs.root), flags, source, locked)
        self.mounts: list[Mount] = [self.root]
        # What mount(2) can make: what every LibOS has, and what the boot adds because it knows the kernel.
        self.factories: dict[str, Factory] = dict(FILE_SYSTEMS)
        # File systems that were detached while somebody still used them (MNT_DETACH).
        self._lingering: set[FileSystem] = set()
        # Where memfds live (``fs.memfd.MemoryFiles``); made on first use.
        self.memory_files: Any = None

    def __iter__(self) -> Iterator[Mount]:
        return iter(self.mounts)

    async def close(self) -> None:
        """The LibOS ends: let every file system go of what it holds on the host, and the cache of all names."""
        CACHE.drop_trees({_fs_root(mount) for mount in self.mounts})
        for fs in {mount.fs for mount in self.mounts} | self._lingering:
            try:
                await fs.unmount()
            except SyscallError as error:
                log.error("%s was not unmounted cleanly: %s", fs.name, os.strerror(error.errno))

    def root_location(self) -> Location:
        """The root directory as everybody sees it who was not confined."""
        return self.root.location().topmost()

    def boot_caller(self, scheduler: Scheduler) -> BootCaller:
        """A caller with all rights, for setting the tree up."""
        return BootCaller(self.root_location(), scheduler)

    async def mount_at(
        self,
        path: bytes | str,
        fs: FileSystem,
        flags: int = 0,
        source: bytes | None = None,
        scheduler: Scheduler | None = None,
        locked: bool = True,
    ) -> Mount:
        """Mount ``fs`` at an existing directory or file, for good (``locked``): for the boot."""
        from .namei import FOLLOW, resolve

        if scheduler is None:
            import asyncio

            scheduler = Scheduler(asyncio.get_running_loop())
        name = path.encode() if isinstance(path, str) else path
        place = await resolve(self.boot_caller(scheduler), name, None, FOLLOW)
        return self.mount(fs, place, flags, source or fs.name.encode(), flags & RESTRICTIONS if locked else 0)

    def mount(self, fs: FileSystem, place: Location, flags: int, source: bytes, locked: int = 0) -> Mount:
        """Mount ``fs`` at ``place``."""
        root = next((_fs_root(mount) for mount in self.mounts if mount.fs is fs), None) or Dentry(b"", None, fs.root)
        if not fs.writable:
            flags |= MS_RDONLY
        mount = Mount(fs, root, flags, source, locked)
        self._graft(mount, place)
        return mount

    def bind(self, source: Location, place: Location, recursive: bool = False) -> Mount:
        """Show ``source`` at ``place`` as well, with all mounts below it if ``recursive``."""
        copy = self._copy_of(source.mount, source.dentry)
        pairs = {source.mount: copy}
        below: list[tuple[Mount, Mount, Dentry]] = []
        if recursive:
            for mount in self.mounts:
                if mount.parent in pairs and mount.mountpoint is not None:
                    if mount.parent is source.mount and not mount.mountpoint.is_below(source.dentry):
                        continue
                    pairs[mount] = self._copy_of(mount, mount.root)
                    below.append((pairs[mount], pairs[mount.parent], mount.mountpoint))
        self._graft(copy, place)
        for mount, parent, mountpoint in below:
            self._room()
            mount.attach(parent, mountpoint)
            self.mounts.append(mount)
        return copy

    @staticmethod
    def _copy_of(mount: Mount, root: Dentry) -> Mount:
        return Mount(mount.fs, root, mount.flags, mount.source, mount.locked)

    def _room(self) -> None:
        if len(self.mounts) >= MAX_MOUNTS:
            raise SyscallError(errno.ENOSPC)

    def _graft(self, mount: Mount, place: Location) -> None:
        self._room()
        place = place.topmost()
        if place.inode.is_dir != (mount.root.inode is not None and mount.root.inode.is_dir):
            raise SyscallError(errno.ENOTDIR)
        if place.dentry.deleted:
            raise SyscallError(errno.ENOENT)
        mount.attach(place.mount, place.dentry)
        self.mounts.append(mount)

    def remount(self, mount: Mount, flags: int) -> None:
        """Change the flags of a mount; EPERM for taking away what is locked."""
        if mount.locked & ~flags:
            raise SyscallError(errno.EPERM)
        mount.set_flags(flags)

    def move(self, mount: Mount, place: Location) -> None:
        """mount(2) with MS_MOVE."""
        place = place.topmost()
        above: Mount | None = place.mount
        while above is not None:
            if above is mount:
                raise SyscallError(errno.ELOOP)
            above = above.parent
        if mount.parent is None:
            raise SyscallError(errno.EINVAL)
        if place.inode.is_dir != (mount.root.inode is not None and mount.root.inode.is_dir):
            raise SyscallError(errno.ENOTDIR)
        mount.detach()
        mount.attach(place.mount, place.dentry)

    def busy(self, mount: Mount) -> bool:
        """Whether a file is open in the mount or mapped, somebody stands there, or something is mounted in it."""
        if mount.files or any(other.parent is mount for other in self.mounts):
            return True
        if mount.fs.busy() and not any(other.fs is mount.fs and other is not mount for other in self.mounts):
            return True
        return any(
            context.users and (context.cwd.mount is mount or context.root.mount is mount) for context in FsContext.all
        )

    async def umount(self, mount: Mount, flags: int) -> None:
        """umount2(2)."""
        if mount.parent is None:
            raise SyscallError(errno.EBUSY if mount is self.root else errno.EINVAL)
        if flags & MNT_DETACH:
            gone = [mount]
            for other in self.mounts:
                if other.parent in gone and other not in gone:
                    gone.append(other)
        else:
            if self.busy(mount):
                raise SyscallError(errno.EBUSY)
            if flags & MNT_EXPIRE and not mount.expiring:
                mount.expiring = True
                raise SyscallError(errno.EAGAIN)
            gone = [mount]
        for item in gone:
            item.detach()
            self.mounts.remove(item)
        for fs in {item.fs for item in gone}:
            if any(other.fs is fs for other in self.mounts):
                continue
            if fs.busy() or any(item.fs is fs and item.files for item in gone):
                self._lingering.add(fs)
            else:
                CACHE.drop_trees({_fs_root(item) for item in gone if item.fs is fs})
                self._lingering.discard(fs)
                await fs.unmount()

    def pivot_root(self, new_root: Location, put_old: Location) -> None:
        """pivot_root(2): ``new_root`` becomes the root, the present root is seen at ``put_old``."""
        old = self.root_location()
        mount = new_root.mount
        if new_root.dentry is not mount.root or mount.parent is None:
            raise SyscallError(errno.EINVAL)
        if mount is old.mount or put_old.mount is old.mount:
            raise SyscallError(errno.EBUSY)
        if not put_old.reachable(new_root):
            raise SyscallError(errno.EINVAL)
        bottom = self.root
        mount.detach()
        bottom.attach(put_old.mount, put_old.dentry)
        self.root = mount
        self.mounts.remove(mount)
        self.mounts.insert(0, mount)
        for context in FsContext.all:
            if context.root == old:
                context.root = new_root
            if context.cwd == old:
                context.cwd = new_root
