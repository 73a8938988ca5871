"""From a path to a place: the walk over names, symbolic links and mounts.

One walk serves everybody. It never parks while the names are in the cache, so a warm walk costs a few
dictionary look-ups for each component.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from ..abi.errors import SyscallError
from ..abi.stat import S_IFDIR, S_IFLNK, S_IFMT
from ..io.file import File
from .context import Caller
from .credentials import CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
from .dentry import NAME_MAX, Dentry, Location
from .inode import FileSystem, Inode
from .mount import MS_NOSYMFOLLOW, Mount
from .permissions import MAY_EXEC, check, may_follow

PATH_MAX = 4096
SLASH = ord("/")
MAX_LINKS = 40

# How to walk. FOLLOW: a link at the end as well. MISSING: the last name need not exist. DIRECTORY: the end
# must be one. PARENT: stop before the last name, which the call is going to change.
FOLLOW, MISSING, DIRECTORY, PARENT = 1, 2, 4, 8
# openat2(2)'s RESOLVE_*.
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT, CACHED = 16, 32, 64, 128, 256, 512

_SEARCH_ALL = 1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH


class Found(NamedTuple):
    """The end of a walk: ``name`` in ``parent``; ``location`` is None when it is missing or not wanted.

    ``name`` is b"." or b".." when the path ended so, b"" for the root or a magic link. ``slash``: the path
    ended in a slash.
    """

    parent: Location
    name: bytes
    location: Location | None
    slash: bool


class FileInode(Inode):
    """Stands for an open file without a path (a pipe behind /proc/self/fd/N) where a place is wanted.

    Who has it open may open it again: ``File.reopen`` judges that, not the mode.
    """

    def __init__(self, file: File, mode: int) -> None:
        super().__init__(ANONYMOUS, 0, mode | 0o666)
        self.file = file

    async def getattr(self) -> object:  # type: ignore[override]
        return await self.file.stat()

    def open(self, flags: int) -> File:
        return self.file.reopen(flags)

    async def truncate(self, size: int) -> None:
        """O_TRUNC of the host's file behind /dev/stdout: it is not ours to truncate."""


ANONYMOUS = FileSystem(0)
ANONYMOUS.name = "anon_inodefs"


async def resolve(caller: Caller, path: bytes, start: Location | None = None, flags: int = FOLLOW) -> Location:
    """The place that ``path`` names; relative to ``start``, or to the working directory. ENOENT."""
    location = (await walk(caller, path, start, flags)).location
    if location is None:
        raise SyscallError(errno.ENOENT)
    return location


async def walk(caller: Caller, path: bytes, start: Location | None, flags: int) -> Found:
    """Walk ``path``. ELOOP after 40 links, ENAMETOOLONG, ENOTDIR, EACCES, ENOENT."""
    parent, root = _begin(caller, path, start, flags)
    dentry, mount = parent.dentry, parent.mount
    credentials = caller.credentials
    search_all = credentials.effective & _SEARCH_ALL
    names, slash = _split(path)
    last, links = b"", 0
    rooted = path[0] == SLASH  # Linux looks the root up when it needs it: until then no mount is the root's
    while names:
        last = names.pop()
        inode = dentry.inode
        assert inode is not None, "the walk stands on a name that does not exist"
        mode = inode.mode
        if mode & S_IFMT != S_IFDIR:
            raise SyscallError(errno.ENOTDIR)
        if not search_all and mode & 0o111 != 0o111:
            check(inode, credentials, MAY_EXEC)
        if not names and flags & PARENT:
            return Found(Location(dentry, mount), last, None, slash)
        if last == b".":
            continue
        if last == b"..":
            dentry, mount = _up(dentry, mount, root, flags)
            rooted = True
            continue
        child = dentry.children.get(last) if dentry.children is not None else None
        if child is None or not mount.fs.cacheable:
            child = await lookup(dentry, last)
        else:
            child.used = True
        if child.inode is None:
            if not names and flags & MISSING:
                return Found(Location(dentry, mount), last, None, slash)
            raise SyscallError(errno.ENOENT)
        if child.inode.mode & S_IFMT == S_IFLNK and (names or flags & FOLLOW or slash):
            links += 1
            jump = await _follow(child, mount, inode, caller, links, flags)
            if isinstance(jump, Location):
                parent, last = jump, b"" if not names else last
                dentry, mount = jump.dentry, jump.mount
                continue
            more, ended = _split(jump)
            slash = slash or (ended and not names)
            names += more
            if jump[0] == SLASH:
                if flags & BENEATH or (flags & NO_XDEV and not (rooted and root.mount is mount)):
                    raise SyscallError(errno.EXDEV)
                rooted = True
                dentry, mount, last = root.dentry, root.mount, b""
            continue
        if not names:
            parent = Location(dentry, mount)
        dentry = child
        if child.mounted is not None:
            dentry, mount = _cross(dentry, mount, flags)
    if (slash or flags & DIRECTORY) and (dentry.inode is None or dentry.inode.mode & S_IFMT != S_IFDIR):
        raise SyscallError(errno.ENOTDIR)
    return Found(parent, last, Location(dentry, mount), slash)


