"""The block device: what every disk implements, plain or sealed, in memory or on the host.

Invariant: a block reads as it was written last, or as zeros if it never was, or was discarded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

BLOCK = 4096  # bytes; the unit of every count and every address here


class BlockDevice(ABC):
    """``blocks`` blocks of 4096 bytes, addressed from 0.

    Errors are ``SyscallError``: EIO (the device failed, or what it holds does not verify), ENOSPC (a device
    that promises more than it has is full), EROFS, EINVAL (a range that is not the device's). After an error
    of ``write`` or ``sync`` what was synced before is still there.
    """

    blocks: int
    read_only: bool = False

    @abstractmethod
    async def read(self, block: int, count: int) -> bytes | bytearray | memoryview:
        """The ``count`` blocks from ``block`` on, in one buffer that the caller may keep."""

    @abstractmethod
    async def write(self, block: int, data: bytes | bytearray | memoryview) -> None:
        """Write whole blocks from ``block`` on. Read at once, durable after ``sync``.

        ``data`` must not change before the call returns, and may change afterwards.
        """

    @abstractmethod
    async def discard(self, block: int, count: int) -> None:
        """The blocks' content is no longer needed: they read as zeros."""

    @abstractmethod
    async def sync(self) -> None:
        """Make all that was written before the call durable; with ``atomic_sync`` all of it or nothing."""

    async def sync_telling(self, settled: Callable[[], None]) -> None:
        """``sync``, and call ``settled``, maybe more than once, when what is written from then on is no part of it.

        Where that is not known before the end it is not called.
        """
        await self.sync()

    def begin_writeback(self, block: int, count: int) -> None:  # noqa: B027 - a hint may be ignored
        """A hint: these blocks were written for good, and need not wait for the next ``sync`` on their way."""

    def will_need(self, block: int, count: int) -> None:  # noqa: B027 - a hint may be ignored
        """A hint: these blocks will be read before long, one at a time."""

    atomic_sync: bool = False
    # Set by who uses a device with ``atomic_sync``: called when half of the room is used that there is for what is not
    # synced yet. If there is none left, the device syncs by itself, whatever has been written at that moment.
    pressure: Callable[[], None] | None = None

    @abstractmethod
    async def close(self) -> None:
        """``sync``, and give everything back. The device can't be used afterwards; closing twice is allowed."""

    async def abandon(self) -> None:
        """Give everything back without a ``sync``, as far as that can be avoided."""
        await self.close()
