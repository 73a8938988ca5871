"""Trusted counters: what keeps the host from offering an older state of the whole disk.

Invariant: a state with the number n is durable before the counter becomes n, and no state with n + 1 is written before
the counter is n. So a disk is right when its number is the counter's, or one more (the machine stopped between the
two); anything older was superseded and is refused.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from ...errors import DiskError


class TrustedCounter(ABC):
    """A number that the host can't set back. It belongs to one disk."""

    @abstractmethod
    async def read(self) -> int:
        """The present value; 0 at first."""

    @abstractmethod
    async def advance(self, value: int) -> None:
        """Make it ``value``, which is the present one plus one, durably before the call returns."""


class MemoryCounter(TrustedCounter):
    """For tests: as trustworthy as this process, and gone with it."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    async def read(self) -> int:
        return self.value

    async def advance(self, value: int) -> None:
        _check(self.value, value)
        self.value = value


class FileCounter(TrustedCounter):
    """A number in a file, for a file system that the attacker of the disk can't write to.

    The file is replaced, never changed in place. Its calls are plain and block for as long as the file system's sync.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)

    async def read(self) -> int:
        try:
            with open(self._path, encoding="ascii") as file:
                text = file.read(32)
        except FileNotFoundError:
            return 0
        except (OSError, UnicodeDecodeError) as error:
            raise DiskError(f"{self._path}: the counter can't be read ({error})") from None
        if not (text.strip().isdecimal() and len(text) < 24):
            raise DiskError(f"{self._path}: this is no counter")
        return int(text)

    async def advance(self, value: int) -> None:
        _check(await self.read(), value)
        new = f"{self._path}.new"
        try:
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, b"%d\n" % value)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(new, self._path)
            directory = os.open(os.path.dirname(self._path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise DiskError(f"{self._path}: the counter can't be advanced ({error})") from None


class CallbackCounter(TrustedCounter):
    """A counter elsewhere: a key management service, a TPM's monotonic counter, a replicated log."""

    def __init__(self, read: Callable[[], Awaitable[int]], advance: Callable[[int], Awaitable[None]]) -> None:
        self._read, self._advance = read, advance

    async def read(self) -> int:
        return await self._read()

    async def advance(self, value: int) -> None:
        await self._advance(value)


def _check(before: int, value: int) -> None:
    if value != before + 1:
        raise DiskError(f"a trusted counter goes from {before} to {before + 1}, not to {value}")


def check_fresh(disk: int, counter: int) -> None:
    """Refuse a disk whose number is not the counter's or one more."""
    if disk < counter:
        raise DiskError(
            f"rollback: this is an older state of the disk (number {disk}, the trusted counter says {counter})",
            "offer the latest image",
        )
    if disk > counter + 1:
        raise DiskError(
            f"the trusted counter ({counter}) does not belong to this disk (number {disk})",
            "use the disk's own counter",
        )
