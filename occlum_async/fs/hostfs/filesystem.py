"""One host folder, mounted."""

from __future__ import annotations

import os
import stat as modes
from weakref import WeakValueDictionary

from ...io.boundary import Boundary
from ..inode import FileSystem, StatFs
from .handles import READ, Handles
from .inode import HostInode
from .view import View

MAX_DEVICES = 4096
NOBODY = 65534


class HostFs(FileSystem):
    """The tree below ``folder``, which may also be a single file.

    ``validity`` is for how many seconds attributes may be answered from memory; None: for ever, the caller
    promises that nobody changes the tree, and the VFS then caches names as well. ``owner`` is who the files
    of the user that runs the LibOS belong to inside; the host's root is root inside, everybody else keeps their
    number, or is nobody if that is the owner's. ``view`` restricts what is shown. ``handles`` may be shared by several
    instances.
    """

    name = "hostfs"
    magic = 0x00C0FFEE

    def __init__(
        self,
        device: int,
        boundary: Boundary,
        folder: str | bytes,
        *,
        writable: bool = False,
        validity: float | None = 1.0,
        owner: tuple[int, int] = (0, 0),
        view: View | None = None,
        handles: Handles | None = None,
    ) -> None:
        super().__init__(device)
        self.boundary = boundary
        self.writable = writable
        self.cacheable = validity is None
        self.validity = float("inf") if validity is None else 0.0 if writable else validity
        self.owner = owner
        self.handles = Handles(boundary) if handles is None else handles
        self._owns_handles = handles is None
        self._host = (os.geteuid(), os.getegid())
        self._devices: dict[int, int] = {}
        self._inodes: WeakValueDictionary[tuple[int, int], HostInode] = WeakValueDictionary()
        fd = boundary.open_start(os.fsencode(folder), os.O_PATH)
        stat = boundary.fstat(fd)
        rights = 0
        if modes.S_ISDIR(stat.st_mode):
            boundary.close(fd)
            fd = boundary.open_start(os.fsencode(folder), os.O_RDONLY | os.O_DIRECTORY)
            stat = boundary.fstat(fd)
            rights = READ
        self._root_fd = fd
        root = HostInode(self, None, b"", stat, view)
        root.attach_root(fd, rights)
        self._inodes[root.identity] = root
        self.root: HostInode = root

    def inode(self, parent: HostInode, name: bytes, stat: os.stat_result, view: View | None) -> HostInode:
        """The inode that ``stat`` describes, found as ``name`` in ``parent``; one object for all its names."""
        known = self._inodes.get((stat.st_dev, stat.st_ino))
        if known is not None and modes.S_IFMT(known.mode) == modes.S_IFMT(stat.st_mode):
            known.found_at(parent, name, stat, view)
            return known
        fresh = HostInode(self, parent, name, stat, view)
        self._inodes[fresh.identity] = fresh
        return fresh

    def number(self, device: int, ino: int) -> int:
        """st_ino inside: the host's own, with the device mixed in for what is mounted below the folder."""
        if not self._devices:
            self._devices[device] = 0
        index = self._devices.get(device)
        if index is None:
            index = self._devices[device] = len(self._devices) % MAX_DEVICES
        return ino ^ index << 48

    # -- identities -------------------------------------------------------------

    def user_inside(self, uid: int) -> int:
        """The uid that is shown for the host's ``uid``."""
        return _inside(uid, self._host[0], self.owner[0])

    def group_inside(self, gid: int) -> int:
        """The gid that is shown for the host's ``gid``."""
        return _inside(gid, self._host[1], self.owner[1])

    def user_outside(self, uid: int) -> int:
        """The host's uid for ``uid``, the inverse of ``user_inside``."""
        return self._host[0] if self._host[0] and uid == self.owner[0] else uid

    def group_outside(self, gid: int) -> int:
        """The host's gid for ``gid``."""
        return self._host[1] if self._host[1] and gid == self.owner[1] else gid

    @property
    def privileged(self) -> bool:
        """The LibOS is run by the host's root, so files can belong to anybody."""
        return self._host[0] == 0

    # -- the instance -----------------------------------------------------------

    async def statfs(self) -> StatFs:
        host = self.boundary.statvfs(self._root_fd)
        return StatFs(
            self.magic, host.f_bsize, host.f_blocks, host.f_bfree, host.f_bavail, host.f_files, host.f_ffree,
            host.f_namemax,
        )  # fmt: skip

    async def sync(self) -> None:
        if self.writable:
            self.boundary.syncfs(self._root_fd)

    async def unmount(self) -> None:
        self.root.detach_root()
        if self._owns_handles:
            self.handles.close()


def _inside(number: int, runner: int, owner: int) -> int:
    """What a uid or gid of the host is inside, if the LibOS is run by ``runner``, whose files are ``owner``'s there."""
    if runner == 0:
        return number
    if number == runner:
        return owner
    return NOBODY if number == owner != 0 else number
