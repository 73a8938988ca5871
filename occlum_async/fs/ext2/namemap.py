"""In which block of a large directory a name is, so that not all of them are searched.

It is made as the directory is used: whoever searches blocks enters the names of some of them. Invariant: every name of
a block that is ``known`` is in ``places``; so a name that is not there is looked for in the other blocks only.
"""

from __future__ import annotations

from weakref import WeakSet

LIMIT = 1 << 18  # names in the maps of one file system: some 30 MiB


class NameMaps:
    """The maps of one file system, which share ``limit``; when it is reached, all begin anew but the one that grows."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.used = 0
        self.members: WeakSet[NameMap] = WeakSet()

    def has_room(self, growing: NameMap, count: int) -> bool:
        """Whether ``growing`` may have ``count`` names more: one directory gets half of the limit at most."""
        if len(growing.places) + count > self.limit // 2:
            return False
        if self.used + count > self.limit:
            for other in self.members:
                if other is not growing:
                    other.forget()
        return True


class NameMap:
    """``places`` has the number of the block of every name that was entered; ``unknown`` counts the other blocks."""

    def __init__(self, maps: NameMaps, blocks: int) -> None:
        self._maps = maps
        self.places: dict[bytes, int] = {}
        self.known = bytearray(blocks)
        self.unknown = blocks
        self.full = False  # there was no room for the names of a block
        maps.members.add(self)

    def __del__(self) -> None:
        self._maps.used -= len(self.places)

    def forget(self) -> None:
        """Begin anew."""
        self._maps.used -= len(self.places)
        self.places.clear()
        self.unknown = len(self.known)
        self.known = bytearray(self.unknown)
        self.full = False

    def enter(self, number: int, names: list[bytes]) -> None:
        """These are all names of the block."""
        found = dict.fromkeys(names, number)
        if self.known[number] or len(found) < len(names) or not self.places.keys().isdisjoint(found):
            return  # a name that is there twice, on a damaged disk, is to be found even when one of them is removed
        self.full = not self._maps.has_room(self, len(found))
        if not self.full:
            self.places.update(found)
            self._maps.used += len(found)
            self.known[number] = 1
            self.unknown -= 1

    def grown(self) -> None:
        """There is one more block, without a name."""
        self.known.append(1)

    def added(self, number: int, name: bytes) -> None:
        """The block has one name more."""
        if not self.known[number]:
            return
        if self._maps.has_room(self, 1):
            self.places[name] = number
            self._maps.used += 1
        else:
            self.known[number] = 0
            self.unknown += 1

    def removed(self, name: bytes) -> None:
        """The name is gone."""
        if self.places.pop(name, None) is not None:
            self._maps.used -= 1
