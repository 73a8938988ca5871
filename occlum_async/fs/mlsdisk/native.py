"""Many entries and bits in one call: typed wrappers of ``native/host/blockmap.c``.

Invariant: every number that goes down has been checked; what is written lies in memory of the caller's.
"""

from __future__ import annotations

import importlib
from array import array
from typing import Any

from .layout import ENTRY_SIZE, SEGMENT, SEGMENTS

_module = importlib.import_module("occlum_async._native._blockmap")
FFI, LIB = _module.ffi, _module.lib
Numbers = Any  # a buffer of 32-bit numbers


def u32(buffer: Any) -> Any:
    """A buffer of 32-bit numbers, for the native module."""
    return FFI.from_buffer("uint32_t[]", buffer)


def _empty(count: int) -> array[int]:
    return array("I", bytes(4 * count))


def runs_of(entries: Any, count: int) -> list[int]:
    """Where runs of entries begin: their places follow one another, or all are holes."""
    runs = _empty(count)
    found = LIB.entry_runs(FFI.from_buffer(entries), count, u32(runs))
    return runs[:found].tolist()


def place_runs(places: Numbers) -> list[int]:
    """Where runs of places begin that follow one another."""
    runs = _empty(len(places))
    found = LIB.place_runs(u32(places), len(places), u32(runs))
    return runs[:found].tolist()


def segment_counts() -> tuple[array[int], array[int]]:
    """Room for the answers of ``Arena.region_counts``."""
    return array("H", bytes(2 * SEGMENTS)), array("H", bytes(2 * SEGMENTS))


class Arena:
    """The memory of the cache, a page a slot, and what is done with many of them at once."""

    def __init__(self, memory: Any) -> None:
        self._base = FFI.from_buffer("uint8_t[]", memory)
        self._one, self._two = FFI.new("uint32_t *"), FFI.new("uint32_t *")

    def _page(self, slot: int) -> Any:
        return self._base + slot * 4096

    def get(self, slots: Numbers, addresses: Numbers) -> bytearray:
        """The entries of ``addresses`` in the nodes at ``slots``."""
        count = len(addresses)
        entries = bytearray(count * ENTRY_SIZE)
        LIB.map_get(self._base, u32(slots), u32(addresses), count, FFI.from_buffer(entries))
        return entries

    def exchange(
        self, slots: Numbers, addresses: Numbers, entries: Any, epoch: int, since: int
    ) -> tuple[array[int], array[int]]:
        """Set entries; the places that they replace: old ones, and those sealed in ``epoch`` from ``since`` on."""
        count = len(addresses)
        old, fresh = _empty(count), _empty(count)
        LIB.map_set(
            self._base, u32(slots), u32(addresses), FFI.from_buffer(entries), count, epoch, since,
            u32(old), self._one, u32(fresh), self._two,
        )  # fmt: skip
        return old[: self._one[0]], fresh[: self._two[0]]

    def move(self, slots: Numbers, addresses: Numbers, expected: Any, places: Numbers) -> bytearray:
        """Give blocks other places where their entries are still the expected ones; 1 for each that was moved."""
        done = bytearray(len(addresses))
        LIB.map_move(
            self._base, u32(slots), u32(addresses), FFI.from_buffer(expected), u32(places), len(addresses),
            FFI.from_buffer("uint8_t[]", done),
        )  # fmt: skip
        return done

    def take(self, slot: int, start: int, end: int, want: int, base: int) -> array[int]:
        """The places of up to ``want`` blocks of a region, taken between two offsets."""
        places = _empty(want)
        found = LIB.region_take(self._page(slot), start, end, want, base, u32(places))
        return places[:found]

    def missing(self, slots: array[int], first: int, places: Numbers) -> set[int]:
        """The regions of ``places`` that have no slot."""
        regions = _empty(len(places))
        found = LIB.regions_missing(self._slots(slots), first, u32(places), len(places), u32(regions))
        return set(regions[:found])

    def free(self, slots: array[int], first: int, places: Numbers, hold: bool) -> int:
        """The blocks are not used any more, and may be taken unless they are held; how many were used."""
        return int(LIB.regions_free(self._base, self._slots(slots), first, u32(places), len(places), hold))

    def mark(self, slots: array[int], first: int, places: Numbers) -> int:
        """The blocks are used; how many were not."""
        return int(LIB.regions_mark(self._base, self._slots(slots), first, u32(places), len(places)))

    @staticmethod
    def _slots(slots: array[int]) -> Any:
        return FFI.from_buffer("int32_t[]", slots)

    def settle(self, slot: int) -> None:
        """Nothing in this region is held any more."""
        LIB.region_settle(self._page(slot))

    def region_counts(self, slot: int, available: array[int], used: array[int]) -> None:
        """How many blocks of each segment may be taken, and how many are used."""
        LIB.region_counts(
            self._page(slot), FFI.from_buffer("uint16_t[]", available), FFI.from_buffer("uint16_t[]", used)
        )

    def segment_used(self, slot: int, segment: int, owners_slot: int, base: int) -> tuple[array[int], array[int]]:
        """The used blocks of a segment, and whose they are."""
        places, owners = _empty(SEGMENT), _empty(SEGMENT)
        found = LIB.segment_used(self._page(slot), segment, self._page(owners_slot), base, u32(places), u32(owners))
        return places[:found], owners[:found]

    def set_owners(self, slot: int, base: int, places: Numbers, owners: Any) -> None:
        """Note whose the blocks of a segment are."""
        LIB.owners_set(self._page(slot), base, u32(places), u32(owners), len(places))

    def is_zero(self, slot: int) -> bool:
        """Whether the page holds nothing but zeros."""
        return bool(LIB.page_is_zero(self._page(slot)))
