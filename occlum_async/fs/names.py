"""Calls that change names: mknod, mkdir, symlink, link, unlink, rmdir, rename.

Each is: walk to the parent, then with the file system's namespace locked look again, check, change, and
tell the cache and the watchers.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable

from ..abi.errors import SyscallError
from ..abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK
from . import inotify
from .context import Caller
from .credentials import CAP_DAC_READ_SEARCH, CAP_MKNOD, Credentials
from .dentry import Dentry, Location
from .inode import Inode
from .inodeflags import check_unlocked
from .namei import PARENT, PATH_MAX, Found, lookup, walk
from .opening import namespace_lock
from .permissions import MAY_WRITE, check, check_create, check_delete, check_writable, may_link, new_group

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
# What a path may end in that is no name: the root, or where it stands.
SPECIAL = (b"", b".", b"..")


async def _parent(caller: Caller, path: bytes, start: Location | None) -> Found:
    """The walk of a call that makes a name; EEXIST where a path ends in no name."""
    found = await walk(caller, path, start, PARENT)
    if found.name in SPECIAL:
        raise SyscallError(errno.EEXIST)
    return found


async def _missing(caller: Caller, found: Found, directory: bool = False) -> None:
    """With the namespace locked: the name is free, and the caller may make it.

    EEXIST; ENOENT for "name/" unless a directory is made, and in a removed directory; EROFS; EACCES.
    """
    parent = found.parent
    if parent.inode.nlink == 0:
        raise SyscallError(errno.ENOENT)
    if (await lookup(parent.dentry, found.name)).inode is not None:
        raise SyscallError(errno.EEXIST)
    if found.slash and not directory:
        raise SyscallError(errno.ENOENT)
    check_writable(parent.mount)
    check_create(parent.inode, caller.credentials)


def _owner(directory: Inode, mode: int, credentials: Credentials) -> tuple[int, Credentials]:
    """Mode and owner of what is made in ``directory``."""
    mode, gid = new_group(directory, mode, credentials)
    return mode, credentials if gid == credentials.fsgid else credentials.with_(fsgid=gid)


async def _make(
    caller: Caller,
    path: bytes,
    start: Location | None,
    mode: int,
    make: Callable[[Inode, bytes, int, Credentials], Awaitable[Inode]],
) -> Location:
    """Make something new: ``make(directory, name, mode, owner)`` gives its inode. The umask applies to ``mode``."""
    found = await _parent(caller, path, start)
    parent = found.parent
    directory = parent.inode
    is_dir = mode & S_IFMT == S_IFDIR
    async with namespace_lock(directory).hold(caller.scheduler):
        await _missing(caller, found, is_dir)
        mode, owner = _owner(directory, mode & ~caller.fs.umask, caller.credentials)
        inode = await make(directory, found.name, mode, owner)
        dentry = parent.dentry.made(found.name, inode)
    inotify.notify(directory, inotify.IN_CREATE | (inotify.IN_ISDIR if is_dir else 0), found.name)
    return Location(dentry, parent.mount)


async def make_node(caller: Caller, path: bytes, mode: int, rdev: int = 0, start: Location | None = None) -> Location:
    """mknod(2): a regular file, FIFO, socket or device node, by ``mode``'s format; the umask applies."""
    kind = mode & S_IFMT or S_IFREG
    if kind == S_IFDIR:
        raise SyscallError(errno.EPERM)
    if kind not in (S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK):
        raise SyscallError(errno.EINVAL)
    # Everybody may make a whiteout, the character device 0:0.
    if kind in (S_IFCHR, S_IFBLK) and not (kind == S_IFCHR and rdev == 0) and not caller.credentials.capable(CAP_MKNOD):
        raise SyscallError(errno.EPERM)

    def make(directory: Inode, name: bytes, mode: int, owner: Credentials) -> Awaitable[Inode]:
        return directory.create(name, mode, owner, rdev)

    return await _make(caller, path, start, kind | mode & 0o7777, make)


async def make_directory(caller: Caller, path: bytes, mode: int, start: Location | None = None) -> Location:
    """mkdir(2)."""

    def make(directory: Inode, name: bytes, mode: int, owner: Credentials) -> Awaitable[Inode]:
        return directory.mkdir(name, mode, owner)

    return await _make(caller, path, start, S_IFDIR | mode & 0o1777, make)


async def make_symlink(caller: Caller, target: bytes, path: bytes, start: Location | None = None) -> Location:
    """symlink(2)."""
    if not target:
        raise SyscallError(errno.ENOENT)
    if len(target) >= PATH_MAX:
        raise SyscallError(errno.ENAMETOOLONG)

    def make(directory: Inode, name: bytes, _mode: int, owner: Credentials) -> Awaitable[Inode]:
        return directory.symlink(name, target, owner)

    return await _make(caller, path, start, 0, make)


