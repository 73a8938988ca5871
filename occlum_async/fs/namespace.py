"""The one tree of all mounts of a LibOS, and what mount(2), umount(2) and pivot_root(2) do to it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Iterator
from typing import Any

from ..abi.errors import SyscallError
from ..sched.strand import Scheduler
from .context import FsContext
from .credentials import Credentials
from .dentry import CACHE, Dentry, Location
from .inode import FileSystem
from .mount import FILE_SYSTEMS, MS_RDONLY, RESTRICTIONS, Factory, Mount
from .namei import FOLLOW, resolve

log = logging.getLogger(__name__)

MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW = 1, 2, 4, 8

MAX_MOUNTS = 4096


def _fs_root(mount: Mount) -> Dentry:
    """The root dentry of the mounted file system, of which a bind mount may show only a part."""
    dentry = mount.root
    while dentry.parent is not None:
        dentry = dentry.parent
    return dentry


def _check_kind(mount: Mount, place: Location) -> None:
    """ENOTDIR unless a directory is mounted at a directory, or a file at a file."""
    if place.inode.is_dir != (mount.root.inode is not None and mount.root.inode.is_dir):
        raise SyscallError(errno.ENOTDIR)


class BootCaller:
    """Who asks the VFS before there is a process: all rights, at the root of the mounts."""

    def __init__(self, root: Location, scheduler: Scheduler) -> None:
        self.fs = FsContext(root, umask=0)
        self.credentials = Credentials()
        self.scheduler = scheduler


class MountNamespace:
    """All mounts of a LibOS. ``mounts`` is in the order of mounting, the root first."""

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
        if scheduler is None:
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
        _check_kind(mount, place)
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
        _check_kind(mount, place)
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
