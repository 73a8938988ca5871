"""Counting what users hold, where Linux bounds it per user and not per process."""

from __future__ import annotations

import sys


class Tally:
    """How much of one resource each user id holds. Users that hold nothing take no room.

    ``limit`` is what all together should hold: nobody's privileges reach beyond it.
    """

    def __init__(self, limit: int = sys.maxsize) -> None:
        self._held: dict[int, int] = {}
        self.limit = limit
        self.total = 0

    def __getitem__(self, uid: int) -> int:
        return self._held.get(uid, 0)

    def add(self, uid: int, amount: int) -> None:
        """Account ``amount`` more (or less, when negative) to ``uid``."""
        total = self[uid] + amount
        assert total >= 0, "more was given back than taken"
        self.total += amount
        if total:
            self._held[uid] = total
        else:
            self._held.pop(uid, None)