async def make_link(caller: Caller, source: Location, path: bytes, start: Location | None = None) -> None:
    """link(2): another name for the file at ``source``."""
    found = await _parent(caller, path, start)
    parent = found.parent
    directory = parent.inode
    inode = source.inode
    async with namespace_lock(directory).hold(caller.scheduler):
        await _missing(caller, found)
        if source.mount is not parent.mount:
            raise SyscallError(errno.EXDEV)
        check_unlocked(inode)
        if inode.is_dir or not may_link(inode, caller.credentials):
            raise SyscallError(errno.EPERM)
        unnamed = inode.nlink == 0
        if unnamed and not inode.attached.get("tmpfile"):
            raise SyscallError(errno.ENOENT)
        await directory.link(found.name, inode)
        dentry = parent.dentry.made(found.name, inode)
        if unnamed and source.dentry.deleted:
            # An O_TMPFILE got its name: those who have it open see it.
            source.dentry.deleted = False
            source.dentry.parent, source.dentry.name = dentry.parent, dentry.name
    inotify.notify(inode, inotify.IN_ATTRIB)
    inotify.notify(directory, inotify.IN_CREATE, found.name)


def may_link_descriptor(credentials: Credentials) -> bool:
    """Whether linkat(2) with AT_EMPTY_PATH is allowed for any descriptor."""
    return credentials.capable(CAP_DAC_READ_SEARCH)


async def _victim(found: Found) -> tuple[Dentry, Inode]:
    """The dentry to remove, looked up with the namespace locked; ENOENT."""
    dentry = await lookup(found.parent.dentry, found.name)
    if dentry.inode is None:
        raise SyscallError(errno.ENOENT)
    return dentry, dentry.inode


def _check_not_mounted(dentry: Dentry) -> None:
    """EBUSY for a mount point."""
    if dentry.mounted is not None:
        raise SyscallError(errno.EBUSY)


async def remove_file(caller: Caller, path: bytes, start: Location | None = None) -> None:
    """unlink(2)."""
    found = await walk(caller, path, start, PARENT)
    if found.name in SPECIAL:
        raise SyscallError(errno.EISDIR)
    check_writable(found.parent.mount)
    directory = found.parent.inode
    async with namespace_lock(directory).hold(caller.scheduler):
        dentry, inode = await _victim(found)
        if found.slash:
            raise SyscallError(errno.EISDIR if inode.is_dir else errno.ENOTDIR)
        check_delete(directory, inode, caller.credentials)
        if inode.is_dir:
            raise SyscallError(errno.EISDIR)
        _check_not_mounted(dentry)
        await directory.unlink(found.name, inode)
        dentry.delete()
    inode.attached.pop("tmpfile", None)
    inotify.notify(inode, inotify.IN_ATTRIB)
    inotify.notify(directory, inotify.IN_DELETE, found.name)
    if inode.nlink == 0:
        inotify.notify_removed(inode)


async def remove_directory(caller: Caller, path: bytes, start: Location | None = None) -> None:
    """rmdir(2)."""
    found = await walk(caller, path, start, PARENT)
    refused = {b"": errno.EBUSY, b".": errno.EINVAL, b"..": errno.ENOTEMPTY}.get(found.name)
    if refused:
        raise SyscallError(refused)
    check_writable(found.parent.mount)
    directory = found.parent.inode
    async with namespace_lock(directory).hold(caller.scheduler):
        dentry, inode = await _victim(found)
        check_delete(directory, inode, caller.credentials)
        if not inode.is_dir:
            raise SyscallError(errno.ENOTDIR)
        _check_not_mounted(dentry)
        await directory.rmdir(found.name, inode)
        inode.nlink = 0
        dentry.delete()
    inotify.notify_removed(inode)
    inotify.notify(directory, inotify.IN_DELETE | inotify.IN_ISDIR, found.name)


async def rename(
    caller: Caller,
    old_path: bytes,
    new_path: bytes,
    old_start: Location | None = None,
    new_start: Location | None = None,
    flags: int = 0,
) -> None:
    """renameat2(2)."""
    known = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT
    if flags & ~known or (flags & RENAME_EXCHANGE and flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)):
        raise SyscallError(errno.EINVAL)
    if flags & RENAME_WHITEOUT and not caller.credentials.capable(CAP_MKNOD):
        raise SyscallError(errno.EPERM)
    old = await walk(caller, old_path, old_start, PARENT)
    new = await walk(caller, new_path, new_start, PARENT)
    if old.parent.mount is not new.parent.mount:
        raise SyscallError(errno.EXDEV)
    if old.name in SPECIAL:
        raise SyscallError(errno.EBUSY)
    if new.name in SPECIAL:
        raise SyscallError(errno.EEXIST if flags & RENAME_NOREPLACE else errno.EBUSY)
    check_writable(old.parent.mount)
    async with namespace_lock(old.parent.inode).hold(caller.scheduler):
        await _rename_locked(caller, old, new, flags)


