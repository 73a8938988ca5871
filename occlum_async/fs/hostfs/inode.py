"""One host file.

An inode is known by its (device, inode) pair. It remembers one place (directory and name) where it was
seen, opens itself there when a descriptor is needed, and checks that what it got is still the same file:
so no path is ever resolved on the host, and a race can at worst make a file stale (ESTALE).
"""

from __future__ import annotations

import errno
import os
import stat as modes
from collections.abc import Awaitable
from time import monotonic
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.stat import Stat
from ...io.boundary.base import MAX_TRANSFER
from ...io.boundary.calls import RENAME_EXCHANGE
from ...io.file import File
from ..credentials import Credentials
from ..inode import Attributes, DirEntry, Inode
from .handles import READ, WRITE, Handle
from .view import View

if TYPE_CHECKING:
    from .filesystem import HostFs

# The most that one read answers: more would only tie up the kernel's memory for one guest.
MAX_READ = 64 << 20

# O_NONBLOCK: a FIFO that somebody put in the file's place must not block the event loop.
_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_ACCESS = {0: os.O_PATH, READ: os.O_RDONLY, WRITE: os.O_WRONLY, READ | WRITE: os.O_RDWR}
_SET_ID = modes.S_ISUID | modes.S_ISGID


class HostInode(Inode):
    """A file of the host. ``parent`` and ``place`` are where it was seen last; the root has no parent."""

    fs: HostFs

    def __init__(
        self, fs: HostFs, parent: HostInode | None, place: bytes, stat: os.stat_result, view: View | None
    ) -> None:
        super().__init__(fs, fs.number(stat.st_dev, stat.st_ino), stat.st_mode)
        self.identity = (stat.st_dev, stat.st_ino)
        self.parent = parent
        self.place = place
        self.view = view
        self.blocks = 0
        self.blksize = 4096
        self._handle: Handle | None = None
        self._target: bytes | None = None
        self._fresh_until = 0.0
        self._absorb(stat)

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle is not None and handle.fd >= 0:
            self.fs.handles.drop(handle)

    def __repr__(self) -> str:
        return f"<HostInode {self.place!r} {self.identity}>"

    # -- identity and attributes ---------------------------------------------------

    def found_at(self, parent: HostInode, place: bytes, stat: os.stat_result, view: View | None) -> None:
        """The host shows this file as ``place`` in ``parent`` now."""
        if parent is not self.parent or place != self.place:
            self.parent, self.place, self.view = parent, place, view
        self._absorb(stat)

    def _absorb(self, stat: os.stat_result) -> None:
        fs = self.fs
        self.mode = stat.st_mode
        self.nlink = stat.st_nlink
        self.uid = fs.user_inside(stat.st_uid)
        self.gid = fs.group_inside(stat.st_gid)
        self.size = stat.st_size
        self.blocks = stat.st_blocks
        self.blksize = stat.st_blksize
        self.rdev = stat.st_rdev
        self.atime, self.mtime, self.ctime = stat.st_atime_ns, stat.st_mtime_ns, stat.st_ctime_ns
        self.btime = min(self.mtime, self.ctime)
        self._fresh_until = monotonic() + fs.validity
        if stat.st_size < 0:
            raise fs.boundary.refuse("stat", stat)

    def _is(self, stat: os.stat_result) -> bool:
        """Whether ``stat`` is of this file. Numbers are used again, so the kind must be the same as well."""
        same = (stat.st_dev, stat.st_ino) == self.identity
        return same and modes.S_IFMT(stat.st_mode) == modes.S_IFMT(self.mode)

    def _refresh(self) -> None:
        """Ask the host again. A file that is no longer where it was keeps what is known of it, without names."""
        boundary = self.fs.boundary
        handle = self._handle
        if handle is not None and handle.fd >= 0:
            self._absorb(boundary.fstat(handle.fd))
            return
        try:
            stat = boundary.stat(self._parent_fd(), self.place)
        except SyscallError as error:
            if error.errno not in (errno.ENOENT, errno.ESTALE, errno.ENOTDIR):
                raise
            self.nlink = 0
            return
        if self._is(stat):
            self._absorb(stat)
        else:
            self.nlink = 0

    async def getattr(self) -> Stat:
        if monotonic() >= self._fresh_until:
            self._refresh()
        return Stat(
            self.mode, self.ino, self.fs.device, self.nlink, self.uid, self.gid, self.rdev, self.size,
            self.blksize, self.blocks, self.atime, self.mtime, self.ctime, self.btime,
        )  # fmt: skip

    async def change(self, wanted: Attributes) -> None:
        self._check_writable()
        boundary = self.fs.boundary
        atime, mtime = wanted.atime, wanted.mtime
        if wanted.size is not None:
            boundary.truncate(await self._file(WRITE), wanted.size)
        if wanted.uid is not None or wanted.gid is not None:
            self._chown(wanted.uid, wanted.gid)
        if wanted.mode is not None and not self.is_symlink:
            boundary.chmod(self._any_fd(), self._mode_outside(wanted.mode))
        if atime is not None or mtime is not None:
            times = (self.atime if atime is None else atime, self.mtime if mtime is None else mtime)
            if self.is_symlink:
                boundary.utime(self._parent_fd(), self.place, *times)
            else:
                boundary.utime_open(self._any_fd(), *times)
        self._refresh()

    def _chown(self, uid: int | None, gid: int | None) -> None:
        fs = self.fs
        user = -1 if uid is None or uid == self.uid else fs.user_outside(uid)
        group = -1 if gid is None or gid == self.gid else fs.group_outside(gid)
        if (user, group) == (-1, -1):
            return
        if self.is_symlink:
            fs.boundary.chown(self._parent_fd(), self.place, user, group)
        else:
            fs.boundary.chown_open(self._any_fd(), user, group)

    def _mode_outside(self, mode: int) -> int:
        """A guest must not leave set-id programs behind for other users of the host to run."""
        return mode & 0o7777 if self.is_dir else mode & 0o7777 & ~_SET_ID

    def _check_writable(self) -> None:
        if not self.fs.writable:
            raise SyscallError(errno.EROFS)

    # -- descriptors -----------------------------------------------------------------

    def attach_root(self, fd: int, rights: int) -> None:
        """Make ``fd`` the root's own descriptor, for as long as the file system is mounted."""
        self._install(fd, rights)
        self._pin()

    def detach_root(self) -> None:
        """Close the root's descriptor."""
        if self._handle is not None:
            self.fs.handles.drop(self._handle)

    def _install(self, fd: int, rights: int) -> int:
        """Make ``fd`` the inode's descriptor, in place of the one it has."""
        old = self._handle
        self._handle = self.fs.handles.add(fd, rights)
        if old is not None:
            if old.pinned:
                self.fs.handles.pin(self._handle)
            self.fs.handles.drop(old)
        return fd

    def _verify(self, fd: int) -> int:
        """``fd`` if it is this file; it is closed otherwise (ESTALE)."""
        boundary = self.fs.boundary
        try:
            stat = boundary.fstat(fd)
            if not self._is(stat):
                raise SyscallError(errno.ESTALE)
            self._absorb(stat)
        except SyscallError:
            boundary.close(fd)
            raise
        return fd

    def _current(self, rights: int) -> int:
        """The descriptor if there is one with ``rights``, else -1."""
        handle = self._handle
        if handle is None or handle.fd < 0 or handle.rights & rights != rights:
            return -1
        self.fs.handles.touch(handle)
        return handle.fd

    def directory_fd(self) -> int:
        """The descriptor of this directory, for calls on its names; its ancestors are opened as needed."""
        fd = self._current(0)
        if fd >= 0:
            return fd
        missing: list[HostInode] = []
        here: HostInode | None = self
        while here is not None and here._current(0) < 0:
            missing.append(here)
            here = here.parent
        if here is None:
            raise SyscallError(errno.ESTALE)
        fd = here._current(0)
        for inode in reversed(missing):
            fd = inode._open_directory(fd)
        return fd

    def _open_directory(self, parent: int) -> int:
        boundary = self.fs.boundary
        flags = _OPEN | os.O_DIRECTORY
        rights = READ
        try:
            fd = self._open_now(parent, flags | os.O_RDONLY)
        except SyscallError as error:
            if error.errno != errno.EACCES:
                raise
            fd, rights = boundary.open_now(parent, self.place, flags | os.O_PATH), 0
        return self._install(self._verify(fd), rights)

    def _open_now(self, parent: int, flags: int) -> int:
        try:
            return self.fs.boundary.open_now(parent, self.place, flags)
        except SyscallError as error:
            raise _stale(error) from None

    def _parent_fd(self) -> int:
        if self.parent is None:
            raise SyscallError(errno.ESTALE)
        return self.parent.directory_fd()

    def _any_fd(self) -> int:
        """A descriptor of any kind, for calls that take an O_PATH one. Not for symbolic links' contents."""
        if self.is_dir:
            return self.directory_fd()
        fd = self._current(0)
        if fd < 0:
            fd = self._install(self._verify(self._open_now(self._parent_fd(), os.O_PATH | os.O_NOFOLLOW)), 0)
        return fd

    async def _file(self, rights: int) -> int:
        """The descriptor of this regular file with ``rights``, opened or opened again as needed."""
        fd = self._current(rights)
        if fd >= 0:
            return fd
        boundary = self.fs.boundary
        wanted = READ | WRITE if rights & WRITE else READ
        try:
            fd = await self._open_file(wanted)
        except SyscallError as error:
            if error.errno != errno.EACCES or rights != WRITE:
                raise
            wanted = WRITE  # writable and not readable
            fd = await self._open_file(wanted)
        boundary.set_blocking(fd)
        return self._install(fd, wanted)

    async def _open_file(self, rights: int) -> int:
        boundary = self.fs.boundary
        flags = _ACCESS[rights] | _OPEN
        have = self._current(0)
        if have >= 0:
            return boundary.reopen(have, flags & ~os.O_NOFOLLOW)
        if not self.is_regular:
            raise SyscallError(errno.ENXIO)
        try:
            fd = await boundary.open(self._parent_fd(), self.place, flags)
        except SyscallError as error:
            raise _stale(error) from None
        return self._verify(fd)

    def _pin(self) -> None:
        """The name goes away: hold the file by a descriptor for as long as somebody uses this inode."""
        if self.is_symlink:
            return
        self._any_fd()
        if self._handle is not None:
            self.fs.handles.pin(self._handle)

    # -- a directory's ----------------------------------------------------------------

    async def lookup(self, name: bytes) -> HostInode:
        view = self.view
        if view is not None and not view.shows(name):
            raise SyscallError(errno.ENOENT)
        if not self.is_dir:
            raise SyscallError(errno.ENOTDIR)
        stat = self.fs.boundary.stat(self.directory_fd(), name)
        return self.fs.inode(self, name, stat, view.below(name) if view is not None else None)

    async def readdir(self, cookie: int) -> list[DirEntry]:
        fs = self.fs
        fd = self.directory_fd()
        if self._current(READ) < 0:
            fd = self._install(fs.boundary.reopen(fd, os.O_RDONLY | os.O_DIRECTORY), READ)
        view = self.view
        while True:
            entries = fs.boundary.getdents(fd, cookie)
            shown = [
                DirEntry(entry.name, fs.number(self.identity[0], entry.ino), entry.type, entry.cookie)
                for entry in entries
                if view is None or view.shows(entry.name)
            ]
            if shown or not entries:
                return shown
            cookie = entries[-1].cookie

    async def create(self, name: bytes, mode: int, credentials: Credentials, rdev: int = 0) -> HostInode:
        fd = self._changing(name)
        boundary = self.fs.boundary
        kind = modes.S_IFMT(mode) or modes.S_IFREG
        if kind in (modes.S_IFCHR, modes.S_IFBLK):
            raise SyscallError(errno.EPERM)  # no device nodes on the host
        if kind == modes.S_IFREG:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW
            created = boundary.open_now(fd, name, flags, mode & 0o7777 & ~_SET_ID)
            inode = self.fs.inode(self, name, boundary.fstat(created), None)
            inode._install(created, READ | WRITE)
        else:
            boundary.mknod(fd, name, mode, 0)
            inode = await self.lookup(name)
        inode._make_own(mode, credentials)
        return inode

    async def mkdir(self, name: bytes, mode: int, credentials: Credentials) -> HostInode:
        self.fs.boundary.mkdir(self._changing(name), name, mode & 0o7777)
        inode = await self.lookup(name)
        inode._make_own(mode, credentials)
        return inode

    async def symlink(self, name: bytes, target: bytes, credentials: Credentials) -> HostInode:
        self.fs.boundary.symlink(self._changing(name), name, target)
        inode = await self.lookup(name)
        if self.fs.privileged:
            inode._chown(credentials.fsuid, credentials.fsgid)
        return inode

    async def tmpfile(self, mode: int, credentials: Credentials) -> HostInode:
        boundary = self.fs.boundary
        flags = os.O_TMPFILE | os.O_RDWR
        fd = boundary.open_now(self._changing(b""), b".", flags, mode & 0o7777 & ~_SET_ID)
        inode = self.fs.inode(self, b"", boundary.fstat(fd), None)
        inode._install(fd, READ | WRITE)
        inode._pin()
        inode._make_own(mode, credentials)
        return inode

    def _make_own(self, mode: int, credentials: Credentials) -> None:
        """Give a new file the mode that was asked for (the host's umask cut it) and its owner."""
        fs = self.fs
        if fs.privileged:
            setgid = self.parent is not None and self.parent.mode & modes.S_ISGID
            self._chown(credentials.fsuid, None if setgid else credentials.fsgid)
        mode = self._mode_outside(mode | self.mode & modes.S_ISGID if self.is_dir else mode)
        if self.mode & 0o7777 != mode:
            fs.boundary.chmod(self._any_fd(), mode)
        self._refresh()

    async def link(self, name: bytes, inode: Inode) -> None:
        assert isinstance(inode, HostInode)
        self._check_writable()
        boundary = self.fs.boundary
        fd = boundary.duplicate(inode._any_fd())
        try:
            boundary.link(fd, self._changing(name), name)
        finally:
            boundary.close(fd)
        if not inode.place:
            inode.parent, inode.place = self, name
        inode._refresh()

    async def unlink(self, name: bytes, inode: Inode) -> None:
        self._check_writable()
        assert isinstance(inode, HostInode)
        inode._pin()
        self.fs.boundary.unlink(self._changing(name), name)
        inode._removed()

    async def rmdir(self, name: bytes, inode: Inode) -> None:
        fd = self._changing(name)
        assert isinstance(inode, HostInode)
        self.fs.boundary.rmdir(fd, name)
        inode.nlink = 0

    async def rename(
        self, name: bytes, inode: Inode, target: Inode, new_name: bytes, replaced: Inode | None, exchange: bool = False
    ) -> None:
        assert isinstance(target, HostInode) and isinstance(inode, HostInode)
        assert replaced is None or isinstance(replaced, HostInode)
        if replaced is not None and not exchange:
            replaced._pin()
        flags = RENAME_EXCHANGE if exchange else 0
        boundary = self.fs.boundary
        # Opening the second directory may close the first one's descriptor: it takes one of its own.
        fd = boundary.duplicate(self._changing(name))
        try:
            boundary.rename(fd, name, target._changing(new_name), new_name, flags)
        finally:
            boundary.close(fd)
        inode.parent, inode.place = target, new_name
        if replaced is not None:
            if exchange:
                replaced.parent, replaced.place = self, name
            else:
                replaced._removed()

    def _changing(self, name: bytes) -> int:
        """The descriptor of this directory, whose entry ``name`` is about to change."""
        self._check_writable()
        if self.view is not None and not self.view.shows(name):
            raise SyscallError(errno.EACCES)
        self._fresh_until = 0.0
        return self.directory_fd()

    def _removed(self) -> None:
        """One name of this inode is gone."""
        if self.is_dir or self.is_symlink:
            self.nlink = max(0, self.nlink - 1) if self.is_symlink else 0
            return
        self._refresh()

    # -- a symbolic link's ---------------------------------------------------------------

    async def readlink(self) -> bytes:
        if not self.is_symlink:
            raise SyscallError(errno.EINVAL)
        if self._target is None or monotonic() >= self._fresh_until:
            try:
                self._target = self.fs.boundary.readlink(self._parent_fd(), self.place)
            except SyscallError as error:
                raise SyscallError(
                    errno.ESTALE if error.errno in (errno.EINVAL, errno.ENOENT) else error.errno
                ) from None
        return self._target

    # -- a regular file's ------------------------------------------------------------------

    def open(self, flags: int) -> File | Awaitable[File | None] | None:  # type: ignore[override]
        """No special file, but the host's refusal (EACCES, ETXTBSY) must show now and not at the first read."""
        if flags & os.O_PATH or not self.is_regular:
            return None
        access = flags & os.O_ACCMODE
        rights = READ if access == os.O_RDONLY else WRITE if access == os.O_WRONLY else READ | WRITE
        if rights & WRITE and not self.fs.writable:
            raise SyscallError(errno.EROFS)
        return None if self._current(rights) >= 0 else self._open_checked(rights)

    async def _open_checked(self, rights: int) -> None:
        await self._file(rights)

    async def read(self, size: int, offset: int) -> bytes:
        self._check_regular()
        size = min(size, MAX_READ)
        piece = await self._read_piece(size, offset)
        done = len(piece)
        if done == size or self._at_end(piece, offset):
            return piece
        pieces = [piece]
        while done < size:
            piece = await self._read_piece(size - done, offset + done)
            pieces.append(piece)
            done += len(piece)
            if self._at_end(piece, offset + done - len(piece)):
                break
        return b"".join(pieces)

    async def _read_piece(self, size: int, offset: int) -> bytes:
        return await self.fs.boundary.read(await self._file(READ), min(size, MAX_TRANSFER), offset)

    def _at_end(self, piece: bytes, offset: int) -> bool:
        """Whether nothing comes after ``piece``: else the host has read less than it was asked to."""
        return not piece or offset + len(piece) >= self.size

    async def write(self, data: bytes | memoryview, offset: int) -> int:
        self._check_regular()
        self._check_writable()
        view = memoryview(data)
        done = 0
        while done < len(view):
            try:
                count = await self.fs.boundary.write(await self._file(WRITE), view[done:], offset + done)
            except SyscallError:
                if done:
                    break
                raise
            done += count
            if count == 0:
                break
        self.size = max(self.size, offset + done)
        self._fresh_until = 0.0
        return done

    def _check_regular(self) -> None:
        if not self.is_regular:
            raise SyscallError(errno.EISDIR if self.is_dir else errno.EINVAL)

    async def fallocate(self, mode: int, offset: int, length: int) -> None:
        self._check_writable()
        await self.fs.boundary.fallocate(await self._file(WRITE), mode, offset, length)
        self._refresh()

    async def seek_data(self, offset: int, hole: bool) -> int:
        fd = await self._file(READ)
        found = self.fs.boundary.seek(fd, offset, os.SEEK_HOLE if hole else os.SEEK_DATA)
        if found < offset:
            raise self.fs.boundary.refuse("lseek", found)
        return found

    async def sync(self, data_only: bool) -> None:
        if not self.fs.writable:
            return
        if self.is_dir:
            await self.fs.boundary.sync(self.directory_fd(), data_only)
        elif self.is_regular:
            await self.fs.boundary.sync(await self._file(READ), data_only)

    def mapping(self, shared: bool, writable: bool) -> tuple[int, bool]:
        if not self.is_regular:
            raise SyscallError(errno.ENODEV)
        writing = shared and writable
        if writing and not self.fs.writable:
            raise SyscallError(errno.EACCES)
        boundary = self.fs.boundary
        handle = self._handle
        if handle is None or handle.fd < 0:
            fd = self._verify(self._open_now(self._parent_fd(), os.O_RDONLY | _OPEN))
            boundary.set_blocking(fd)
            self._install(fd, READ)
            handle = self._handle
            assert handle is not None
        self.fs.handles.touch(handle)
        if handle.rights == READ and not writing:
            return boundary.duplicate(handle.fd), True
        return boundary.reopen(handle.fd, os.O_RDWR if writing else os.O_RDONLY), True

    # -- extended attributes ------------------------------------------------------------------

    async def getxattr(self, name: bytes) -> bytes:
        return self.fs.boundary.getxattr(self._xattr_fd(errno.ENODATA), name)

    async def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        self._check_writable()
        if not name.startswith(b"user."):
            raise SyscallError(errno.EPERM)
        self.fs.boundary.setxattr(self._xattr_fd(errno.EPERM), name, value, flags)

    async def removexattr(self, name: bytes) -> None:
        self._check_writable()
        if not name.startswith(b"user."):
            raise SyscallError(errno.EPERM)
        self.fs.boundary.removexattr(self._xattr_fd(errno.ENODATA), name)

    async def listxattr(self) -> list[bytes]:
        if self.is_symlink:
            return []
        return self.fs.boundary.listxattr(self._any_fd())

    def _xattr_fd(self, refusal: int) -> int:
        if self.is_symlink:
            raise SyscallError(refusal)
        return self._any_fd()


def _stale(error: SyscallError) -> SyscallError:
    """What a failed opening of a known name means: something else is there now, or nothing."""
    gone = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV)
    return SyscallError(errno.ESTALE) if gone else error
