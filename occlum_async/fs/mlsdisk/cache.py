"""The nodes that are in memory, in one arena of a fixed size.

Invariant: the parent of a cached node is cached, so the path from any cached node to its root is in memory; nodes with
cached children and changed nodes stay.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable

from ..block.device import BLOCK
from .layout import ENTRY_SIZE, FANOUT, KIND_SHIFT
from .memory import private, wipe
from .native import Arena

NONE = -1
MIN_SLOTS = 256


def parent_of(key: int) -> int:
    """The node above; only for one that is no root."""
    kind, number = key >> KIND_SHIFT, key & (1 << KIND_SHIFT) - 1
    return (kind + 1) << KIND_SHIFT | number // FANOUT


class NodeCache:
    """``slots`` pages. Which nodes go is decided by a clock: a node that was used since the hand's last round stays."""

    def __init__(self, slots: int, is_root: Callable[[int], bool]) -> None:
        self.slots = max(MIN_SLOTS, slots)
        self._is_root = is_root
        self._memory = private(self.slots * BLOCK)
        self.view = memoryview(self._memory)
        self.arena = Arena(self._memory)
        self.slot_of: dict[int, int] = {}
        self.key_at = [NONE] * self.slots
        self.dirty = bytearray(self.slots)
        self.dirty_count = 0
        self._used = bytearray(self.slots)
        self._children = array("H", bytes(2 * self.slots))
        self._free = list(range(self.slots - 1, -1, -1))
        self._hand = 0
        # Told of every node that comes and goes: (key, slot or NONE).
        self.watcher: Callable[[int, int], None] | None = None

    def page(self, slot: int) -> memoryview:
        """The 4096 bytes of a slot."""
        return self.view[slot * BLOCK : (slot + 1) * BLOCK]

    def entry(self, slot: int, number: int) -> bytes:
        """The entry of ``number`` in the node at a slot."""
        start = slot * BLOCK + number % FANOUT * ENTRY_SIZE
        return bytes(self.view[start : start + ENTRY_SIZE])

    def places(self, slot: int) -> list[int]:
        """Where the children of a node lie on the disk; 0 for holes."""
        return self.page(slot).cast("I")[ENTRY_SIZE // 4 - 1 :: ENTRY_SIZE // 4].tolist()

    @property
    def free(self) -> int:
        """Slots that hold nothing."""
        return len(self._free)

    def touch(self, slots: Iterable[int]) -> None:
        """These are being used."""
        for slot in slots:
            self._used[slot] = 1

    def mark_dirty(self, slot: int) -> None:
        """The page differs from what is on the disk."""
        if not self.dirty[slot]:
            self.dirty[slot] = 1
            self.dirty_count += 1
        self._used[slot] = 1

    def mark_clean(self, slot: int) -> None:
        """The page is what is on the disk."""
        if self.dirty[slot]:
            self.dirty[slot] = 0
            self.dirty_count -= 1

    def make_room(self, count: int) -> bool:
        """Have ``count`` free slots; False when too many nodes have to stay."""
        while len(self._free) < count:
            if not self._evict_one():
                return False
        return True

    def _evict_one(self) -> bool:
        # Parents become free after their children: a third round may find what the second one made free.
        for _ in range(3 * self.slots):
            slot = self._hand
            self._hand = slot + 1 if slot + 1 < self.slots else 0
            if self.key_at[slot] == NONE or self.dirty[slot] or self._children[slot]:
                continue
            if self._used[slot]:
                self._used[slot] = 0
                continue
            self.drop(slot)
            return True
        return False

    def drop(self, slot: int) -> None:
        """Forget a node that has no cached children."""
        key = self.key_at[slot]
        assert not self._children[slot], "a node went before its children"
        self.mark_clean(slot)
        del self.slot_of[key]
        self.key_at[slot] = NONE
        self._free.append(slot)
        if not self._is_root(key):
            self._children[self.slot_of[parent_of(key)]] -= 1
        if self.watcher is not None:
            self.watcher(key, NONE)

    def insert(self, key: int, page: bytes | bytearray | memoryview) -> int:
        """Take a node in, whose parent is cached; ``make_room`` has made room for it."""
        slot = self._free.pop()
        if not self._is_root(key):
            self._children[self.slot_of[parent_of(key)]] += 1
        self.slot_of[key] = slot
        self.key_at[slot] = key
        self._used[slot] = 1
        start = slot * BLOCK
        self.view[start : start + BLOCK] = page
        if self.watcher is not None:
            self.watcher(key, slot)
        return slot

    def dirty_keys(self, kind: int) -> list[int]:
        """The changed nodes of a kind."""
        found = []
        slot = self.dirty.find(1)
        while slot >= 0:
            if self.key_at[slot] >> KIND_SHIFT == kind:
                found.append(self.key_at[slot])
            slot = self.dirty.find(1, slot + 1)
        return sorted(found)

    def clear(self) -> None:
        """Forget all nodes, none of which may be changed."""
        assert not self.dirty_count, "a changed node would be lost"
        for key, slot in list(self.slot_of.items()):
            self.key_at[slot] = NONE
            self._free.append(slot)
            if self.watcher is not None:
                self.watcher(key, NONE)
        self.slot_of.clear()
        self._children = array("H", bytes(2 * self.slots))

    def close(self) -> None:
        """Leave nothing in memory."""
        wipe(self._memory)
        self.slot_of.clear()
        self.key_at = [NONE] * self.slots