def _begin(caller: Caller, path: bytes, start: Location | None, flags: int) -> tuple[Location, Location]:
    """Where a walk begins, and what is its root. ENOENT, ENAMETOOLONG, EXDEV."""
    if not path:
        raise SyscallError(errno.ENOENT)
    if len(path) >= PATH_MAX:
        raise SyscallError(errno.ENAMETOOLONG)
    context = caller.fs
    here = start or context.cwd
    root = here if flags & (IN_ROOT | BENEATH) else context.root
    if path[0] != SLASH:
        return here, root
    if flags & BENEATH:
        raise SyscallError(errno.EXDEV)
    return root, root


def _split(path: bytes) -> tuple[list[bytes], bool]:
    """The components, last first, and whether a slash ends the path."""
    names = path.split(b"/")
    slash = not names[-1]
    if slash or b"" in names:
        names = [name for name in names if name]
    names.reverse()
    return names, slash


def _up(dentry: Dentry, mount: Mount, root: Location, flags: int) -> tuple[Dentry, Mount]:
    """The way of "..": stays at the root, leaves a mount at its root."""
    if dentry is root.dentry and mount is root.mount:
        if flags & BENEATH:
            raise SyscallError(errno.EXDEV)
        return dentry, mount
    above = Location(dentry, mount).up()
    if above.mount is not mount and flags & NO_XDEV:
        raise SyscallError(errno.EXDEV)
    # A directory mounted upon the parent hides it, for ".." as well.
    if above.dentry.mounted is not None:
        above = above.topmost()
    return above.dentry, above.mount


def _cross(dentry: Dentry, mount: Mount, flags: int) -> tuple[Dentry, Mount]:
    """From a mount point to what is mounted there."""
    top = Location(dentry, mount).topmost()
    if top.mount is not mount and flags & NO_XDEV:
        raise SyscallError(errno.EXDEV)
    return top.dentry, top.mount


async def _follow(
    link: Dentry, mount: Mount, directory: Inode, caller: Caller, links: int, flags: int
) -> bytes | Location:
    """Where the symbolic link leads: a path, or for a magic link a place."""
    inode = link.inode
    assert inode is not None
    if links > MAX_LINKS or flags & NO_SYMLINKS or mount.flags & MS_NOSYMFOLLOW:
        raise SyscallError(errno.ELOOP)
    if not may_follow(inode, directory, caller.credentials):
        raise SyscallError(errno.EACCES)
    target = await inode.follow()
    if target is None:
        path = await inode.readlink()
        if not path:
            raise SyscallError(errno.ENOENT)
        return path
    if flags & NO_MAGICLINKS:
        raise SyscallError(errno.ELOOP)
    if flags & (BENEATH | IN_ROOT):
        raise SyscallError(errno.EXDEV)
    if isinstance(target, File):
        place = target.location
        target = place if place is not None else await _anonymous(target, mount)
    assert isinstance(target, Location)
    if flags & NO_XDEV and target.mount is not mount:
        raise SyscallError(errno.EXDEV)
    return target


async def _anonymous(file: File, mount: Mount) -> Location:
    stat = await file.stat()
    return Location(Dentry(file.describe().encode(), None, FileInode(file, stat.mode)), mount)


async def lookup(parent: Dentry, name: bytes) -> Dentry:
    """Ask the file system for ``name``; the dentry may be negative.

    The names of the directory may change while the file system thinks; then it is asked again, so that
    an old answer never replaces a newer one.
    """
    if len(name) > NAME_MAX:
        raise SyscallError(errno.ENAMETOOLONG)
    directory = parent.inode
    assert directory is not None
    while True:
        version = parent.version
        inode: Inode | None
        try:
            inode = await directory.lookup(name)
        except SyscallError as error:
            if error.errno != errno.ENOENT:
                raise
            inode = None
        if parent.version == version:
            break
    known = parent.children.get(name) if parent.children is not None else None
    if known is not None and (known.inode is inode or known.mounted is not None):
        return known
    if inode is None and not directory.fs.cacheable:
        if known is not None:
            known.forget()
        return Dentry(name, parent, None)
    return parent.add(name, inode)
