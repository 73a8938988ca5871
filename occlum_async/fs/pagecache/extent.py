"""Extents: what the cache knows of the pages of one MiB of a file, as sets of bits.

An extent is the unit of eviction; a page is the unit of everything else.
"""

from __future__ import annotations

from .store import PAGE

PAGES = 256  # of one extent
SIZE = PAGES * PAGE
ALL = (1 << PAGES) - 1


class Extent:
    """Bit n is page n of the extent.

    ``present``: the memory has what read(2) must give. ``dirty``: the store does not have it yet. ``writing``: being
    written. ``loading``: being read. ``ahead``: read ahead; whoever comes here first has the next pages read.
    ``pinned``: guests may have mapped it, so nothing of it is evicted.
    Invariant: ``dirty`` and ``writing`` are subsets of ``present``; what is in any of them is not evicted.
    """

    __slots__ = ("ahead", "dirty", "index", "loading", "pinned", "present", "writing")

    def __init__(self, index: int) -> None:
        self.index = index
        self.present = self.dirty = self.writing = self.loading = self.ahead = 0
        self.pinned = False


def span(first: int, last: int) -> int:
    """The pages from ``first`` to ``last``, both included."""
    return (2 << last) - (1 << first)


def first_run(pages: int) -> tuple[int, int]:
    """Where the lowest run of ``pages``, which are not none, begins, and how long it is."""
    first = (pages & -pages).bit_length() - 1
    rest = pages >> first
    return first, (rest ^ (rest + 1)).bit_length() - 1


def runs(pages: int) -> list[tuple[int, int]]:
    """All runs of ``pages``, ascending: where each begins, and how long it is."""
    found = []
    while pages:
        first, count = first_run(pages)
        found.append((first, count))
        pages &= pages + (1 << first)
    return found
