"""The order of a merged directory's entries, which must survive changes between two calls of getdents.

Every name gets a number when it is first seen, and a listing goes by these numbers. So an entry that stays
keeps its place, one that comes is appended, and one that goes takes its number along.
"""

from __future__ import annotations

from bisect import bisect_right

from ..inode import DirEntry


class Listing:
    """``token`` tells which state of the layers ``entries`` (in order of their cookies) was taken from."""

    __slots__ = ("_next", "_numbers", "cookies", "entries", "token")

    def __init__(self) -> None:
        self.token: object = None
        self.entries: list[DirEntry] = []
        self.cookies: list[int] = []
        self._numbers: dict[bytes, int] = {}
        self._next = 1

    def update(self, token: object, found: dict[bytes, tuple[int, int]]) -> None:
        """Take over what was found now: by name, the inode number and the S_IF* bits."""
        numbers: dict[bytes, int] = {}
        known = self._numbers
        for name in found:
            number = known.get(name)
            if number is None:
                number = self._next
                self._next += 1
            numbers[name] = number
        self.entries = sorted(
            (DirEntry(name, *found[name], number) for name, number in numbers.items()), key=lambda entry: entry.cookie
        )
        self.cookies = [entry.cookie for entry in self.entries]
        self._numbers = numbers
        self.token = token

    def after(self, cookie: int, limit: int) -> list[DirEntry]:
        """At most ``limit`` entries after ``cookie``."""
        start = bisect_right(self.cookies, cookie)
        return self.entries[start : start + limit]