async def _rename_locked(caller: Caller, old: Found, new: Found, flags: int) -> None:
    credentials = caller.credentials
    source, target = old.parent.inode, new.parent.inode
    dentry, inode = await _victim(old)
    present = await lookup(new.parent.dentry, new.name)
    replaced = present.inode
    exchange = bool(flags & RENAME_EXCHANGE)
    if replaced is not None and flags & RENAME_NOREPLACE:
        raise SyscallError(errno.EEXIST)
    if replaced is None and exchange:
        raise SyscallError(errno.ENOENT)
    _check_slashes(old, new, inode, replaced if exchange else None)
    # A directory can't move below itself, and what holds the source can't be replaced.
    if inode.is_dir and new.parent.dentry.is_below(dentry):
        raise SyscallError(errno.EINVAL)
    if replaced is not None and old.parent.dentry.is_below(present):
        raise SyscallError(errno.EINVAL if exchange else errno.ENOTEMPTY)
    if replaced is inode:
        return
    check_delete(source, inode, credentials)
    if replaced is None:
        check_create(target, credentials)
    else:
        check_delete(target, replaced, credentials)
        if not exchange and inode.is_dir != replaced.is_dir:
            raise SyscallError(errno.ENOTDIR if inode.is_dir else errno.EISDIR)
    if source is not target:
        # ".." of a directory that moves is written to.
        for moved in (inode, replaced if exchange else None):
            if moved is not None and moved.is_dir:
                check(moved, credentials, MAY_WRITE)
    _check_not_mounted(dentry)
    _check_not_mounted(present)
    if flags & RENAME_WHITEOUT and not source.fs.whiteouts:
        raise SyscallError(errno.EINVAL)
    await source.rename(old.name, inode, target, new.name, replaced, exchange)
    if exchange:
        _swap(dentry, present)
    else:
        present.delete() if replaced is not None else present.forget()
        if replaced is not None and replaced.is_dir:
            replaced.nlink = 0
        dentry.move(new.parent.dentry, new.name)
    if flags & RENAME_WHITEOUT:
        whiteout = await source.create(old.name, S_IFCHR, credentials, 0)
        old.parent.dentry.made(old.name, whiteout)
    _notify_renamed(old, new, inode, replaced, exchange)


def _check_slashes(old: Found, new: Found, inode: Inode, other: Inode | None) -> None:
    """ "name/" means a directory."""
    if not inode.is_dir and (old.slash or (new.slash and other is None)):
        raise SyscallError(errno.ENOTDIR)
    if other is not None and new.slash and not other.is_dir:
        raise SyscallError(errno.ENOTDIR)


def _swap(one: Dentry, other: Dentry) -> None:
    """Let two dentries change places."""
    parent, name = one.parent, one.name
    assert parent is not None and other.parent is not None
    target, new_name = other.parent, other.name
    other.forget()
    one.move(target, new_name)
    other.move(parent, name)


def _notify_renamed(old: Found, new: Found, inode: Inode, replaced: Inode | None, exchange: bool) -> None:
    if not inotify.watched.count:
        return
    cookie = inotify.watched.next_cookie()
    kind = inotify.IN_ISDIR if inode.is_dir else 0
    inotify.notify(old.parent.inode, inotify.IN_MOVED_FROM | kind, old.name, cookie)
    inotify.notify(new.parent.inode, inotify.IN_MOVED_TO | kind, new.name, cookie)
    inotify.notify(inode, inotify.IN_MOVE_SELF | kind)
    if replaced is None:
        return
    if exchange:
        cookie = inotify.watched.next_cookie()
        kind = inotify.IN_ISDIR if replaced.is_dir else 0
        inotify.notify(new.parent.inode, inotify.IN_MOVED_FROM | kind, new.name, cookie)
        inotify.notify(old.parent.inode, inotify.IN_MOVED_TO | kind, old.name, cookie)
        inotify.notify(replaced, inotify.IN_MOVE_SELF | kind)
    elif replaced.nlink == 0 or replaced.is_dir:
        inotify.notify_removed(replaced)
    else:
        inotify.notify(replaced, inotify.IN_ATTRIB)
