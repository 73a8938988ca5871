"""The allocation of blocks: in long runs, near where they are wanted, and never two owners for one block.

A file that grows gets a *window*: free blocks behind its last one that others leave alone as long as there
are other free ones, so that files that grow at the same time do not mix. Windows live in memory only.

``promised`` blocks are free on the disk but belong to data that wait in the page cache to be written.
"""

from __future__ import annotations

import errno
from array import array
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ...abi.errors import SyscallError
from ...sched.apart import apart
from .bitmap import clear_run, find_run, free_bits, run_length, set_run

if TYPE_CHECKING:
    from .groups import Groups
    from .volume import Volume

WINDOW = 128  # blocks that are set aside behind what a file asks for
WINDOWS = 512  # files that have a window
DISCARDS = 65536  # runs of freed blocks that are remembered for the device


class BlockAllocator:
    """Allocates and frees the blocks of one file system."""

    def __init__(self, fs: Volume, groups: Groups, make_room: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.fs = fs
        self.groups = groups
        self.free = sum(groups.free_blocks)
        self.promised = 0
        self._make_room = make_room  # gives back the blocks of what is deleted
        # Of each group: no run of free blocks is longer than this.
        self._longest = array("H", groups.free_blocks)
        self._windows: OrderedDict[int, tuple[int, int]] = OrderedDict()  # by inode number: first, end
        # Runs that were freed since the last commit.
        self.freed: list[tuple[int, int]] = []

    # -- space --------------------------------------------------------------------

    def available(self, privileged: bool) -> int:
        """How many blocks may still be asked for; the reserve is for the privileged."""
        return self.free - self.promised - (0 if privileged else self.fs.superblock.r_blocks_count)

    async def check_room(self, count: int, privileged: bool) -> None:
        """ENOSPC unless there is room for ``count`` more blocks, after what is deleted was given back."""
        if self.available(privileged) < count:
            await apart(self.fs.scheduler, self._make_room())
            if self.available(privileged) < count:
                raise SyscallError(errno.ENOSPC)

    async def promise(self, count: int, privileged: bool) -> None:
        """Set ``count`` blocks aside for ``allocate`` with ``promised``; ENOSPC."""
        await self.check_room(count, privileged)
        self.promised += count

    def release(self, count: int) -> None:
        """Take back a promise."""
        self.promised -= count

    # -- allocating -----------------------------------------------------------------

    async def allocate(self, owner: int, goal: int, want: int, promised: bool = False) -> tuple[int, int]:
        """A run of 1 to ``want`` blocks, as near behind ``goal`` as can be: (first, count). ENOSPC.

        ``owner`` is the number of the inode whose window is used; 0 takes none. ``promised``: the blocks were
        set aside before, and the caller gives the promise back.
        """
        if not promised:
            privileged = self.fs.privileged()
            await self.check_room(1, privileged)
            want = min(want, self.available(privileged))
        superblock = self.fs.superblock
        if not superblock.first_data_block <= goal < superblock.blocks_count:
            goal = superblock.first_data_block
        window = self._windows.pop(owner, None)
        if window is not None and window[0] <= goal < window[1]:
            found = await self._take(goal, min(want, window[1] - goal))
            if found[1]:
                if sum(found) < window[1]:
                    self._windows[owner] = (sum(found), window[1])
                return found
        return await self._search(owner, goal, want)

    async def _search(self, owner: int, goal: int, want: int) -> tuple[int, int]:
        extra = WINDOW if owner else 0
        for respect, ahead in ((True, extra), (True, 0), (False, 0)):
            length = want + ahead
            while length:
                found = await self._search_groups(goal, length, respect)
                if found is not None:
                    taken = await self._take(found, min(want, length))
                    if taken[1]:
                        if length > taken[1] and owner:
                            self._open_window(owner, sum(taken), found + length)
                        return taken
                length = length // 2 if length > 1 and not ahead else 0
        raise SyscallError(errno.ENOSPC)

    def _open_window(self, owner: int, first: int, end: int) -> None:
        self._windows[owner] = (first, end)
        if len(self._windows) > WINDOWS:
            self._windows.popitem(last=False)

    def close_window(self, owner: int) -> None:
        """The file stops growing: what was set aside for it is everybody's."""
        self._windows.pop(owner, None)

    async def _search_groups(self, goal: int, length: int, respect: bool) -> int | None:
        """The first block of a free run of ``length``: at or behind ``goal``, then in the groups that follow."""
        superblock, groups = self.fs.superblock, self.groups
        per_group = superblock.blocks_per_group
        home, start = divmod(goal - superblock.first_data_block, per_group)
        for step in range(superblock.groups + 1):
            group = (home + step) % superblock.groups
            if self._longest[group] < length:
                continue
            buffer = await groups.bitmap(group, False)
            if buffer is None:
                self._longest[group] = 0
                continue
            free = free_bits(buffer.data, groups.size(group))
            base = superblock.first_data_block + group * per_group
            allowed = free & ~self._windows_in(base, per_group) if respect else free
            position = find_run(allowed, start if step == 0 else 0, length)
            if position >= 0:
                return base + position
            if (step or not start) and allowed == free:
                self._longest[group] = length - 1
        return None

    def _windows_in(self, base: int, per_group: int) -> int:
        mask = 0
        for first, end in self._windows.values():
            if base <= first < base + per_group:
                mask |= ((1 << (end - first)) - 1) << (first - base)
        return mask

    async def _take(self, block: int, want: int) -> tuple[int, int]:
        """Take the free blocks from ``block`` on, at most ``want``: (block, count), 0 if it is not free (any more)."""
        superblock, groups = self.fs.superblock, self.groups
        group, bit = divmod(block - superblock.first_data_block, superblock.blocks_per_group)
        buffer = await groups.bitmap(group, False)
        if buffer is None:
            return block, 0
        size = groups.size(group)
        count = run_length(free_bits(buffer.data, size), bit, min(want, size - bit))
        if count:
            if groups.holds_metadata(block, count):
                groups.damaged.add(group)
                self.fs.fault(f"group {group}: its bitmap calls its own tables free")
                return block, 0
            set_run(buffer.data, bit, count)
            self.fs.buffers.mark(buffer)
            self._count(group, -count)
        return block, count

    def _count(self, group: int, change: int) -> None:
        groups = self.groups
        groups.free_blocks[group] += change
        groups.changed(group)
        self.free += change
        if change > 0:
            self._longest[group] = groups.free_blocks[group]

    # -- freeing -----------------------------------------------------------------------

    async def give_back(self, start: int, count: int) -> None:
        """Free a run of blocks. What is not theirs to free (damage) is left alone and reported."""
        superblock = self.fs.superblock
        per_group = superblock.blocks_per_group
        while count:
            group, bit = divmod(start - superblock.first_data_block, per_group)
            part = min(count, per_group - bit)
            await self._give_back(group, bit, start, part)
            start += part
            count -= part

    async def _give_back(self, group: int, bit: int, start: int, count: int) -> None:
        if self.groups.holds_metadata(start, count):
            self.fs.fault(f"group {group}: a file's blocks {start}+{count} are the group's own")
            return
        try:
            buffer = await self.groups.bitmap(group, False)
        except SyscallError:
            buffer = None
        if buffer is None:
            self.fs.fault(f"group {group}: its bitmap can't be used, blocks {start}+{count} are lost")
            return
        used = clear_run(buffer.data, bit, count)
        if used != count:
            self.fs.fault(f"group {group}: blocks of {start}+{count} were free already")
        self.fs.buffers.mark(buffer)
        self._count(group, used)
        if len(self.freed) < DISCARDS:
            self.freed.append((start, count))

    def take_freed(self) -> list[tuple[int, int]]:
        """The runs that were freed since the last call."""
        freed, self.freed = self.freed, []
        return freed

    async def still_free(self, freed: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of runs, and parts of runs, that nobody has taken since they were freed."""
        superblock, groups = self.fs.superblock, self.groups
        runs: list[tuple[int, int]] = []
        for start, count in _merged(freed):
            group, bit = divmod(start - superblock.first_data_block, superblock.blocks_per_group)
            try:
                buffer = await groups.bitmap(group, False)
            except SyscallError:
                buffer = None
            free = free_bits(buffer.data, groups.size(group)) if buffer is not None else 0
            end = bit + count
            while bit < end:
                length = run_length(free, bit, end - bit)
                if length:
                    runs.append((superblock.first_data_block + group * superblock.blocks_per_group + bit, length))
                bit += max(1, length)
        return runs


def _merged(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The runs in order, without the same one twice."""
    return sorted(set(runs))
