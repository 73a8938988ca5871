"""open(2): from a path and flags to an open file."""

from __future__ import annotations

import errno
import inspect
import os
from typing import Any

from ..abi.errors import SyscallError
from ..abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK
from ..io.file import File
from ..sched.mutex import Mutex
from . import inotify
from .context import Caller
from .dentry import Dentry, Location
from .devices import open_device
from .inode import Inode
from .inodeflags import APPEND, check_unlocked
from .mount import MS_NODEV, MS_NOEXEC
from .namei import DIRECTORY, FOLLOW, MISSING, PARENT, Found, walk
from .permissions import (
    MAY_EXEC,
    MAY_READ,
    MAY_WRITE,
    S_ISVTX,
    check_create,
    check_location,
    check_writable,
    new_group,
    owns,
    without_privileges,
)
from .regular import DirectoryFile, PathFile, RegularFile

O_LARGEFILE = 0o100000
O_TMPFILE = 0o20000000 | os.O_DIRECTORY
O_TMPFILE_ONLY = 0o20000000
# What fcntl(F_GETFL) shows: everything but what only the opening itself looks at.
STATUS_FLAGS = ~(os.O_CREAT | os.O_EXCL | os.O_NOCTTY | os.O_TRUNC | os.O_CLOEXEC)


def namespace_lock(inode: Inode) -> Mutex:
    """Held while names of a file system change: look and change are one step for everyone."""
    fs = inode.fs
    mutex: Mutex | None = fs.__dict__.get("namespace_lock")
    if mutex is None:
        mutex = fs.__dict__["namespace_lock"] = Mutex()
    return mutex


async def open_path(
    caller: Caller, path: bytes, flags: int, mode: int = 0, start: Location | None = None, how: int = 0
) -> File:
    """open(2), relative to ``start``; ``how`` are openat2's RESOLVE_* as ``namei`` names them.

    The file has no user yet: ``FdTable.install`` or ``acquire`` makes the first.
    """
    if flags & os.O_PATH:
        flags &= os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    follow = 0 if flags & os.O_NOFOLLOW or (flags & os.O_CREAT and flags & os.O_EXCL) else FOLLOW
    if flags & O_TMPFILE_ONLY:
        return await _open_tmpfile(caller, path, flags, mode, start, how | follow)
    if flags & os.O_CREAT and flags & os.O_DIRECTORY:
        raise SyscallError(errno.EINVAL)
    wanted = how | follow | (MISSING if flags & os.O_CREAT else 0)
    if flags & os.O_CREAT and path.endswith(b"/"):
        await walk(caller, path, start, how | PARENT)
        raise SyscallError(errno.EISDIR)
    while True:
        found = await walk(caller, path, start, wanted)
        if found.location is not None:
            break
        location = await _create(caller, found, mode)
        if location is not None:
            return await open_location(caller, location, flags & ~os.O_TRUNC, created=True)
        # Somebody else was faster: look again.
    location = found.location
    inode = location.inode
    if flags & os.O_CREAT:
        if flags & os.O_EXCL:
            raise SyscallError(errno.EEXIST)
        if inode.is_dir:
            raise SyscallError(errno.EISDIR)
        _check_sticky_create(found.parent.inode, inode, caller)
    if flags & os.O_DIRECTORY and not inode.is_dir:
        raise SyscallError(errno.ENOTDIR)
    return await open_location(caller, location, flags)


def _check_sticky_create(directory: Inode, inode: Inode, caller: Caller) -> None:
    """protected_regular and protected_fifos: O_CREAT must not open what others left in a shared directory."""
    if inode.format not in (S_IFREG, S_IFIFO) or not directory.mode & S_ISVTX or not directory.mode & 0o002:
        return
    if inode.uid not in (caller.credentials.fsuid, directory.uid):
        raise SyscallError(errno.EACCES)


async def _create(caller: Caller, found: Found, mode: int) -> Location | None:
    """Make the regular file that open(2) found missing; None when it is there by now."""
    parent = found.parent
    directory = parent.inode
    check_writable(parent.mount)
    async with namespace_lock(directory).hold(caller.scheduler):
        check_create(directory, caller.credentials)
        mode, gid = new_group(directory, S_IFREG | mode & 0o7777 & ~caller.fs.umask, caller.credentials)
        owner = caller.credentials
        if gid != owner.fsgid:
            owner = owner.with_(fsgid=gid)
        try:
            inode = await directory.create(found.name, mode, owner)
        except SyscallError as error:
            if error.errno == errno.EEXIST:
                return None
            raise
        dentry = parent.dentry.made(found.name, inode)
    inotify.notify(directory, inotify.IN_CREATE, found.name)
    return Location(dentry, parent.mount)


async def _open_tmpfile(caller: Caller, path: bytes, flags: int, mode: int, start: Location | None, how: int) -> File:
    if flags & O_TMPFILE != O_TMPFILE or flags & os.O_ACCMODE == os.O_RDONLY or flags & os.O_CREAT:
        raise SyscallError(errno.EINVAL)
    location = (await walk(caller, path, start, how | DIRECTORY)).location
    assert location is not None
    directory = location.inode
    check_writable(location.mount)
    check_create(directory, caller.credentials)
    mode, gid = new_group(directory, S_IFREG | mode & 0o7777 & ~caller.fs.umask, caller.credentials)
    owner = caller.credentials if gid == caller.credentials.fsgid else caller.credentials.with_(fsgid=gid)
    inode = await directory.tmpfile(mode, owner)
    inode.attached["tmpfile"] = not flags & os.O_EXCL
    dentry = Dentry(b"#%d" % inode.ino, location.dentry, inode)
    dentry.deleted = True
    return await open_location(caller, Location(dentry, location.mount), flags & ~O_TMPFILE, created=True)


