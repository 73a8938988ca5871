"""The journal: what has changed since the checkpoint, in a chain of sealed blocks.

Invariant: a commit counts when all of its blocks are there, and those of all commits before it. Each block is bound to
the checkpoint (by its random name), to its position, to its commit and, by its tag, to the block before; and a commit
is written only after the one before is durable. So a chain that ends too early was cut by a crash in its last commit,
or by somebody: that shows by blocks of a later commit.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from typing import Any

from ...errors import DiskError
from ..block.device import BLOCK
from .cipher import TAG
from .keys import Keys
from .layout import ENTRY, ENTRY_SIZE

MAGIC = b"MLSJRNL\1"
# In the clear: magic, checkpoint, position, epoch, counter. Then the tag.
_CLEAR = struct.Struct("<8s16sIQI")
CLEAR_SIZE = 64
_TAG_AT = _CLEAR.size
# Commit, deltas in this block, whether it is the commit's last, trusted counter, the tag of the block before.
_HEAD = struct.Struct("<IHHQ16s")
DELTA_SIZE = 4 + ENTRY_SIZE
DELTAS = (BLOCK - CLEAR_SIZE - _HEAD.size) // DELTA_SIZE
START = bytes(TAG)


class Deltas:
    """What has changed, in order: addresses, and for each of them its new entry.

    A discard of ``n`` blocks is one delta: its entry has no place, and the counter ``n``.
    """

    __slots__ = ("addresses", "entries")

    def __init__(self) -> None:
        self.addresses = array("I")
        self.entries = bytearray()

    def __len__(self) -> int:
        return len(self.addresses)

    def add(self, addresses: Any, entries: Any) -> None:
        """Blocks have new entries."""
        self.addresses.frombytes(memoryview(addresses).cast("B"))
        self.entries += entries

    def discard(self, address: int, count: int) -> None:
        """Blocks are holes now."""
        self.addresses.append(address)
        self.entries += ENTRY.pack(START, 0, count, 0)

    def clear(self) -> None:
        """Forget all."""
        self.addresses = array("I")
        self.entries = bytearray()


@dataclass(frozen=True)
class Record:
    """One block of the journal, opened."""

    commit: int
    last: bool
    counter: int
    before: bytes
    tag: bytes
    addresses: bytearray
    entries: bytearray


class Journal:
    """Writes the chain: encodes commits, and knows where the next one goes. ``blocks`` are its room."""

    def __init__(self, keys: Keys, blocks: int, name: bytes) -> None:
        self._keys = keys
        self.blocks = blocks
        self.begin(name)

    def begin(self, name: bytes) -> None:
        """Go on after a checkpoint, with an empty chain."""
        self.name = name
        self.position = 0
        self._commit = 0
        self._tag = START

    @staticmethod
    def blocks_for(deltas: int) -> int:
        """How many blocks a commit of so many deltas takes."""
        return max(1, -(-deltas // DELTAS))

    def fits(self, deltas: int) -> bool:
        """Whether there is room for such a commit."""
        return self.position + self.blocks_for(deltas) <= self.blocks

    def append(self, deltas: Deltas, counter: int) -> tuple[int, bytes]:
        """The next commit: the position of its first block, and its blocks. It must fit."""
        assert self.fits(len(deltas)), "the journal is full"
        first = self.position
        self._commit += 1
        count = self.blocks_for(len(deltas))
        blocks = []
        for number in range(count):
            addresses = deltas.addresses[number * DELTAS : (number + 1) * DELTAS]
            entries = deltas.entries[number * DELTAS * ENTRY_SIZE : (number + 1) * DELTAS * ENTRY_SIZE]
            head = _HEAD.pack(self._commit, len(addresses), number + 1 == count, counter, self._tag)
            key, epoch, sealing = self._keys.take(1)
            clear = _CLEAR.pack(MAGIC, self.name, self.position, epoch, sealing)
            body = (head + addresses.tobytes() + entries).ljust(BLOCK - CLEAR_SIZE, b"\0")
            sealed, self._tag = self._keys.cipher.seal(key, sealing, clear, body)
            blocks.append((clear + self._tag).ljust(CLEAR_SIZE, b"\0") + sealed)
            self.position += 1
        return first, b"".join(blocks)


def open_block(keys: Keys, name: bytes, position: int, block: bytes | memoryview) -> Record | None:
    """A block of the journal; None when it does not continue this checkpoint, at this position, or does not verify."""
    view = memoryview(block)
    magic, its_name, its_position, epoch, counter = _CLEAR.unpack_from(view)
    if magic != MAGIC or its_name != name or its_position != position:
        return None
    tag = bytes(view[_TAG_AT : _TAG_AT + TAG])
    if any(view[_TAG_AT + TAG : CLEAR_SIZE]):
        return None
    data = keys.cipher.open(keys.of(epoch), counter, bytes(view[:_TAG_AT]), view[CLEAR_SIZE:], tag)
    if data is None:
        return None
    commit, count, last, trusted, before = _HEAD.unpack_from(data)
    middle, end = _HEAD.size + 4 * count, _HEAD.size + DELTA_SIZE * count
    return Record(commit, bool(last), trusted, before, tag, data[_HEAD.size : middle], data[middle:end])


@dataclass(frozen=True)
class Chain:
    """What the journal says: the deltas of all whole commits, and the trusted counter of the last one (0: none)."""

    deltas: Deltas
    commits: int
    counter: int
    torn: bool  # a commit was under way when the disk was left


def follow(keys: Keys, name: bytes, blocks: list[memoryview]) -> Chain:
    """Follow the chain through ``blocks``, the whole journal. ``DiskError`` when it was damaged, and not by a crash."""
    records = [open_block(keys, name, position, block) for position, block in enumerate(blocks)]
    whole, part = Deltas(), Deltas()
    commits, counter, tag, position = 0, 0, START, 0
    for record in records:
        if record is None or record.commit != commits + 1 or record.before != tag:
            break
        position += 1
        part.add(record.addresses, record.entries)
        tag = record.tag
        if record.last:
            commits, counter = record.commit, record.counter
            whole.add(part.addresses, part.entries)
            part.clear()
    later = [record for record in records[position:] if record is not None]
    if any(record.commit != commits + 1 for record in later):
        raise DiskError(
            f"the journal is damaged at block {position}: a commit that was durable is not there any more",
            "restore the image from a copy; nothing was changed",
        )
    return Chain(whole, commits, counter, bool(len(part) or later))
