"""How a disk is made, and how it is found again.

Invariant: nothing is written before everything that is there has verified; and before the first write of a session
there is a checkpoint of its own, so that nothing which a former session left unfinished can continue it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace

from ...abi.errors import SyscallError
from ...errors import DiskError
from ...sched.strand import Scheduler
from ..block.device import BLOCK, BlockDevice
from . import journal as journals
from .blockio import SealedBlocks
from .cipher import best_cipher
from .commit import NAME_SIZE, Committer
from .counter import TrustedCounter, check_fresh
from .forest import Forest
from .journal import Chain, Journal
from .keys import Keys
from .layout import DEFAULT_RESERVE, HOLE, JOURNAL, SUPERBLOCKS, plan
from .pending import Pending
from .space import Space
from .stats import Statistics
from .superblock import COUNT_MAX, Header, Superblock, choose, decode, read_header
from .volume import Volume
from .workers import Workers
from .writer import Writer

IDENTITY_SIZE = 16
READ_AT_ONCE = 256


@dataclass(frozen=True)
class Options:
    """How to make or open a disk. ``bits`` of its keys are given when it is made, and 0 when it is opened."""

    counter: TrustedCounter | None = None
    cache: int = 0
    bits: int = 0
    reserve: float = DEFAULT_RESERVE
    blocks: int | None = None
    read_only: bool = False
    bind_counter: bool = False
    strict: bool = False


@dataclass
class Parts:
    """A disk that is running."""

    volume: Volume
    writer: Writer
    committer: Committer
    workers: Workers
    statistics: Statistics
    read_only: bool
    strict: bool


async def create(scheduler: Scheduler, device: BlockDevice, key: bytes, options: Options) -> Parts:
    """Make a disk that is all holes."""
    if options.bits not in (128, 256):
        raise DiskError("keys have 128 or 256 bits")
    if device.read_only:
        raise DiskError("the image can't be written to")
    try:
        geometry = plan(device.blocks, options.reserve, options.blocks)
    except ValueError as error:
        raise DiskError(str(error)) from None
    header = Header(os.urandom(IDENTITY_SIZE), options.bits)
    keys = Keys(best_cipher(), key, header.identity, header.bits)
    superblock = Superblock(geometry, 0, 0, 0, os.urandom(NAME_SIZE), options.reserve, HOLE, HOLE)
    number = 0 if options.counter is None else await scheduler.bridge(options.counter.read())
    parts = _assemble(scheduler, device, keys, header, superblock, options, number)
    await _begin(parts)
    return parts


async def open_disk(scheduler: Scheduler, device: BlockDevice, key: bytes, options: Options) -> Parts:
    """Find the last synced state, and begin a session on it."""
    try:
        return await _open(scheduler, device, key, options)
    except SyscallError as error:
        raise DiskError(f"the disk can't be read: {os.strerror(error.errno)}; nothing was changed") from None


async def _open(scheduler: Scheduler, device: BlockDevice, key: bytes, options: Options) -> Parts:
    header, keys, superblock = await _find_superblock(device, key)
    geometry = superblock.geometry
    if device.blocks < geometry.image:
        raise DiskError(
            f"the image is too short: {device.blocks} blocks instead of {geometry.image}", "restore it from a copy"
        )
    chain = await _read_journal(device, keys, superblock)
    number = max(superblock.counter, chain.counter)
    if number >= COUNT_MAX:
        raise SyscallError(errno.EIO)
    if options.counter is not None:
        number = await _check_counter(scheduler, options, number)
    parts = _assemble(scheduler, device, keys, header, superblock, options, number)
    try:
        async with parts.volume.lock():
            await parts.volume.replay(chain.deltas)
        if not parts.read_only:
            await _begin(parts)
    except BaseException:
        parts.workers.close()
        raise
    return parts


async def _check_counter(scheduler: Scheduler, options: Options, number: int) -> int:
    """Compare with the trusted counter, and let it catch up; the number to go on from."""
    counter = options.counter
    assert counter is not None
    trusted: int = await scheduler.bridge(counter.read())
    if options.bind_counter:
        return trusted
    check_fresh(number, trusted)
    if number > trusted and not options.read_only:
        await scheduler.bridge(counter.advance(number))
    return number


async def _find_superblock(device: BlockDevice, key: bytes) -> tuple[Header, Keys, Superblock]:
    if device.blocks <= SUPERBLOCKS[-1]:
        raise DiskError("this is no MlsDisk: the image is too short")
    blocks = [await device.read(place, 1) for place in SUPERBLOCKS]
    headers = [read_header(block) for block in blocks]
    if not any(headers):
        raise DiskError("this is no MlsDisk, or the begin of both superblocks is destroyed")
    cipher = best_cipher()
    found: list[tuple[Header, Keys, Superblock] | None] = []
    for block, header in zip(blocks, headers, strict=True):
        keys = Keys(cipher, key, header.identity, header.bits) if header is not None else None
        superblock = decode(block, keys) if keys is not None else None
        found.append((header, keys, superblock) if header and keys and superblock else None)
    chosen = choose([item[2] if item else None for item in found])
    return next(item for item in found if item is not None and item[2] is chosen)


async def _read_journal(device: BlockDevice, keys: Keys, superblock: Superblock) -> Chain:
    blocks: list[memoryview] = []
    size = superblock.geometry.journal
    for start in range(0, size, READ_AT_ONCE):
        count = min(READ_AT_ONCE, size - start)
        data = memoryview(await device.read(JOURNAL + start, count))
        if len(data) != count * BLOCK:
            raise SyscallError(errno.EIO)
        blocks.extend(data[index * BLOCK : (index + 1) * BLOCK] for index in range(count))
    return journals.follow(keys, superblock.name, blocks)


def _assemble(
    scheduler: Scheduler, device: BlockDevice, keys: Keys, header: Header, superblock: Superblock, options: Options,
    number: int,
) -> Parts:  # fmt: skip
    geometry = superblock.geometry
    statistics = Statistics()
    workers = Workers(scheduler)
    io = SealedBlocks(device, keys, keys.cipher, workers, statistics)
    # Half of the memory, and more where that makes a round table, is for entries on their way to the index.
    pending = Pending(options.cache * 5 // 8)
    forest = Forest(io, options.cache * 3 // 8 // BLOCK, geometry.index_top, geometry.space_top)
    forest.roots = {geometry.index_top: superblock.index_root, geometry.space_top: superblock.space_root}
    free = geometry.data - superblock.occupied
    space = Space(forest, geometry, free, superblock.generation + 1)
    volume = Volume(scheduler, io, forest, space, geometry, geometry.journal * journals.DELTAS, pending)
    read_only = options.read_only or device.read_only
    writer = Writer(scheduler, volume)
    journal = Journal(keys, geometry.journal, superblock.name)
    counter = None if read_only else options.counter
    committer = Committer(scheduler, volume, writer, replace(superblock), header, journal, counter, number)
    return Parts(volume, writer, committer, workers, statistics, read_only, options.strict)


async def _begin(parts: Parts) -> None:
    """Begin a session: a checkpoint of its own, whose name binds the journal.

    With a trusted counter there is a second one. A state that was under way when the machine stopped has the number
    that the first one has, too; after the second, it is older than the counter says.
    """
    await parts.committer.commit(checkpoint=True)
    if parts.committer.counts:
        await parts.committer.commit(checkpoint=True)
