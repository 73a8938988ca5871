"""The table of file descriptors of a process (or of those that share it, CLONE_FILES)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from heapq import heappop, heappush

from ..abi.errors import SyscallError
from ..io.file import File
from .locks import release_owner

NR_OPEN = 1 << 20


class FdTable:
    """Descriptors and what they refer to. ``limit`` is RLIMIT_NOFILE's soft value.

    ``users`` counts the threads' groups that share the table. The table owns one reference of each file.
    """

    def __init__(self, limit: int = 1024) -> None:
        self.limit = limit
        self.users = 0
        self._files: dict[int, File] = {}
        self._cloexec: set[int] = set()
        # Invariant: every number below ``_top`` that is not in ``_files`` is in the heap ``_free`` (which
        # may also hold numbers that are taken by now: they are skipped when they come up).
        self._free: list[int] = []
        self._top = 0

    def __len__(self) -> int:
        return len(self._files)

    def get(self, fd: int) -> File:
        """The file behind ``fd``; EBADF."""
        try:
            return self._files[fd]
        except KeyError:
            raise SyscallError(errno.EBADF) from None

    def install(self, file: File, cloexec: bool = False, minimum: int = 0) -> int:
        """Give ``file`` the lowest free descriptor from ``minimum`` up; EMFILE at the limit."""
        fd = self._lowest(minimum)
        if fd >= min(self.limit, NR_OPEN):
            raise SyscallError(errno.EMFILE)
        self._put(fd, file, cloexec)
        return fd

    def _lowest(self, minimum: int) -> int:
        files = self._files
        while self._free and self._free[0] in files:
            heappop(self._free)
        if minimum == 0:
            return self._free[0] if self._free else self._top
        fd = minimum
        while fd in files:
            fd += 1
        return fd

    def _put(self, fd: int, file: File, cloexec: bool) -> None:
        while self._top < fd:
            heappush(self._free, self._top)
            self._top += 1
        if fd == self._top:
            self._top += 1
        self._files[fd] = file.acquire()
        if cloexec:
            self._cloexec.add(fd)
        else:
            self._cloexec.discard(fd)

    def replace(self, fd: int, file: File, cloexec: bool = False) -> None:
        """Let ``fd`` refer to ``file``, closing what it was before (dup2). EBADF beyond the limit."""
        if not 0 <= fd < min(self.limit, NR_OPEN):
            raise SyscallError(errno.EBADF)
        before = self._files.get(fd)
        self._put(fd, file, cloexec)
        if before is not None:
            self._drop(before)

    def close(self, fd: int) -> None:
        """Free ``fd``; EBADF."""
        file = self._files.pop(fd, None)
        if file is None:
            raise SyscallError(errno.EBADF)
        self._cloexec.discard(fd)
        heappush(self._free, fd)
        self._drop(file)

    def _drop(self, file: File) -> None:
        # POSIX: closing any descriptor of a file gives up all of the process' record locks on it.
        if file.location is not None:
            release_owner(file.location.dentry.inode, self)
        file.release()

    def cloexec(self, fd: int) -> bool:
        """Whether ``fd`` is closed by exec; EBADF."""
        self.get(fd)
        return fd in self._cloexec

    def set_cloexec(self, fd: int, cloexec: bool) -> None:
        """FD_CLOEXEC; EBADF."""
        self.get(fd)
        if cloexec:
            self._cloexec.add(fd)
        else:
            self._cloexec.discard(fd)

    def items(self) -> Iterator[tuple[int, File]]:
        """Descriptors in ascending order, with their files: a snapshot."""
        return iter(sorted(self._files.items()))

    def copy(self) -> FdTable:
        """fork(2)'s copy: the same open files, other descriptors."""
        table = FdTable(self.limit)
        table._files = {fd: file.acquire() for fd, file in self._files.items()}
        table._cloexec = set(self._cloexec)
        table._free = list(self._free)
        table._top = self._top
        return table

    def close_on_exec(self) -> None:
        """Close what is marked FD_CLOEXEC."""
        for fd in sorted(self._cloexec):
            self.close(fd)

    def close_all(self) -> None:
        """The last user is gone."""
        for fd in sorted(self._files):
            if fd in self._files:
                self.close(fd)

    def acquire(self) -> FdTable:
        """One more process or thread uses this table."""
        self.users += 1
        return self

    def release(self) -> None:
        """A user is gone; the last one closes everything."""
        self.users -= 1
        if self.users == 0:
            self.close_all()
