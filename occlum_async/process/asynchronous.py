"""System calls that nobody waits for: the same handlers and decoders, on behalf of a thread that has gone on."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

from ..abi import shared
from ..abi.errors import Interrupted, SyscallError
from ..abi.uring import FILE_INDEX_ALLOC
from ..fs.credentials import Credentials
from ..fs.fdtable import NR_OPEN, FdTable
from ..io.file import File
from ..io.uring.registered import FileTable
from .failure import failed
from .guestmemory import Memory
from .marshal import Call
from .thread import Thread

FIXED = NR_OPEN  # the registered file of index i is descriptor FIXED + i to the handlers


class RemoteUser:
    """A process' memory, at a time when none of its threads need be in the kernel. See ``guestmemory.User``."""

    __slots__ = ("host",)

    def __init__(self, host: Memory) -> None:
        self.host = host

    def place(self, position: int) -> tuple[int, int]:
        """Nothing was copied ahead."""
        return 0, shared.PLACE_NONE

    def window(self, offset: int, size: int) -> bytes:
        """There is none."""
        raise SyscallError(errno.EFAULT)

    def copy_out(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Copy ``data`` out; EFAULT."""
        self.host.write(address, data)


class RequestFiles(FdTable):
    """The descriptors of a thread as one of its requests sees them.

    Registered files have the numbers from ``FIXED`` up; a file that is ``held`` stays what it was when the request
    began; and with a ``slot`` (a number, or FILE_INDEX_ALLOC) what is opened goes there instead of to a descriptor:
    one file, whose number is then 0, or with ``several`` more of them into the slots that follow.
    """

    def __init__(self, table: FdTable, fixed: FileTable, slot: int | None = None, several: bool = False) -> None:
        self.table = table
        self.fixed = fixed
        self.slot = slot
        self.several = several
        self.held: dict[int, File] = {}
        self.limit = table.limit

    def __len__(self) -> int:
        return len(self.table) if self.slot is None else 0

    def get(self, fd: int) -> File:
        file = self.held.get(fd)
        if file is not None:
            return file
        return self.fixed.get(fd - FIXED) if fd >= FIXED else self.table.get(fd)

    def install(self, file: File, cloexec: bool = False, minimum: int = 0) -> int:
        if self.slot is None:
            return self.table.install(file, cloexec, minimum)
        if cloexec:
            raise SyscallError(errno.EINVAL)
        index = self.fixed.install(file, self.slot)
        if self.slot == FILE_INDEX_ALLOC:
            return index
        if not self.several:
            return 0
        self.slot += 1
        return index

    def close(self, fd: int) -> None:
        if self.several and self.slot is not None:
            self.fixed.remove(fd)
        elif fd < FIXED:
            self.table.close(fd)
        else:
            self.fixed.remove(fd - FIXED)


class Worker(Thread):
    """The thread as one of its requests acts for it: the same in all but its descriptors and maybe its credentials.

    It is entered nowhere and never runs by itself.
    """

    def __init__(self, thread: Thread, files: FdTable, credentials: Credentials | None = None) -> None:
        self._thread = thread
        self.files = files
        if credentials is not None:
            self.credentials = credentials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thread, name)


def make(call: Call, thread: Thread, user: RemoteUser, arguments: tuple[Any, ...]) -> Any:
    """Call the handler: numbers are decoded as registers are, anything else is passed as it is.

    The result, or for a handler that may block something that is to be awaited.
    """
    call.count += 1
    return call.make_mixed(thread, user, arguments)


def answer(thread: Thread, name: str, act: Callable[[], int | Awaitable[int | None] | None]) -> int | Awaitable[int]:
    """What ``act`` gives or how it ends, in one number, as a system call's: negative for an error.

    At once, or to be awaited if ``act`` gives something to await. ``Interrupted`` means that it was cancelled.
    """
    try:
        result = act()
    except Exception as error:
        return failure(thread, name, error)
    return result or 0 if result is None or isinstance(result, int) else outcome(thread, name, result)


async def outcome(thread: Thread, name: str, work: Awaitable[int | None]) -> int:
    """``answer`` for what may wait."""
    try:
        return await work or 0
    except Exception as error:
        return failure(thread, name, error)


def failure(thread: Thread, name: str, error: Exception) -> int:
    """What a request that ended with ``error`` answers: ``Interrupted`` is its cancellation."""
    return -errno.ECANCELED if isinstance(error, Interrupted) else failed(thread, name, error)
