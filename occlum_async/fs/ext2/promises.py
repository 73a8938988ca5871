"""Room that was promised to the data of one file that are not on the disk yet: blocks by number, and indirect blocks.

Invariant: the sum of ``len`` of all promises is the allocator's ``promised``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .blocks import BlockAllocator

Key = tuple[int, int]  # of an indirect block: its level, and its index among those of the level


class Promises:
    """What is set aside for one inode."""

    __slots__ = ("_allocator", "blocks", "indirect")

    def __init__(self, allocator: BlockAllocator) -> None:
        self._allocator = allocator
        self.blocks: set[int] = set()
        self.indirect: set[Key] = set()

    def __len__(self) -> int:
        return len(self.blocks) + len(self.indirect)

    async def make(self, blocks: Iterable[int], indirect: set[Key], privileged: bool) -> None:
        """Promise room for these as well; ENOSPC, and then for none of them."""
        new_blocks = set(blocks) - self.blocks
        new_indirect = indirect - self.indirect
        await self._allocator.promise(len(new_blocks) + len(new_indirect), privileged)
        self.blocks |= new_blocks
        self.indirect |= new_indirect

    def holds_indirect(self, key: Key) -> bool:
        """Whether room for that indirect block was promised."""
        return key in self.indirect

    def redeem_indirect(self, key: Key) -> None:
        """The indirect block was allocated."""
        self.indirect.discard(key)
        self._allocator.release(1)

    def redeem(self, first: int, count: int) -> None:
        """Those blocks are allocated, or not wanted any more. With the last one all indirect ones go."""
        if not self.blocks:
            return
        before = len(self)
        self.blocks.difference_update(range(first, first + count))
        self._settle(before)

    def redeem_from(self, first: int) -> None:
        """The blocks from ``first`` on are not wanted any more."""
        before = len(self)
        self.blocks = {block for block in self.blocks if block < first}
        self._settle(before)

    def _settle(self, before: int) -> None:
        if not self.blocks:
            self.indirect.clear()
        self._allocator.release(before - len(self))
