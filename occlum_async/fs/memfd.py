"""memfd_create(2): files without a name. Seals are kept by the host's memfd, which enforces them."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Any

from ..abi.errors import SyscallError
from ..abi.stat import S_IFREG
from .context import Caller
from .dentry import Dentry, Location
from .mount import Mount
from .opening import open_location
from .ramfs import RamFs, RamInode

if TYPE_CHECKING:
    from ..io.file import File

MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_HUGETLB, MFD_NOEXEC_SEAL, MFD_EXEC = 1, 2, 4, 8, 16
F_SEAL_EXEC = 0x20
MAX_NAME = 249


class MemoryFiles:
    """The hidden mount that all memfds of a LibOS live in."""

    def __init__(self, fs: RamFs) -> None:
        self.mount = Mount(fs, Dentry(b"", None, fs.root), source=b"memfd")

    async def create(self, caller: Caller, name: bytes, flags: int) -> File:
        """memfd_create(2)."""
        if flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC) or len(name) > MAX_NAME:
            raise SyscallError(errno.EINVAL)
        if flags & MFD_NOEXEC_SEAL and flags & MFD_EXEC:
            raise SyscallError(errno.EINVAL)
        mode = 0o666 if flags & MFD_NOEXEC_SEAL else 0o777
        fs = self.mount.fs
        assert isinstance(fs, RamFs)
        inode = RamInode(fs, S_IFREG | mode, caller.credentials.fsuid, caller.credentials.fsgid)
        inode.nlink = 0
        assert inode.pages is not None
        fd = inode.pages.promote()
        if not flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
        inode.attached["seals"] = F_SEAL_EXEC if flags & MFD_NOEXEC_SEAL else 0
        dentry = Dentry(b"memfd:" + name, self.mount.root, inode)
        dentry.deleted = True
        return await open_location(caller, Location(dentry, self.mount), os.O_RDWR, created=True)


def _sealed_fd(file: File) -> tuple[int, dict[str, Any]]:
    inode = file.location.inode if file.location is not None else None
    if not isinstance(inode, RamInode) or "seals" not in inode.attached or inode.pages is None:
        raise SyscallError(errno.EINVAL)
    return inode.pages.promote(), inode.attached


def get_seals(file: File) -> int:
    """F_GET_SEALS; EINVAL for what is no memfd."""
    fd, attached = _sealed_fd(file)
    return fcntl.fcntl(fd, fcntl.F_GET_SEALS) | int(attached["seals"])


def add_seals(file: File, seals: int) -> None:
    """F_ADD_SEALS; EPERM when sealed already, EBUSY while a writable mapping exists (F_SEAL_WRITE)."""
    fd, attached = _sealed_fd(file)
    if seals & ~0x3F:
        raise SyscallError(errno.EINVAL)
    if not file.writable:
        raise SyscallError(errno.EPERM)
    try:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals & 0x1F)
    except OSError as error:
        raise SyscallError(error.errno or errno.EINVAL) from None
    attached["seals"] |= seals & F_SEAL_EXEC
