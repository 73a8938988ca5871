"""Dentries: the names that the kernel knows, and where they stand in the one tree of all mounts.

A directory refers to its children weakly and a child to its parent strongly: a dentry lives as long as
somebody uses it or the cache keeps it, and there are never two dentries of one name in one directory.
The cache is a clock: what was used since the hand last passed gets another round. It keeps nothing of procfs and its
like, whose inodes would hold processes that are gone (``FileSystem.keeps_dentries``).
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Container
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ..abi.errors import SyscallError
from ..abi.stat import Stat
from .inode import Inode

if TYPE_CHECKING:
    from .mount import Mount

NAME_MAX = 255
CACHED_DENTRIES = 32768


class Dentry:
    """One name in one directory. ``inode`` is None when the name is known not to exist (negative).

    ``mounted`` holds what is mounted here, by the mount that this dentry is seen through. ``used`` is the
    clock's mark. ``version`` of a directory's dentry counts the changes of its names (not of the cache).
    """

    __slots__ = ("__weakref__", "children", "deleted", "inode", "mounted", "name", "parent", "used", "version")

    def __init__(self, name: bytes, parent: Dentry | None, inode: Inode | None) -> None:
        self.name = name
        self.parent = parent
        self.inode = inode
        self.children: WeakValueDictionary[bytes, Dentry] | None = None
        self.mounted: dict[Mount, Mount] | None = None
        self.used = True
        self.version = 0
        self.deleted = False

    def __repr__(self) -> str:
        return f"<Dentry {self.name!r} {self.inode!r}>"

    def add(self, name: bytes, inode: Inode | None) -> Dentry:
        """Enter a name of this directory, in place of what was known of it."""
        stale = self.children.get(name) if self.children is not None else None
        if stale is not None:
            if stale.inode is None and inode is not None:
                stale.inode = inode
                return stale
            stale.forget()
        child = Dentry(name, self, inode)
        self._enter(child)
        return child

    def made(self, name: bytes, inode: Inode) -> Dentry:
        """A name was made in this directory."""
        self.version += 1
        return self.add(name, inode)

    def _enter(self, child: Dentry) -> None:
        if self.children is None:
            self.children = WeakValueDictionary()
        self.children[child.name] = child
        if self.inode is None or self.inode.fs.keeps_dentries:
            CACHE.keep(child)

    def forget(self) -> None:
        """Take this name out of its directory's cache; who uses the dentry keeps it."""
        CACHE.drop(self)
        parent = self.parent
        if parent is not None and parent.children is not None and parent.children.get(self.name) is self:
            del parent.children[self.name]

    def delete(self) -> None:
        """The name was removed: forget it, and show it as deleted to whoever still uses it."""
        self.forget()
        self.deleted = True
        if self.parent is not None:
            self.parent.version += 1

    def move(self, parent: Dentry, name: bytes) -> None:
        """The name was renamed: the dentry moves along, with all that is below it."""
        self.forget()
        replaced = parent.children.get(name) if parent.children is not None else None
        if replaced is not None:
            replaced.delete()
        if self.parent is not None:
            self.parent.version += 1
        self.name, self.parent = name, parent
        parent.version += 1
        parent._enter(self)

    def is_below(self, other: Dentry) -> bool:
        """Whether ``other`` is this dentry or one of its ancestors in the same file system."""
        here: Dentry | None = self
        while here is not None:
            if here is other:
                return True
            here = here.parent
        return False


class DentryCache:
    """Keeps at most ``limit`` dentries alive that nobody uses."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._ring: OrderedDict[Dentry, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ring)

    def keep(self, dentry: Dentry) -> None:
        """Enter ``dentry``, at the price of one that was not used lately."""
        self._ring[dentry] = None
        while len(self._ring) > self.limit:
            oldest = next(iter(self._ring))
            if oldest.used:
                oldest.used = False
                self._ring.move_to_end(oldest)
            else:
                del self._ring[oldest]

    def drop(self, dentry: Dentry) -> None:
        """Keep ``dentry`` no longer."""
        self._ring.pop(dentry, None)

    def drop_trees(self, roots: Container[Dentry]) -> None:
        """Keep nothing any more of the trees that ``roots`` are the tops of: their file systems are gone."""
        for dentry in tuple(self._ring):
            top = dentry
            while top.parent is not None:
                top = top.parent
            if top in roots:
                del self._ring[dentry]


CACHE = DentryCache(CACHED_DENTRIES)


class Location:
    """A place in the tree of mounts: a dentry as it is seen through a mount."""

    __slots__ = ("dentry", "mount")

    def __init__(self, dentry: Dentry, mount: Mount) -> None:
        self.dentry = dentry
        self.mount = mount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Location) and self.dentry is other.dentry and self.mount is other.mount

    def __hash__(self) -> int:
        return hash((id(self.dentry), id(self.mount)))

    def __repr__(self) -> str:
        return f"<Location {self.path()!r}>"

    @property
    def inode(self) -> Inode:
        """The inode of a place that exists."""
        inode = self.dentry.inode
        if inode is None:
            raise SyscallError(errno.ENOENT)
        return inode

    async def getattr(self) -> Stat:
        """The inode's attributes, and which mount they were seen through."""
        stat = await self.inode.getattr()
        stat.mount_id = self.mount.id
        return stat

    def up(self) -> Location:
        """The place that holds this one: ".." without a look at anybody's root."""
        dentry, mount = self.dentry, self.mount
        while dentry is mount.root and mount.parent is not None and mount.mountpoint is not None:
            dentry, mount = mount.mountpoint, mount.parent
        return Location(dentry.parent or dentry, mount)

    def topmost(self) -> Location:
        """What is seen here: the root of the mount on top of whatever is mounted here."""
        dentry, mount = self.dentry, self.mount
        while dentry.mounted is not None and (upper := dentry.mounted.get(mount)) is not None:
            dentry, mount = upper.root, upper
        return Location(dentry, mount)

    def path(self, root: Location | None = None) -> bytes:
        """The absolute path, as seen from ``root``; " (deleted)" is added for a name that is gone.

        What lies outside ``root`` is shown from the root of all mounts, see ``reachable``.
        """
        names, _ = self._names(root)
        deleted = b" (deleted)" if self.dentry.deleted else b""
        return b"/" + b"/".join(reversed(names)) + deleted

    def reachable(self, root: Location) -> bool:
        """Whether this place lies below ``root``."""
        return self._names(root)[1]

    def _names(self, root: Location | None) -> tuple[list[bytes], bool]:
        names: list[bytes] = []
        dentry, mount = self.dentry, self.mount
        while True:
            if root is not None and dentry is root.dentry and mount is root.mount:
                return names, True
            if dentry is mount.root:
                if mount.parent is None or mount.mountpoint is None:
                    return names, root is None
                dentry, mount = mount.mountpoint, mount.parent
            elif dentry.parent is None:
                return names, root is None
            else:
                names.append(dentry.name)
                dentry = dentry.parent
