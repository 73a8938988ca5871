"""Entries that are not in the index yet: the memtable of an LSM tree, before a radix tree.

Invariant: where an address is kept here, this is its entry, whatever the index says. The place that the index still has
for it is freed when the entries are merged.
"""

from __future__ import annotations

from array import array
from typing import Any

from .layout import ENTRY_SIZE
from .native import FFI, LIB, u32

NAME_SIZE = 4
MIN_PLACES = 1 << 10
FULL = 0.75  # of the places of the table


class Pending:
    """A table of at most ``size`` bytes."""

    def __init__(self, size: int) -> None:
        places = MIN_PLACES
        while places * 2 * (ENTRY_SIZE + NAME_SIZE) <= size:
            places *= 2
        table = LIB.pending_new(places)
        if table == FFI.NULL:
            raise MemoryError("no memory for pending entries")
        self._table = FFI.gc(table, LIB.pending_free)
        self.limit = int(places * FULL)
        self._one, self._two = FFI.new("uint32_t *"), FFI.new("uint32_t *")
        self._entry = FFI.new("uint8_t[]", ENTRY_SIZE)

    def __len__(self) -> int:
        return int(LIB.pending_count(self._table))

    def put(self, addresses: Any, entries: Any, epoch: int, since: int) -> tuple[array[int], array[int]]:
        """Keep entries, for which there is room. What they replace here, as ``Arena.exchange`` returns it."""
        count = len(addresses)
        old, fresh = array("I", bytes(4 * count)), array("I", bytes(4 * count))
        LIB.pending_put(
            self._table, u32(addresses), FFI.from_buffer(entries), count, epoch, since,
            u32(old), self._one, u32(fresh), self._two,
        )  # fmt: skip
        return old[: self._one[0]], fresh[: self._two[0]]

    def discard(self, first: int, count: int, epoch: int, since: int) -> tuple[array[int], array[int]]:
        """Let those of a range be holes that are kept here. What they were, as above."""
        most = min(count, len(self))
        old, fresh = array("I", bytes(4 * most)), array("I", bytes(4 * most))
        LIB.pending_discard(self._table, first, count, epoch, since, u32(old), self._one, u32(fresh), self._two)
        return old[: self._one[0]], fresh[: self._two[0]]

    def get(self, addresses: Any, entries: bytearray) -> bool:
        """Put what is kept here over ``entries``; whether that was all of them."""
        found = LIB.pending_get(self._table, u32(addresses), len(addresses), FFI.from_buffer(entries))
        return bool(found == len(addresses))

    def get_one(self, address: int) -> bytes:
        """The entry of an address that is kept here; nothing for another."""
        self._one[0] = address
        if not LIB.pending_get(self._table, self._one, 1, self._entry):
            return b""
        return bytes(FFI.buffer(self._entry))

    def move(self, addresses: Any, expected: Any, places: Any) -> bytearray:
        """As ``Arena.move``; 2 for what is not kept here."""
        done = bytearray(len(addresses))
        LIB.pending_move(
            self._table, u32(addresses), FFI.from_buffer(expected), u32(places), len(addresses),
            FFI.from_buffer("uint8_t[]", done),
        )  # fmt: skip
        return done

    def ordered(self) -> array[int]:
        """All addresses, in ascending order."""
        addresses = array("I", bytes(4 * len(self)))
        LIB.pending_sorted(self._table, u32(addresses))
        return addresses

    def clear(self) -> None:
        """Forget all."""
        LIB.pending_clear(self._table)
