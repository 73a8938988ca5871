"""The disk: what a file system, or a program of its own, uses.

Invariant: what ``open`` finds is the state of the last ``sync`` that came back, or of one that was under way; never
anything else, and never a part of it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from ...abi.errors import SyscallError
from ...errors import DiskError
from ...io.boundary import Boundary, open_boundary
from ...sched.strand import Scheduler
from ..block.device import BLOCK, BlockDevice
from ..block.image import HostImage
from . import recovery
from .check import Checker, Report
from .cipher import numbers
from .cleaner import Cleaner
from .commit import Committer
from .counter import TrustedCounter
from .keys import check_root
from .layout import DEFAULT_RESERVE, Geometry, image_blocks, replan
from .recovery import Options, Parts
from .volume import Volume
from .writer import Writer

log = logging.getLogger(__name__)

READ_PIECE = 256  # blocks of a large read that are opened together
DEFAULT_CACHE = 60 << 20  # bytes for nodes


@runtime_checkable
class Resizable(Protocol):
    """A device that can be made longer."""

    blocks: int

    def resize(self, blocks: int) -> None: ...


class MlsDisk(BlockDevice):
    """A secure disk on a device that is not trusted. Made by ``create`` and ``open``; belongs to one event loop.

    After an error of the device in writing, the disk is read-only (EROFS) until it is opened again, and ``sync`` says
    what it was; what was synced before is still there.
    """

    atomic_sync = True

    def __init__(self, scheduler: Scheduler, device: BlockDevice, parts: Parts, own: list[Callable[[], Any]]) -> None:
        self.scheduler = scheduler
        self.device = device
        self._volume: Volume = parts.volume
        self._writer: Writer = parts.writer
        self._committer: Committer = parts.committer
        self._workers = parts.workers
        self.statistics = parts.statistics
        self._own = own
        self._closed = False
        self.blocks = self._volume.geometry.blocks
        self.read_only = parts.read_only
        self._writable = 0 if self.read_only else self.blocks
        # Called once for each transaction when half of the room for it is used: whoever writes should sync soon,
        # at a moment of its choice. What was synced is kept until then.
        self.pressure: Callable[[], None] | None = None
        self._writer.started = self._press
        self._pressed = 0
        self._cleaner = Cleaner(scheduler, self._volume, self._writer, self._committer)
        if not self.read_only:
            self._committer.after = self._cleaner.wake
        if not parts.strict:
            self._writer.relieve = self._committer.early

    # -- making and opening ---------------------------------------------------------------------

    @classmethod
    async def create(
        cls, image: BlockDevice | str | os.PathLike[str], key: bytes, *, blocks: int | None = None,
        reserve: float = DEFAULT_RESERVE, bits: int = 256, counter: TrustedCounter | None = None,
        strict: bool = False, cache: int = DEFAULT_CACHE, scheduler: Scheduler | None = None,
        boundary: Boundary | None = None,
    ) -> MlsDisk:  # fmt: skip
        """Make a new disk of ``blocks`` blocks of 4 KiB on a device, or in a new file that is given by its path.

        On a device without ``blocks``, as many as it can promise with ``reserve`` of it kept free. What the device
        held before is lost. ``DiskError`` says what was wrong.
        """
        check_root(key)
        options = Options(counter, cache, bits, reserve, blocks, strict=strict)
        scheduler, device, own = await _device(image, scheduler, boundary, options)
        try:
            parts = await recovery.create(scheduler, device, key, options)
        except BaseException:
            made_here = bool(own)
            await _release(own)
            if made_here and isinstance(device, HostImage):
                os.unlink(device.path)
            raise
        return cls(scheduler, device, parts, own)

    @classmethod
    async def open(
        cls, image: BlockDevice | str | os.PathLike[str], key: bytes, *, counter: TrustedCounter | None = None,
        bind_counter: bool = False, read_only: bool = False, strict: bool = False, cache: int = DEFAULT_CACHE,
        scheduler: Scheduler | None = None, boundary: Boundary | None = None,
    ) -> MlsDisk:  # fmt: skip
        """Open a disk on a device or in a file, in its last synced state. ``DiskError`` says what was wrong.

        With ``counter`` an older state of the whole disk is refused. ``bind_counter`` accepts the state that is there
        and lets the counter count for it from now on. What is written without a sync may need more room than there is
        beside the last synced state: then it is committed early, or, if ``strict``, the write is ENOSPC.
        """
        check_root(key)
        options = Options(counter, cache, read_only=read_only, bind_counter=bind_counter, strict=strict)
        scheduler, device, own = await _device(image, scheduler, boundary, options)
        try:
            parts = await recovery.open_disk(scheduler, device, key, options)
        except BaseException:
            await _release(own)
            raise
        return cls(scheduler, device, parts, own)

    # -- the device -------------------------------------------------------------------------------

    def _check(self, block: int, count: int) -> None:
        if self._closed or count < 0 or not 0 <= block <= self.blocks - count:
            raise SyscallError(errno.EINVAL)

    async def read(self, block: int, count: int) -> bytes | bytearray | memoryview:
        self._check(block, count)
        self.statistics.user_read += count
        if count == 1:
            writer = self._writer
            if writer.busy or writer.gathered_any:
                if content := writer.gathered(block, 1):
                    return content[0][1]
                await writer.settled(block, 1)
            return await self._volume.read_one(block)
        if count <= READ_PIECE:
            return await self._read(block, count)
        whole = bytearray(count * BLOCK)
        for start in range(0, count, READ_PIECE):
            piece = min(READ_PIECE, count - start)
            whole[start * BLOCK : (start + piece) * BLOCK] = await self._read(block + start, piece)
        return whole

    async def _read(self, block: int, count: int) -> bytes | bytearray:
        gathered = self._writer.gathered(block, count)
        if self._writer.busy:
            await self._writer.settled(block, count)
        data = await self._volume.read(numbers(range(block, block + count)))
        for index, content in gathered:
            data[index * BLOCK : (index + 1) * BLOCK] = content
        return data

    async def write(self, block: int, data: bytes | bytearray | memoryview) -> None:
        size = len(data)
        if size == BLOCK and 0 <= block < self._writable and self._writer.take(block, data):
            self.statistics.user_written += 1
            self._committer.clock += 1
            return
        count = size // BLOCK
        if size % BLOCK:
            raise SyscallError(errno.EINVAL)
        self._check(block, count)
        if self.read_only:
            raise SyscallError(errno.EROFS)
        if not count:
            return
        self.statistics.user_written += count
        try:
            await self._writer.write(block, memoryview(data))
        finally:
            self._committer.clock += 1

    def _press(self) -> None:
        """Tell whoever writes that the room gets short, once for each transaction."""
        space = self._volume.space
        if self.pressure is None:
            return
        used = sum(space.held.values()) + self._writer.promised
        if self._pressed < space.generation and self._volume.room(self._writer.promised) < used:
            self._pressed = space.generation
            self.pressure()

    async def discard(self, block: int, count: int) -> None:
        self._check(block, count)
        if self.read_only:
            raise SyscallError(errno.EROFS)
        if not count:
            return
        self.statistics.discarded += count
        try:
            await self._writer.discard(block, count)
        finally:
            self._committer.clock += 1

    async def sync(self) -> None:
        if self._closed:
            raise SyscallError(errno.EINVAL)
        await self._committer.commit()

    async def sync_telling(self, settled: Callable[[], None]) -> None:
        with self._committer.telling(settled):
            await self.sync()

    async def checkpoint(self) -> None:
        """``sync``, and leave nothing in the journal."""
        if self._closed or self.read_only:
            raise SyscallError(errno.EINVAL)
        await self._committer.commit(checkpoint=True)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._writable = 0
        error: SyscallError | None = None
        await self._cleaner.stop()
        try:
            if not self.read_only and not self._writer.error:
                await self._committer.commit(checkpoint=True)
                await self._volume.io.flush()
        except SyscallError as caught:
            error = caught
        await self._give_back()
        if error is not None:
            raise error

    async def abandon(self) -> None:
        """Close without a sync: what was written since the last one is gone, as after a crash."""
        if self._closed:
            return
        self._closed = True
        self._writable = 0
        await self._cleaner.stop()
        await self._give_back()

    async def _give_back(self) -> None:
        await self._committer.until_idle()
        await self._writer.until_idle()
        self._writer.close()
        self._volume.cache.close()
        self._volume.io.keys.forget()
        self._workers.close()
        await _release(self._own)

    async def check(self) -> Report:
        """Read and verify everything, without changing anything; what was written before the call is synced first."""
        if self._closed:
            raise SyscallError(errno.EINVAL)
        if not self.read_only:
            await self._committer.commit()
        return await self._writer.to_its_end(self._look())

    async def _look(self) -> Report:
        async with self._writer.inside(), self._volume.lock():
            await self._volume.merge()
            return await Checker(self._volume).run()

    async def resize(self, blocks: int) -> None:
        """Have ``blocks`` blocks from now on, durably; what was behind a new end is gone.

        The image is made longer when it has to be, and never shorter.
        """
        if self._closed or self.read_only or blocks < 1:
            raise SyscallError(errno.EINVAL)
        if blocks < self.blocks:
            await self.discard(blocks, self.blocks - blocks)
        volume = self._volume
        try:
            after = replan(volume.geometry, blocks, self._committer.superblock.reserve)
        except ValueError as error:
            raise DiskError(str(error)) from None
        if after.image > self.device.blocks:
            if not isinstance(self.device, Resizable):
                raise DiskError("the device can't be made longer")
            self.device.resize(after.image)
        self.blocks = self._writable = min(blocks, self.blocks)
        await self._writer.to_its_end(self._reshape(after))

    async def _reshape(self, geometry: Geometry) -> None:
        await self._committer.reshape(geometry)
        self.blocks = self._writable = geometry.blocks

    # -- what else ---------------------------------------------------------------------------------

    def stats(self) -> dict[str, float]:
        """What was done since the disk was opened, and how full it is. Counts of blocks."""
        space, geometry = self._volume.space, self._volume.geometry
        return self.statistics.snapshot() | {
            "blocks": geometry.blocks,
            "image_blocks": geometry.image,
            "occupied": space.occupied,
            "free": space.free,
            "held": sum(space.held.values()),
            "clean_segments": space.clean_segments,
            "segments": geometry.segments,
            "cached_nodes": len(self._volume.cache.slot_of),
            "pending_entries": len(self._volume.pending),
            "changed_nodes": self._volume.cache.dirty_count,
            "generation": space.generation,
            "failed": self._writer.error,
        }


async def _device(
    image: BlockDevice | str | os.PathLike[str],
    scheduler: Scheduler | None,
    boundary: Boundary | None,
    options: Options,
) -> tuple[Scheduler, BlockDevice, list[Callable[[], Any]]]:
    """The device itself, or the file of that name as one; and what to call when it is not used any more."""
    if scheduler is None:
        scheduler = boundary.scheduler if boundary is not None else Scheduler(asyncio.get_running_loop())
    if isinstance(image, BlockDevice):
        return scheduler, image, []
    own: list[Callable[[], Any]] = []
    if boundary is None:
        boundary = open_boundary("auto", scheduler)
        own.append(boundary.shutdown)
    try:
        if options.bits:
            if options.blocks is None:
                raise DiskError("how large is the disk to be?", "give the number of its blocks")
            try:
                size = image_blocks(options.blocks, options.reserve)
            except ValueError as error:
                raise DiskError(str(error)) from None
            device = HostImage.create(image, size, boundary)
        else:
            device = HostImage.open(image, boundary, options.read_only)
    except BaseException:
        await _release(own)
        raise
    own.insert(0, device.close)
    return scheduler, device, own


async def _release(own: list[Callable[[], Any]]) -> None:
    for release in own:
        try:
            await release()
        except SyscallError as error:
            log.error("mlsdisk: the image could not be closed in order: %s", error)
    own.clear()
