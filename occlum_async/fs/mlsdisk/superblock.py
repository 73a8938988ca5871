"""The superblock: the one block that vouches for all others, in two copies.

Invariant: a copy is written only after everything that it refers to is durable, and the other copy only after the first
one is. So one of them is whole at any time, and after a crash both are the last checkpoint or the one before.
"""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass

from ...errors import DiskError
from ..block.device import BLOCK
from .cipher import TAG
from .keys import Keys
from .layout import ENTRY_SIZE, JOURNAL, MAX_BLOCKS, MAX_JOURNAL, MIN_JOURNAL, Geometry

log = logging.getLogger(__name__)

MAGIC = b"MLSDISK\1"
# In the clear: magic, identity, bits of the cipher's keys, epoch, counter. Then the tag, then what is sealed.
_CLEAR = struct.Struct("<8s16sIQI")
CLEAR_SIZE = 64
_TAG_AT = _CLEAR.size
# Image, blocks, journal; generation, trusted counter, blocks in use; the checkpoint's name; reserve; both roots.
_SEALED = struct.Struct(f"<QQQQQQ16sd{ENTRY_SIZE}s{ENTRY_SIZE}s")
SEALED_SIZE = BLOCK - CLEAR_SIZE
BITS = (128, 256)
COUNT_MAX = 1 << 62  # of commits: nobody lives to see it


@dataclass(frozen=True)
class Superblock:
    """One checkpoint."""

    geometry: Geometry
    generation: int
    counter: int
    occupied: int
    name: bytes  # random: the journal that continues this checkpoint, and no other, carries it
    reserve: float
    index_root: bytes
    space_root: bytes


@dataclass(frozen=True)
class Header:
    """What stands in the clear, to derive the key."""

    identity: bytes
    bits: int


def encode(superblock: Superblock, keys: Keys, header: Header) -> bytes:
    """The block."""
    geometry = superblock.geometry
    key, epoch, counter = keys.take(1)
    clear = _CLEAR.pack(MAGIC, header.identity, header.bits, epoch, counter)
    data = _SEALED.pack(
        geometry.image, geometry.blocks, geometry.journal, superblock.generation, superblock.counter,
        superblock.occupied, superblock.name, superblock.reserve, superblock.index_root, superblock.space_root,
    )  # fmt: skip
    sealed, tag = keys.cipher.seal(key, counter, clear, data.ljust(SEALED_SIZE, b"\0"))
    return (clear + tag).ljust(CLEAR_SIZE, b"\0") + sealed


def read_header(block: bytes | bytearray | memoryview) -> Header | None:
    """What stands in the clear; None when this is no superblock."""
    magic, identity, bits, _, _ = _CLEAR.unpack_from(block)
    if magic != MAGIC or bits not in BITS:
        return None
    return Header(identity, bits)


def decode(block: bytes | bytearray | memoryview, keys: Keys) -> Superblock | None:
    """The checkpoint; None when the block does not verify."""
    view = memoryview(block)
    _, _, _, epoch, counter = _CLEAR.unpack_from(view)
    tag = view[_TAG_AT : _TAG_AT + TAG]
    if any(view[_TAG_AT + TAG : CLEAR_SIZE]):
        return None
    data = keys.cipher.open(keys.of(epoch), counter, bytes(view[:_TAG_AT]), view[CLEAR_SIZE:], tag)
    if data is None:
        return None
    image, blocks, journal, generation, trusted, occupied, name, reserve, index, space = _SEALED.unpack_from(data)
    sound = MIN_JOURNAL <= journal <= MAX_JOURNAL and JOURNAL + journal < image <= MAX_BLOCKS and 0 < blocks < image
    counted = max(generation, trusted) < COUNT_MAX and occupied <= image
    if not sound or not counted or not 0 < reserve < 1:
        return None
    return Superblock(Geometry(image, blocks, journal), generation, trusted, occupied, name, reserve, index, space)


def choose(copies: list[Superblock | None]) -> Superblock:
    """The latest checkpoint of the copies; ``DiskError`` when there is none."""
    whole = [copy for copy in copies if copy is not None]
    if not whole:
        raise DiskError(
            "neither copy of the superblock verifies; nothing was changed",
            "the key is wrong, or both copies are damaged",
        )
    if len(whole) < len(copies):
        log.warning("mlsdisk: superblock copy %d does not verify; the other one is used", copies.index(None))
    return max(whole, key=lambda copy: copy.generation)
