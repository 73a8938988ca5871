"""/proc/PID/fd and fdinfo."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any

from ...abi.errors import SyscallError
from ...abi.stat import S_IFLNK, S_IFREG
from ..inode import Inode
from ..synthetic import Directory, SyntheticInode, TextFile
from .filesystem import ProcFs
from .views import ThreadView, check_inspect, owner

O_LARGEFILE = 0o100000
O_CLOEXEC = 0o2000000


class FdDirectory(Directory):
    """A name for each descriptor of ``thread``: a magic link, or a text (``info``)."""

    fs: ProcFs

    def __init__(self, fs: ProcFs, path: bytes, thread: ThreadView, info: bool) -> None:
        super().__init__(fs, path, 0o555 if info else 0o500, *owner(thread.process))
        self.thread = thread
        self.info = info

    def entries(self) -> Iterable[tuple[int, bytes, int]]:
        check_inspect(self.fs.reader(), self.thread.process)
        kind = S_IFREG if self.info else S_IFLNK
        return [(fd + 1, str(fd).encode(), kind) for fd, _ in self.thread.files.items()]

    def child(self, name: bytes) -> Inode | None:
        if not name.isdigit() or len(name) > 10 or (name[:1] == b"0" and name != b"0"):
            return None
        check_inspect(self.fs.reader(), self.thread.process)
        fd = int(name)
        try:
            file = self.thread.files.get(fd)
        except SyscallError:
            return None
        if self.info:
            return TextFile(
                self.fs, self.below(name), lambda: _info(self.thread.files, fd), None, 0o444, self.uid, self.gid
            )
        return FdLink(self.fs, self.below(name), self.thread, fd, file)


class FdLink(SyntheticInode):
    """/proc/PID/fd/N: following it gives the open file itself, or the place where it was opened."""

    fs: ProcFs

    def __init__(self, fs: ProcFs, path: bytes, thread: ThreadView, fd: int, file: Any) -> None:
        mode = 0o100 | (0o400 if file.readable else 0) | (0o200 if file.writable else 0)
        super().__init__(fs, path, S_IFLNK | mode, *owner(thread.process))
        self.thread = thread
        self.fd = fd
        self.size = 64

    def _file(self) -> Any:
        check_inspect(self.fs.reader(), self.thread.process)
        try:
            return self.thread.files.get(self.fd)
        except SyscallError:
            raise SyscallError(errno.ENOENT) from None

    async def follow(self) -> Any:
        return self._file()

    async def readlink(self) -> bytes:
        file = self._file()
        if file.location is not None:
            return self.fs.path_for_reader(file.location)
        description: str = file.describe()
        return os.fsencode(description)


def _info(files: Any, fd: int) -> bytes:
    """fdinfo: position, flags, mount and inode, and what the kind of file adds."""
    try:
        file = files.get(fd)
    except SyscallError:
        return b""
    flags = file.flags | O_LARGEFILE | (O_CLOEXEC if files.cloexec(fd) else 0)
    place = file.location
    mount, ino = (place.mount.id, place.inode.ino) if place is not None and place.dentry.inode is not None else (0, 0)
    text = f"pos:\t{file.position}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{ino}\n{file.fdinfo()}"
    return text.encode()
