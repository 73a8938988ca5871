"""Who may do what with an inode: mode bits, ownership, sticky directories, capabilities, mount flags."""

from __future__ import annotations

import errno

from ..abi.errors import SyscallError
from ..abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK
from .credentials import CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, Credentials
from .dentry import Location
from .inode import Inode
from .inodeflags import APPEND, IMMUTABLE, check_unlocked
from .mount import Mount

MAY_EXEC, MAY_WRITE, MAY_READ = 1, 2, 4
S_ISUID, S_ISGID, S_ISVTX, S_IXGRP = 0o4000, 0o2000, 0o1000, 0o010


def allowed(inode: Inode, credentials: Credentials, want: int) -> bool:
    """Whether the mode bits or a capability let ``credentials`` do ``want`` (MAY_* bits)."""
    mode = inode.mode
    if credentials.fsuid == inode.uid:
        bits = mode >> 6
    elif credentials.in_group(inode.gid):
        bits = mode >> 3
    else:
        bits = mode
    if want & ~bits & 7 == 0:
        return True
    directory = mode & S_IFMT == S_IFDIR
    if credentials.capable(CAP_DAC_OVERRIDE) and (directory or not want & MAY_EXEC or mode & 0o111):
        return True
    readable = MAY_READ | MAY_EXEC if directory else MAY_READ
    return want & ~readable == 0 and credentials.capable(CAP_DAC_READ_SEARCH)


def check(inode: Inode, credentials: Credentials, want: int) -> None:
    """EACCES unless ``allowed``; EPERM for writing to what nobody may change."""
    if want & MAY_WRITE:
        check_unlocked(inode, IMMUTABLE)
    if not allowed(inode, credentials, want):
        raise SyscallError(errno.EACCES)


def check_location(location: Location, credentials: Credentials, want: int) -> None:
    """``check``, and EROFS for writing to files of a read-only mount (device nodes and FIFOs excepted)."""
    inode = location.inode
    if want & MAY_WRITE and location.mount.readonly and inode.format not in (S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK):
        raise SyscallError(errno.EROFS)
    check(inode, credentials, want)


def check_writable(mount: Mount) -> None:
    """EROFS for a read-only mount."""
    if mount.readonly:
        raise SyscallError(errno.EROFS)


def check_create(directory: Inode, credentials: Credentials) -> None:
    """The right to add a name to ``directory``; ENOENT in a directory that was removed."""
    if directory.nlink == 0:
        raise SyscallError(errno.ENOENT)
    check(directory, credentials, MAY_WRITE | MAY_EXEC)


def check_delete(directory: Inode, inode: Inode, credentials: Credentials) -> None:
    """The right to remove the name of ``inode``; EPERM by flags, and in somebody else's sticky directory."""
    check(directory, credentials, MAY_WRITE | MAY_EXEC)
    check_unlocked(directory, APPEND)
    check_unlocked(inode)
    foreign = credentials.fsuid not in (inode.uid, directory.uid) and not credentials.capable(CAP_FOWNER)
    if foreign and directory.mode & S_ISVTX:
        raise SyscallError(errno.EPERM)


def owns(inode: Inode, credentials: Credentials) -> bool:
    """The owner, or CAP_FOWNER."""
    return credentials.fsuid == inode.uid or credentials.capable(CAP_FOWNER)


def may_follow(link: Inode, directory: Inode, credentials: Credentials) -> bool:
    """protected_symlinks: links in sticky, world-writable directories lead their owners only."""
    if directory.mode & (S_ISVTX | 0o002) != S_ISVTX | 0o002:
        return True
    return link.uid in (credentials.fsuid, directory.uid)


def may_link(inode: Inode, credentials: Credentials) -> bool:
    """protected_hardlinks: others' files are linked only when they are plain and writable."""
    if owns(inode, credentials):
        return True
    special = not inode.is_regular or inode.mode & S_ISUID or inode.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP
    return not special and allowed(inode, credentials, MAY_READ | MAY_WRITE)


def new_group(directory: Inode, mode: int, credentials: Credentials) -> tuple[int, int]:
    """Mode and group of what is made in ``directory``: a setgid directory hands on its group (and itself)."""
    if not directory.mode & S_ISGID:
        return mode, credentials.fsgid
    if mode & S_IFMT == S_IFDIR:
        mode |= S_ISGID
    elif mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP and not (
        credentials.in_group(directory.gid) or credentials.capable(CAP_FSETID)
    ):
        mode &= ~S_ISGID
    return mode, directory.gid


def without_privileges(mode: int) -> int:
    """The mode that remains after somebody wrote to, or changed the owner of, a regular file."""
    mode &= ~S_ISUID
    return mode & ~S_ISGID if mode & S_IXGRP else mode


def must_drop_privileges(inode: Inode, credentials: Credentials) -> bool:
    """Whether a write by ``credentials`` takes the set-id bits away."""
    mode = inode.mode
    return bool(
        mode & (S_ISUID | S_ISGID)
        and mode & S_IFMT == S_IFREG
        and without_privileges(mode) != mode
        and not credentials.capable(CAP_FSETID)
    )
