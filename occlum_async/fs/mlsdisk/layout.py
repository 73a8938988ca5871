"""Where everything lies on the disk, and how large it may be. Byte for byte in docs/storage.md.

Invariant: a place is the number of a block of the image, at least ``FIRST``; 0 is none. ``native/host/blocks.h`` has
the same numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from ..block.device import BLOCK

FANOUT = 128  # entries of a node
ENTRY = struct.Struct("<16sQII")  # tag, epoch, counter, place
ENTRY_SIZE = ENTRY.size
HOLE = bytes(ENTRY_SIZE)

SEGMENT = 1024  # blocks that are written one after another
SEGMENTS = 15  # of a region
REGION = SEGMENT * SEGMENTS
PAGES = 1 + SEGMENTS  # of a region in the space map: its bits, and the owners of each segment's blocks
MAX_BLOCKS = 1 << 31  # 8 TiB: an owner is an address or, with the highest bit, a node

# What a block is. Nodes of the index count up from INDEX, those of the space map from SPACE.
DATA, INDEX, SPACE = 0, 1, 8
KIND_SHIFT = 32  # of a node's key, above its number among those of its kind
OWNER_NODE = 1 << 31
OWNER_KIND_SHIFT = 27

SUPERBLOCKS = (0, 15)
JOURNAL = 16
MIN_JOURNAL, MAX_JOURNAL = 16, 4096  # blocks
JOURNAL_SHARE = 512
DEFAULT_RESERVE = 0.05
SMALL_RESERVE = 2048  # blocks: small disks keep more
MIN_BLOCKS = 512  # of an image


def node_key(kind: int, number: int) -> int:
    """What the cache and the trees call a node."""
    return kind << KIND_SHIFT | number


def levels_above(count: int) -> int:
    """How many levels of nodes lead to ``count`` things."""
    levels = 0
    while count > 1:
        count = -(-count // FANOUT)
        levels += 1
    return levels


def nodes_above(count: int) -> int:
    """How many nodes lead to ``count`` things."""
    total = 0
    while count > 1:
        count = -(-count // FANOUT)
        total += count
    return total


@dataclass(frozen=True)
class Geometry:
    """The sizes of one disk: ``image`` blocks below, ``blocks`` promised above, ``journal`` between the superblocks
    and the first segment."""

    image: int
    blocks: int
    journal: int

    @property
    def first(self) -> int:
        """The place of the first segment's first block."""
        return JOURNAL + self.journal

    @property
    def data(self) -> int:
        """How many blocks there are in segments; the last one may be cut short."""
        return self.image - self.first

    @property
    def segments(self) -> int:
        return -(-self.data // SEGMENT)

    @property
    def regions(self) -> int:
        return -(-self.data // REGION)

    @property
    def index_top(self) -> int:
        """The kind of the index' root."""
        return INDEX + levels_above(-(-self.blocks // FANOUT))

    @property
    def space_top(self) -> int:
        return SPACE + levels_above(self.regions * PAGES)

    @property
    def upper_nodes(self) -> int:
        """How many nodes have nodes or pages below them."""
        return nodes_above(-(-self.blocks // FANOUT)) + nodes_above(self.regions * PAGES)

    @property
    def metadata(self) -> int:
        """The most blocks that nodes and pages of the present state can take."""
        leaves = -(-self.blocks // FANOUT)
        return leaves + self.regions + self.segments + self.upper_nodes


def kept_free(geometry: Geometry) -> int:
    """The blocks that writers leave free, so that there is always room for a checkpoint: all nodes once more, and what
    is written twice on the way."""
    return geometry.metadata + geometry.metadata // 8 + 64


def room_of(geometry: Geometry, reserve: float) -> int:
    """How many blocks an image may promise that keeps a share of ``reserve`` free."""
    kept = max(int(geometry.data * reserve), min(SMALL_RESERVE, geometry.data // 8))
    return geometry.data - kept - geometry.metadata - kept_free(geometry)


def plan(image: int, reserve: float, blocks: int | None = None) -> Geometry:
    """The geometry of an image of ``image`` blocks that keeps ``reserve`` of it free; ValueError if it is too small.

    With ``blocks``, exactly as many are promised, if they fit.
    """
    if not 0.01 <= reserve <= 0.5:
        raise ValueError("the reserve must be between 0.01 and 0.5")
    if not MIN_BLOCKS <= image <= MAX_BLOCKS:
        raise ValueError(f"a disk has between {MIN_BLOCKS * BLOCK >> 20} MiB and {MAX_BLOCKS * BLOCK >> 40} TiB")
    journal = max(MIN_JOURNAL, min(MAX_JOURNAL, image // JOURNAL_SHARE))
    room = room_of(Geometry(image, image, journal), reserve)
    if room < 1 or (blocks is not None and not 1 <= blocks <= room):
        raise ValueError("the image is too small")
    return Geometry(image, room if blocks is None else blocks, journal)


def _smallest(low: int, fits: Callable[[int], bool]) -> int:
    """The smallest image of at least ``low`` blocks that fits; ValueError when none does."""
    high = MAX_BLOCKS
    if low > high or not fits(high):
        raise ValueError(f"a disk has at most {MAX_BLOCKS * BLOCK >> 40} TiB")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low


def replan(before: Geometry, blocks: int, reserve: float) -> Geometry:
    """The geometry of the same disk with ``blocks`` blocks, on an image that is as long as before, or as needed."""
    image = _smallest(before.image, lambda image: room_of(Geometry(image, blocks, before.journal), reserve) >= blocks)
    return Geometry(image, blocks, before.journal)


def image_blocks(blocks: int, reserve: float) -> int:
    """The size of the smallest image that can promise ``blocks``; ValueError when there is none."""

    def fits(image: int) -> bool:
        try:
            return bool(plan(image, reserve, blocks))
        except ValueError:
            return False

    return _smallest(MIN_BLOCKS, fits)
