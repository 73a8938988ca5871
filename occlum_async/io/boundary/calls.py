"""Host calls on names and attributes: plain, counted, and the same in every boundary.

They do not wait for anything but the host's own caches and disks, and an io_uring would hand each of them
to a worker thread (mkdir, rename, statx, ...), which costs more than the call. Directories are named by
file descriptors and entries by single names, so nothing here resolves a path. Errors of the host are
``SyscallError``.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import select
import struct
from collections.abc import Callable
from stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK
from typing import Any, NamedTuple, TypeVar

from ...abi.errors import SyscallError
from .counters import Counters

log = logging.getLogger(__name__)

T = TypeVar("T")

PATH_MAX = 4096
XATTR_SIZE_MAX = 65536
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_FOLLOW = 0x400

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x01, 0x02, 0x04, 0x08
# One name below one directory, and nothing that leads elsewhere.
RESOLVE_CONFINED = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2

FILE_TYPES = frozenset((S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK))
TIME_MAX = (1 << 40) * 10**9  # ns before and after 1970: more than any file system has

_SYS_GETDENTS64, _SYS_LINKAT, _SYS_FALLOCATE, _SYS_SYNCFS = 217, 265, 285, 306
_SYS_RENAMEAT2, _SYS_OPENAT2 = 316, 437
_OPEN_HOW = struct.Struct("<QQQ")
_DIRENT = struct.Struct("<QqHB")
_DIRENT_BUFFER = 32768

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class HostEntry(NamedTuple):
    """One entry of a host directory; ``type`` holds S_IF* bits, ``cookie`` is where to go on after it."""

    name: bytes
    ino: int
    type: int
    cookie: int


def _syscall(number: int, *arguments: Any) -> int:
    """syscall(2); raises OSError."""
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _long(value: int) -> ctypes.c_long:
    return ctypes.c_long(value)


class HostCalls:
    """The calls, over the counters of the boundary that they belong to."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        # Descriptors that the host has handed out and not got back: it can't hand them out again.
        self.descriptors: set[int] = set()
        self._openat2_works = True

    def call(self, operation: str, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Leave for one plain call of ``function``, under the name of ``operation``."""
        self.counters.exit()
        self.counters.operations[operation] += 1
        try:
            return function(*arguments, **options)
        except OSError as error:
            raise self.failure(operation, -(error.errno or errno.EIO)) from None
        except ValueError:  # a NUL byte in a name, a number out of range
            raise SyscallError(errno.EINVAL) from None

    def refuse(self, operation: str, answer: object) -> SyscallError:
        """The host answered what cannot be true: log it, and have the caller raise EIO."""
        self.counters.refused += 1
        log.error("the host's answer to %s cannot be true: %r", operation, answer)
        return SyscallError(errno.EIO)

    def failure(self, operation: str, result: int) -> SyscallError:
        """What to raise for a negative result: the host's error, if there is such an error."""
        return SyscallError(-result) if -result in errno.errorcode else self.refuse(operation, result)

    def check_count(self, operation: str, count: int, asked: int) -> int:
        """``count`` if the host may have answered it to a request for ``asked`` bytes."""
        if 0 <= count <= asked:
            return count
        raise self.refuse(operation, count)

    def check_written(self, count: int, asked: int) -> int:
        """``count``, which is counted, if so many of ``asked`` bytes may have been written: not none of them."""
        if not (0 < count <= asked or count == asked):
            raise self.refuse("write", count)
        self.counters.bytes_out += count
        return count

    def check_events(self, found: int, asked: int) -> int:
        """Those events of ``found`` that a poll for ``asked`` may have ended with: at least one of them."""
        events = found & (asked | select.POLLERR | select.POLLHUP | select.POLLNVAL)
        if not events:
            raise self.refuse("poll", found)
        return events

    # -- opening and closing ---------------------------------------------------

    def open_now(self, directory: int, name: bytes, flags: int, mode: int = 0, resolve: int = RESOLVE_CONFINED) -> int:
        """openat2(2) without waiting for the event loop; the new descriptor, always close-on-exec.

        A host without openat2 gets openat(2): for one name (not "..", no slash) O_NOFOLLOW says the same.
        """
        flags |= os.O_CLOEXEC
        if self._openat2_works:
            try:
                return self.check_fd(self.call("openat2", self._openat2, directory, name, flags, mode, resolve))
            except SyscallError as error:
                if error.errno not in (errno.ENOSYS, errno.EPERM) or not self._openat2_missing():
                    raise
        if b"/" in name or name == b"..":
            raise SyscallError(errno.EXDEV)
        nofollow = os.O_NOFOLLOW if resolve & RESOLVE_NO_SYMLINKS else 0
        return self.check_fd(self.call("openat", os.open, name, flags | nofollow, mode, dir_fd=directory))

    @staticmethod
    def _openat2(directory: int, name: bytes, flags: int, mode: int, resolve: int) -> int:
        how = _OPEN_HOW.pack(flags, mode, resolve)
        return _syscall(_SYS_OPENAT2, _long(directory), ctypes.c_char_p(name), ctypes.c_char_p(how), _long(len(how)))

    def _openat2_missing(self) -> bool:
        """Whether this host refuses every openat2 (an old kernel, a seccomp filter)."""
        try:
            os.close(self._openat2(AT_FDCWD, b"/", os.O_PATH | os.O_CLOEXEC, 0, 0))
        except OSError:
            self._openat2_works = False
            log.warning("the host refuses openat2: names are opened with openat and O_NOFOLLOW")
        return not self._openat2_works

    def check_fd(self, fd: int) -> int:
        """A descriptor that is new, and goes back to the host by ``close``."""
        self.descriptors.add(self._check_new(fd))
        return fd

    def _check_new(self, fd: int) -> int:
        """``fd`` if the host may have opened it: nobody gets a standard stream of ours, or what another has."""
        if fd <= 2 or fd in self.descriptors:
            raise self.refuse("open", fd)
        return fd

    def open_start(self, path: bytes, flags: int) -> int:
        """Open a path that the configuration named (the start of a tree), symbolic links followed."""
        return self.check_fd(self.call("open", os.open, path, flags | os.O_CLOEXEC))

    def reopen(self, fd: int, flags: int) -> int:
        """A new open file description of the file behind ``fd``. Anybody may close it."""
        return self._check_new(self.call("open", os.open, b"/proc/self/fd/%d" % fd, flags | os.O_CLOEXEC))

    def duplicate(self, fd: int) -> int:
        """Another descriptor of the same open file description. Anybody may close it."""
        return self._check_new(self.call("dup", os.dup, fd))

    def close(self, fd: int) -> None:
        """Close a descriptor. Never fails: what close(2) reports is of no use to anybody."""
        self.counters.exit()
        self.counters.operations["close"] += 1
        self.descriptors.discard(fd)
        try:
            os.close(fd)
        except OSError as error:
            log.warning("close(%d): %s", fd, error.strerror)

    # -- attributes --------------------------------------------------------------

    def stat(self, directory: int, name: bytes) -> os.stat_result:
        """The attributes of one name, a symbolic link's own."""
        return self._checked_stat(self.call("stat", os.stat, name, dir_fd=directory, follow_symlinks=False))

    def fstat(self, fd: int) -> os.stat_result:
        """The attributes of an open file."""
        return self._checked_stat(self.call("fstat", os.fstat, fd))

    def _checked_stat(self, stat: os.stat_result) -> os.stat_result:
        times = stat.st_atime_ns, stat.st_mtime_ns, stat.st_ctime_ns
        if S_IFMT(stat.st_mode) not in FILE_TYPES or stat.st_size < 0 or stat.st_blocks < 0:
            raise self.refuse("stat", stat)
        if max(times) >= TIME_MAX or min(times) <= -TIME_MAX:
            raise self.refuse("stat", times)
        return stat

    def statvfs(self, fd: int) -> os.statvfs_result:
        """Space and limits of the file system that ``fd`` is on."""
        return self.call("statvfs", os.fstatvfs, fd)

    def syncfs(self, fd: int) -> None:
        """Make everything durable that was written to the file system that ``fd`` is on."""
        self.call("syncfs", _syscall, _SYS_SYNCFS, _long(fd))

    def set_blocking(self, fd: int) -> None:
        """Clear O_NONBLOCK of a descriptor that this kernel opened itself."""
        self.call("fcntl", os.set_blocking, fd, True)

    def chmod(self, fd: int, mode: int) -> None:
        """Change the mode of the file behind ``fd``, which may be an O_PATH one (never a symbolic link)."""
        self.call("chmod", os.chmod, b"/proc/self/fd/%d" % fd, mode)

    def chown(self, directory: int, name: bytes, uid: int, gid: int) -> None:
        """Change the owner of one name, a symbolic link's own; -1 leaves as it is."""
        self.call("chown", os.chown, name, uid, gid, dir_fd=directory, follow_symlinks=False)

    def chown_open(self, fd: int, uid: int, gid: int) -> None:
        """Change the owner of the file behind ``fd``."""
        self.call("chown", os.chown, b"/proc/self/fd/%d" % fd, uid, gid)

    def utime(self, directory: int, name: bytes, atime: int, mtime: int) -> None:
        """Set both times (nanoseconds) of one name, a symbolic link's own."""
        self.call("utime", os.utime, name, ns=(atime, mtime), dir_fd=directory, follow_symlinks=False)

    def utime_open(self, fd: int, atime: int, mtime: int) -> None:
        """Set both times (nanoseconds) of the file behind ``fd``."""
        self.call("utime", os.utime, b"/proc/self/fd/%d" % fd, ns=(atime, mtime))

    # -- names -------------------------------------------------------------------

    def readlink(self, directory: int, name: bytes) -> bytes:
        """The target of a symbolic link."""
        target: bytes = self.call("readlink", os.readlink, name, dir_fd=directory)
        if not 0 < len(target) < PATH_MAX or b"\0" in target:
            raise self.refuse("readlink", target[:PATH_MAX])
        return target

    def mkdir(self, directory: int, name: bytes, mode: int) -> None:
        """Make a directory."""
        self.call("mkdir", os.mkdir, name, mode, dir_fd=directory)

    def mknod(self, directory: int, name: bytes, mode: int, device: int) -> None:
        """Make a file, FIFO, socket or device node."""
        self.call("mknod", os.mknod, name, mode, device, dir_fd=directory)

    def symlink(self, directory: int, name: bytes, target: bytes) -> None:
        """Make a symbolic link."""
        self.call("symlink", os.symlink, target, name, dir_fd=directory)

    def link(self, fd: int, directory: int, name: bytes) -> None:
        """Give the file behind ``fd`` (O_PATH or O_TMPFILE will do) another name."""
        path = ctypes.c_char_p(b"/proc/self/fd/%d" % fd)
        self.call(
            "link", _syscall, _SYS_LINKAT, _long(AT_FDCWD), path, _long(directory), ctypes.c_char_p(name),
            _long(AT_SYMLINK_FOLLOW),
        )  # fmt: skip

    def unlink(self, directory: int, name: bytes) -> None:
        """Remove a name that is no directory's."""
        self.call("unlink", os.unlink, name, dir_fd=directory)

    def rmdir(self, directory: int, name: bytes) -> None:
        """Remove an empty directory."""
        self.call("rmdir", os.rmdir, name, dir_fd=directory)

    def rename(self, directory: int, name: bytes, target: int, new_name: bytes, flags: int = 0) -> None:
        """renameat2(2)."""
        if not flags:
            return self.call("rename", os.rename, name, new_name, src_dir_fd=directory, dst_dir_fd=target)
        self.call(
            "rename", _syscall, _SYS_RENAMEAT2, _long(directory), ctypes.c_char_p(name), _long(target),
            ctypes.c_char_p(new_name), _long(flags),
        )  # fmt: skip
        return None

    def getdents(self, fd: int, cookie: int) -> list[HostEntry]:
        """The entries after ``cookie`` (0: from the start) without "." and ".."; [] at the end."""
        self.call("lseek", os.lseek, fd, cookie, os.SEEK_SET)
        buffer = ctypes.create_string_buffer(_DIRENT_BUFFER)
        while True:
            count = self.call("getdents", _syscall, _SYS_GETDENTS64, _long(fd), buffer, _long(_DIRENT_BUFFER))
            self.check_count("getdents", count, _DIRENT_BUFFER)
            self.counters.bytes_in += count
            if count == 0:
                return []
            entries = self._parse_entries(buffer.raw[:count])
            if entries:
                return entries

    def _parse_entries(self, data: bytes) -> list[HostEntry]:
        entries = []
        offset = 0
        while offset + _DIRENT.size <= len(data):
            ino, cookie, length, kind = _DIRENT.unpack_from(data, offset)
            name, found, _ = data[offset + _DIRENT.size : offset + length].partition(b"\0")
            if length < _DIRENT.size or offset + length > len(data) or not found or not name or b"/" in name:
                raise self.refuse("getdents", (length, name))
            if name not in (b".", b".."):
                entries.append(HostEntry(name, ino, kind << 12, cookie))
            offset += length
        return entries

    # -- what needs no waiting on an open file --------------------------------------

    def seek(self, fd: int, offset: int, whence: int) -> int:
        """lseek(2); used for SEEK_DATA and SEEK_HOLE."""
        return self.call("lseek", os.lseek, fd, offset, whence)

    def truncate(self, fd: int, size: int) -> None:
        """ftruncate(2)."""
        self.call("truncate", os.ftruncate, fd, size)

    def allocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        """fallocate(2), with its modes."""
        self.call("fallocate", _syscall, _SYS_FALLOCATE, _long(fd), _long(mode), _long(offset), _long(length))

    # -- extended attributes ---------------------------------------------------------

    def getxattr(self, fd: int, name: bytes) -> bytes:
        """An extended attribute of the file behind ``fd`` (O_PATH will do; never a symbolic link)."""
        value = self.call("getxattr", os.getxattr, b"/proc/self/fd/%d" % fd, name)
        self.check_count("getxattr", len(value), XATTR_SIZE_MAX)
        return value

    def setxattr(self, fd: int, name: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute."""
        self.call("setxattr", os.setxattr, b"/proc/self/fd/%d" % fd, name, value, flags)

    def removexattr(self, fd: int, name: bytes) -> None:
        """Remove an extended attribute."""
        self.call("removexattr", os.removexattr, b"/proc/self/fd/%d" % fd, name)

    def listxattr(self, fd: int) -> list[bytes]:
        """The names of all extended attributes."""
        return [os.fsencode(name) for name in self.call("listxattr", os.listxattr, b"/proc/self/fd/%d" % fd)]