async def open_location(caller: Caller, location: Location, flags: int, created: bool = False) -> File:
    """Open what is at ``location``. ``created``: just made by the caller, whatever its mode says."""
    inode = location.inode
    if flags & os.O_PATH:
        return PathFile(caller.scheduler, flags & ~os.O_CLOEXEC & STATUS_FLAGS, location)
    kind = inode.format
    if kind == S_IFLNK:
        raise SyscallError(errno.ELOOP)
    if kind == S_IFSOCK:
        raise SyscallError(errno.ENXIO)
    access = flags & os.O_ACCMODE
    writes = access != os.O_RDONLY or bool(flags & os.O_TRUNC)
    if kind == S_IFDIR and writes:
        raise SyscallError(errno.EISDIR)
    if kind in (S_IFCHR, S_IFBLK) and location.mount.flags & MS_NODEV:
        raise SyscallError(errno.EACCES)
    if not created:
        want = (MAY_READ if access in (os.O_RDONLY, os.O_RDWR) else 0) | (MAY_WRITE if writes else 0)
        check_location(location, caller.credentials, want)
        if flags & os.O_TRUNC or (access != os.O_RDONLY and not flags & os.O_APPEND):
            check_unlocked(inode, APPEND)
        if flags & os.O_NOATIME and not owns(inode, caller.credentials):
            raise SyscallError(errno.EPERM)
    file = await _make_file(caller, location, kind, flags)
    if writes and flags & os.O_TRUNC and kind == S_IFREG:
        await _truncate_on_open(caller, location, inode)
    if file.location is None:
        file.location = location
    _count(file, location, kind, access)
    inotify.notify_at(location, inotify.IN_OPEN)
    return file


async def _make_file(caller: Any, location: Location, kind: int, flags: int) -> File:
    inode = location.inode
    status = flags & STATUS_FLAGS | O_LARGEFILE
    special = inode.open(status | flags & os.O_TRUNC)
    if special is not None and inspect.isawaitable(special):
        special = await special
    if special is not None:
        special.flags &= ~os.O_TRUNC
        return special
    if kind == S_IFREG:
        if flags & os.O_ACCMODE != os.O_RDONLY and inode.attached.get("executing"):
            raise SyscallError(errno.ETXTBSY)
        return RegularFile(caller.scheduler, status, location, caller.credentials)
    if kind == S_IFDIR:
        return DirectoryFile(caller.scheduler, status, location)
    if kind == S_IFIFO:
        from ..io.fifo import open_fifo

        fifo: File = await open_fifo(
            inode.attached, caller.scheduler, status, location.getattr, lambda: os.fsdecode(location.path())
        )
        return fifo
    return await open_device(inode, flags, caller)


async def _truncate_on_open(caller: Caller, location: Location, inode: Inode) -> None:
    if inode.attached.get("executing"):
        raise SyscallError(errno.ETXTBSY)
    mode = without_privileges(inode.mode)
    if mode != inode.mode:
        await inode.setattr(mode=mode & 0o7777)
    await inode.truncate(0)
    inotify.notify_at(location, inotify.IN_MODIFY)


def _count(file: File, location: Location, kind: int, access: int) -> None:
    """Let the mount and the inode know that the file is open, until it is closed."""
    if file.users:
        return  # the same open file again, behind /proc/self/fd/N
    location.mount.files += 1
    writes = kind == S_IFREG and access != os.O_RDONLY
    attached = location.inode.attached
    if writes:
        attached["writers"] = attached.get("writers", 0) + 1
    event = inotify.IN_CLOSE_WRITE if access != os.O_RDONLY else inotify.IN_CLOSE_NOWRITE

    def closed(_: File) -> None:
        location.mount.files -= 1
        if writes:
            attached["writers"] -= 1
        inotify.notify_at(location, event)
        locks = attached.get("locks")
        if locks is not None:
            locks.release(file)

    file.on_close.append(closed)


def check_execute(location: Location, caller: Caller) -> None:
    """The right to execute a file: EACCES for what is no regular file, has no x bit or lies on noexec.

    ETXTBSY while somebody has it open for writing.
    """
    inode = location.inode
    if not inode.is_regular or location.mount.flags & MS_NOEXEC:
        raise SyscallError(errno.EACCES)
    check_location(location, caller.credentials, MAY_EXEC)
    if inode.attached.get("writers"):
        raise SyscallError(errno.ETXTBSY)


def start_executing(inode: Inode) -> None:
    """A process runs this file: it can't be opened for writing (ETXTBSY) until ``stop_executing``."""
    inode.attached["executing"] = inode.attached.get("executing", 0) + 1


def stop_executing(inode: Inode) -> None:
    """A process that ran this file is gone."""
    inode.attached["executing"] -= 1
